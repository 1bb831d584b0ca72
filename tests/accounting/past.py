"""kube-state-metrics' and dcgm-exporter's samples as a Prometheus keeps them, written as OpenMetrics for promtool."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.accounting.site import T0
from tests.lab.prometheus import Prometheus, promtool

STEP = 30
"""The scrape interval."""


@dataclass(frozen=True)
class Seen:
    """A pod while kube-state-metrics showed it, over ``[first, last]``; ``bound`` and ``done`` as it exported them."""

    name: str
    first: int
    last: int
    cards: int = 1
    node: str = "gn01"
    bound: int | None = None
    done: int | None = None
    resource: str = "nvidia_com_gpu"
    owner: tuple[str, str] = ("", "")
    uuids: Sequence[str] = ()
    started: int | None = None
    told: Mapping[str, str] = field(default_factory=dict)  # as kube-state-metrics names the labels it may export

    @property
    def labels(self) -> dict[str, str]:
        return {"namespace": "vision", "pod": self.name, "uid": f"pod-{self.name}"}


@dataclass
class Past:
    """Samples by metric and labels. ``holes`` are times without a scrape, ``[a, b)``."""

    start: int
    end: int
    holes: Sequence[tuple[int, int]] = ()
    families: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def scrapes(self, first: int, last: int) -> Iterator[int]:
        for at in range(self.start, self.end, STEP):
            if first <= at <= last and not any(a <= at < b for a, b in self.holes):
                yield at

    def put(self, metric: str, labels: dict[str, str], value: float, first: int = 0, last: int = 1 << 40) -> None:
        self.families[metric][tuple(sorted(labels.items()))] += [(at, value) for at in self.scrapes(first, last)]

    def nodes(self, names: Iterable[str], cards: int = 8) -> None:
        for name in names:
            self.put("kube_node_info", {"node": name}, 1)
            self.put(
                "kube_node_status_capacity", {"node": name, "resource": "nvidia_com_gpu", "unit": "integer"}, cards
            )
            self.put("kube_node_status_condition", {"node": name, "condition": "Ready", "status": "true"}, 1)

    def sliced_node(self, name: str) -> None:
        """A node of eight 80 GB cards, one of them cut in two, whose labels are exported."""
        self.nodes([name], cards=7)
        slices = {"node": name, "resource": "nvidia_com_mig_3g_40gb", "unit": "integer"}
        self.put("kube_node_status_capacity", slices, 2)
        gfd = {"count": "8", "memory": "81559", "product": "NVIDIA-H100-80GB-HBM3"}
        self.put("kube_node_labels", {"node": name} | {f"label_nvidia_com_gpu_{k}": v for k, v in gfd.items()}, 1)

    def pod(self, p: Seen) -> None:
        requested = p.labels | {"container": "main", "node": p.node, "resource": p.resource, "unit": "integer"}
        self.put("kube_pod_container_resource_requests", requested, p.cards, p.first, p.last)
        if p.bound is not None:
            self.put("kube_pod_status_scheduled_time", p.labels, p.bound, p.first, p.last)
        if p.started is not None:
            self.put("kube_pod_container_state_started", p.labels | {"container": "main"}, p.started, p.first, p.last)
        if p.done is not None:
            self.put("kube_pod_completion_time", p.labels, p.done, p.done, p.last)
        kind, name = p.owner
        owner = {"owner_kind": kind, "owner_name": name, "owner_is_controller": "true" if kind else ""}
        self.put("kube_pod_owner", p.labels | owner, 1, p.first, p.last)
        if p.told:
            self.put("kube_pod_labels", p.labels | dict(p.told), 1, p.first, p.last)
        for uuid in p.uuids:
            card = {"exported_namespace": "vision", "exported_pod": p.name, "UUID": uuid, "Hostname": p.node}
            self.put("DCGM_FI_DEV_GPU_UTIL", card, 50, p.bound or p.first, p.done or p.last)

    def text(self) -> bytes:
        lines = []
        for metric, series in self.families.items():
            lines.append(f"# TYPE {metric} gauge")
            for labels, samples in series.items():
                told = ",".join(f'{name}="{value}"' for name, value in labels)
                lines += [
                    f"{metric}{{{told}}} {value:g} {at}" if value < 1e6 else f"{metric}{{{told}}} {int(value)} {at}"
                    for at, value in samples
                ]
        return ("\n".join([*lines, "# EOF"]) + "\n").encode()


HOUR = 3600
DOWN, BACK = T0 + 6 * HOUR, T0 + 12 * HOUR
"""The recorder is down over this stretch."""


@contextmanager
def served(past: Past) -> Iterator[Prometheus]:
    """A real Prometheus that has this past in its blocks."""
    with tempfile.TemporaryDirectory(prefix="past-") as root:
        text = Path(root) / "past.txt"
        text.write_bytes(past.text())
        made = promtool("tsdb", "create-blocks-from", "openmetrics", str(text), f"{root}/data")
        assert 0 == made.returncode, made.stderr
        with Prometheus(Path(root), options=["--storage.tsdb.retention.time=100y"]) as server:
            yield server
