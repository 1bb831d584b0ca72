"""Usages to rate and state: a pencil month, and Hypothesis strategies for wild ones."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import strategies as st

from accounting.rates.rating import Rates
from exporters.model import Disposition, JobKey, Scheduler
from tests.accounting.plain_lines import Usage

PERIOD = "2026-10"
OCTOBER = 1_790_812_800  # 2026-10-01T00:00:00Z
HOUR = 3600
GPU_HOUR = 3_600_000  # milliGPU-seconds
RATES = Rates({"h100": Decimal("2.10"), "a100": Decimal("1.25")}, "EUR")


def slurm(job_id: str, cluster: str = "hall") -> JobKey:
    return JobKey(Scheduler.SLURM, cluster, job_id)


def kube(uid: str, cluster: str = "prod") -> JobKey:
    return JobKey(Scheduler.KUBERNETES, cluster, uid)


def charged(job: JobKey, gpu_hours: float, project: str = "vision", **more: object) -> Usage:
    """A charged usage of whole or half GPU-hours, over the month's first hour unless told otherwise."""
    quantity = int(gpu_hours * GPU_HOUR)
    usage = Usage(project, job, "h100", Disposition.CHARGED, quantity, quantity, OCTOBER, OCTOBER + HOUR)
    return replace(usage, **more)  # type: ignore[arg-type]


def nobodys(disposition: Disposition, gpu_hours: int, model: str = "h100") -> Usage:
    return Usage("", None, model, disposition, 0, gpu_hours * GPU_HOUR, OCTOBER, OCTOBER + 10 * HOUR)


def pencil_month() -> list[Usage]:
    """One node of four H100, known for ten hours: 40 GPU-hours, every one of them named.

    6 + 1.5 charged, 3.5 lent to Slurm and free (reserved), 1 disputed, 20 idle, 5 down, 3 unknown. The inner pod's
    2 hours are the Slurm job's own: shown, not counted.
    """
    outer = slurm("101@1790812500")
    return [
        charged(
            outer,
            6,
            start=OCTOBER,
            end=OCTOBER + 3 * HOUR,
            job_name="resnet",
            user="ada",
            account="vis",
            partition="gpu",
            observed_gpu_seconds=21600.0,
            active_seconds=16200.0,
            energy_joules=7_200_000.0,
            samples_seen=1430,
            samples_expected=1440,
        ),
        charged(kube("0b9e-7f"), 1.5, job_name="bert-ft", user="lin", account="vision"),
        Usage(
            "vision",
            kube("77aa-10"),
            "h100",
            None,
            2 * GPU_HOUR,
            0,
            OCTOBER,
            OCTOBER + HOUR,
            job_name="sweep",
            account="vision",
            linked=outer,
        ),
        Usage(
            "platform",
            kube("5e75-00"),
            "h100",
            Disposition.RESERVED,
            10 * GPU_HOUR,
            int(3.5 * GPU_HOUR),
            OCTOBER,
            OCTOBER + 10 * HOUR,
            job_name="slurm-worker-h100",
            account="slinky",
        ),
        Usage(
            "nlp",
            kube("d15p-00"),
            "h100",
            Disposition.DISPUTED,
            GPU_HOUR,
            GPU_HOUR,
            OCTOBER,
            OCTOBER + HOUR,
            job_name="=HYPERLINK(0)",
            account="nlp",
            linked=slurm("102@1790812600"),
        ),
        nobodys(Disposition.IDLE, 20),
        nobodys(Disposition.DOWN, 5),
        nobodys(Disposition.UNKNOWN, 3),
    ]


_names = st.text(st.sampled_from("ab 9=+-@\t\r\n,;\"'|\\é－\u202e\x00\udcff"), max_size=8)
_quantities = st.integers(0, 10**12)


@st.composite
def wild_usages(draw: st.DrawFn) -> list[Usage]:
    """Any month: every job and nobody's row at most once per identity, odd quantities, hostile names."""
    usages: dict[object, Usage] = {}
    for n in range(draw(st.integers(0, 12))):
        disposition = draw(st.sampled_from([*Disposition, None]))
        nobody = disposition in (Disposition.IDLE, Disposition.DOWN, Disposition.UNKNOWN)
        job = None if nobody else draw(st.sampled_from([slurm, kube]))(str(draw(st.integers(0, 3))))
        quantity = draw(_quantities)
        usage = Usage(
            project="" if nobody else draw(st.sampled_from(["vision", "nlp", "unmapped"])),
            job=job,
            gpu_model=draw(st.sampled_from(["h100", "a100"])),
            disposition=disposition,
            held=quantity,
            charged=0 if disposition is None else quantity,
            start=OCTOBER + n,
            end=OCTOBER + n + draw(st.integers(0, 3)),
            job_name="" if nobody else draw(_names),
            user=draw(_names),
            linked=draw(st.sampled_from([None, slurm("9")])),
        )
        usages[usage.project, usage.job, usage.gpu_model, disposition, usage.linked] = usage
    return list(usages.values())
