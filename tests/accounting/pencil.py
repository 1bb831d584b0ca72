"""Node-days small enough for a pencil: one machine of eight cards, 192 GPU-hours a day, every one of them somebody's.

A day is printed as lines ``account model project whose GPU-hours``; whose is the Slurm job's number or the pod's name.
"""

from __future__ import annotations

from dataclasses import replace

from accounting.model import DAY, CapacityStretch, CoverageStretch, NodeDay, NodeDayResult, Posting
from accounting.reconcile.rule import Rules, reconcile
from exporters.model import Claim, JobKey, Scheduler

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
HOUR = 3600
GPU_HOUR = 1000 * HOUR
START = 20_000 * DAY  # some midnight


def at(hour: float) -> int:
    return START + int(hour * HOUR)


def slurm_cards(first: float = 0, last: float = 24, milligpu: int = 8000, **more: object) -> CapacityStretch:
    stretch = CapacityStretch(at(first), at(last), SLURM, "hpc1", "gn09", "h100", milligpu, up=True)
    return replace(stretch, **more)  # type: ignore[arg-type]


def kube_cards(first: float = 0, last: float = 24, milligpu: int = 8000, **more: object) -> CapacityStretch:
    stretch = CapacityStretch(at(first), at(last), KUBE, "prod", "gn09", "NVIDIA-H100", milligpu, up=True)
    return replace(stretch, **more)  # type: ignore[arg-type]


def seen(scheduler: Scheduler = SLURM, first: float = 0, last: float = 24) -> CoverageStretch:
    return CoverageStretch(at(first), at(last), scheduler, "hpc1" if scheduler is SLURM else "prod")


BOTH = (slurm_cards(), kube_cards())
ALL_SEEN = (seen(SLURM), seen(KUBE))


def day(
    *claims: Claim,
    capacity: tuple[CapacityStretch, ...] = BOTH,
    coverage: tuple[CoverageStretch, ...] = ALL_SEEN,
    projects: dict[JobKey, str] | None = None,
    known_until: tuple[tuple[Scheduler, str, int], ...] = (),
) -> NodeDay:
    return NodeDay("gn09", START, START + DAY, claims, capacity, coverage, tuple((projects or {}).items()), known_until)


def books(*claims: Claim, **more: object) -> NodeDayResult:
    return reconcile(day(*claims, **more), Rules())  # type: ignore[arg-type]


def whose(job: JobKey | None) -> str:
    return "-" if job is None else job.id.split("@")[0].removeprefix("uid-of-")


def lines(result: NodeDayResult) -> list[str]:
    """What was posted, but for the capacity that it is checked against."""
    found = []
    for p in result.postings:
        hours, rest = divmod(p.quantity, GPU_HOUR)
        assert rest == 0, p
        if p.account == "capacity":
            assert -hours * GPU_HOUR == sum(
                q.quantity for q in result.postings if q.account != "capacity" and q.model == p.model
            )
        else:
            found.append(f"{p.account or 'shown'} {p.model} {p.project or '-'} {whose(p.job)} {hours}")
    return found


def posting(result: NodeDayResult, account: str, name: str = "-") -> Posting:
    (found,) = [p for p in result.postings if p.account == account and whose(p.job) == name]
    return found
