"""The demo site: a recorded month behind the same interfaces that a real site has.

    with DemoSite(folder) as site:
        config = parse(site.config_text())
        for moment in site.moments():
            site.advance(moment)          # then poll, join, record: as in production

What is real: Slurm's records and live answers, recorded from a real Slurm and stretched to a month. What is made to
fit them: the Kubernetes objects and the card readings, served over real HTTP. demo/data/PROVENANCE.md has the details.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import yaml

from demo import slurm_replay
from demo.devices import Devices, Gap
from demo.fabric_text import FabricText
from demo.fleet import Fleet
from demo.kube_replay import Event, KubeReplay
from demo.live_replay import LiveReplay

DATA = Path(__file__).parent / "data"
KUBERNETES = "k8s1"
LISTEN = "127.0.0.1:9810"
MACHINES = (
    *(f"k{n:02d}" for n in range(1, 10)),
    *(f"gn{n:02d}" for n in range(1, 5)),
    "hy01",
    "hy02",
    "br01",
    "mx01",
)
"""Machines of eight cards each. k01 to k04 are the Slurm nodes h100-01 to h100-04, whose slurmd run in pods."""

HOUR, DAY = 3600, 86_400
MOMENT_S = 2 * HOUR
"""The longest time between two recorded moments; a real site is read every 15 seconds."""

EVERY = 2
"""Of so many recorded moments the demo's rounds see one."""


class DemoSite:
    """Everything a meterbridge is configured with, at one moment of the recorded month. A context manager."""

    period = "2026-10"

    def __init__(self, folder: Path, every: int = EVERY) -> None:
        """``folder`` takes what the site needs on disk: commands, a kubeconfig, the site's time.

        ``every`` thins out the rounds: only each so-many-th moment, with settings to match. What is charged does not
        depend on it, since records carry their own times; what telemetry sees does.
        """
        about = json.loads((DATA / "site.json").read_text())
        self.cluster: str = about["cluster"]
        self.start_of_month, self.end_of_month = about["month"]
        self._moments: list[int] = sorted({*about["moments"][::every], about["moments"][-1]})
        self._round_s = MOMENT_S * every
        first = self.start_of_month
        self.kubernetes_unreadable = (first + 23 * DAY + 2 * HOUR, first + 23 * DAY + 11 * HOUR)
        """When the Kubernetes API answers nothing: what nobody can prove is `unknown`."""
        gap = Gap("gn02", first + 10 * DAY + 3 * HOUR, first + 10 * DAY + 22 * HOUR)
        self.folder = folder
        self._now = float(first)
        self._devices = Devices((gap,))
        self._live = LiveReplay(folder / "slurm")
        recorded = json.loads(gzip.decompress((DATA / "kubernetes.json.gz").read_bytes()))
        self.kubernetes = KubeReplay([Event(*event) for event in recorded["events"]], recorded["static"])
        fabric = FabricText(self._devices.busy_seconds, since=self.end_of_month)
        self._fleet = Fleet(MACHINES, self._devices.readings, self.clock, ports=fabric.page)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def now(self) -> float:
        """The site's time, in epoch seconds."""
        return self._now

    def clock(self) -> float:
        """`now` as a function, as a collector takes it."""
        return self._now

    def moments(self) -> Iterator[int]:
        """The moments at which something may have changed, from the month's first second until a day after its end."""
        return iter(self._moments)

    def start(self) -> None:
        """Serve the site, at the beginning of its month."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._live.install()
        self.kubernetes.start()
        try:
            self._fleet.start()
        except BaseException:
            self.kubernetes.close()
            raise
        self._kubeconfig.write_text(yaml.safe_dump(_kubeconfig(self.kubernetes.url)))
        self.advance(self._now)

    def stop(self) -> None:
        """Stop serving."""
        self._fleet.stop()
        self.kubernetes.close()

    def advance(self, to: float) -> None:
        """Let site time pass until ``to``; it never goes back."""
        if to < self._now:
            raise ValueError(f"site time {self._now:.0f} cannot go back to {to:.0f}")
        self._now = to
        now = self.folder / "now"
        draft = self.folder / ".now"
        draft.write_text(f"{to:.3f}")
        draft.replace(now)
        self._live.advance(to)
        since, until = self.kubernetes_unreadable
        self.kubernetes.advance(to, readable=not since <= to < until)

    @property
    def _kubeconfig(self) -> Path:
        return self.folder / "kubeconfig.yaml"

    def config(self) -> dict[str, Any]:
        """A complete configuration of the site, as `config_text` writes it. Only once started."""
        replay = [sys.executable, "-I", "-S", str(Path(slurm_replay.__file__))]
        return {
            "site": "demo",
            "time_zone": "UTC",
            "slurm": [
                {
                    "cluster": self.cluster,
                    "environment": {slurm_replay.SITE: str(self.folder)},
                    "history": {
                        "sacct": [*replay, "sacct"],
                        "sacctmgr": [*replay, "sacctmgr"],
                        "since": "2026-10-01",
                    },
                    "live": {
                        "squeue": list(self._live.command("squeue")),
                        "scontrol": list(self._live.command("scontrol")),
                        "interval": f"{self._round_s}s",
                    },
                }
            ],
            "kubernetes": [
                {"cluster": KUBERNETES, "kubeconfig": str(self._kubeconfig), "interval": f"{self._round_s}s"},
            ],
            "dcgm": {"targets": list(self._fleet.targets), "interval": f"{self._round_s}s", "timeout": "10s"},
            "rdma": {
                "node_exporters": {"targets": list(self._fleet.port_targets)},
                "interval": f"{self._round_s}s",
                "timeout": "10s",
            },
            "gpu_models": {
                "H100": ["h100", "NVIDIA-H100-80GB-HBM3", "NVIDIA H100 80GB HBM3"],
                "A100": ["a100", "NVIDIA-A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB"],
            },
            "projects": [
                {"project": "vision", "accounts": ["vision"], "namespaces": ["vision"]},
                {"project": "llm", "accounts": ["llm-train"], "namespaces": ["llm"]},
                {"project": "genomics", "accounts": ["genomics"], "namespaces": ["genomics"]},
                {"project": "vision", "namespaces": ["imaging"], "valid_to": "2026-10-16"},
                {"project": "genomics", "namespaces": ["imaging"], "valid_from": "2026-10-16"},
            ],
            "join_interval": f"{self._round_s}s",
            "job_linger": f"{3 * self._round_s}s",
            "ledger": {"url": f"sqlite:///{self.folder / 'ledger.sqlite'}", "gap": f"{self._round_s + HOUR}s"},
            "rates": {"currency": "EUR", "gpu_hour": {"H100": "2.49", "A100": "1.35"}},
            "web": {"listen": LISTEN},
        }

    def config_text(self) -> str:
        """The configuration file of the site, with a word of warning at its head."""
        return _HEAD.format(hours=self._round_s // HOUR) + yaml.safe_dump(
            self.config(), sort_keys=False, allow_unicode=True, width=120
        )


_HEAD = """\
# Settings of the demo site, written anew by every demo. They are those of a real site but for three things: the Slurm
# commands replay a recording, the Kubernetes API and the exporters of cards and ports are served on this machine, and
# everything is read every {hours} hours of site time, because the month passes in seconds (a real site: every 15 s).
"""


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "demo", "cluster": {"server": url}}],
        "users": [{"name": "demo", "user": {}}],
        "contexts": [{"name": "demo", "context": {"cluster": "demo", "user": "demo"}}],
        "current-context": "demo",
    }
