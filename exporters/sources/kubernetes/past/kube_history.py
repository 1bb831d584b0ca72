"""Kubernetes' past out of a Prometheus that scraped kube-state-metrics and dcgm-exporter.

Kubernetes keeps no history: what happened while nobody recorded it can be recovered only where another record exists.
This one reads, for a stretch of time, which pods had GPUs (`kube_pod_container_resource_requests`), when they were
bound, started and completed, who owned them, which nodes had how many cards and were ready, and which cards the device
metrics were labelled with. `covered` says when there were scrapes at all; of the rest nothing is known.

All questions are instant queries over ranges, answered with one value per series, so their size does not grow with the
number of scrapes. ``interval`` is the scrape interval of kube-state-metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Literal

from exporters.model import NodeEvent, NodeKey, Record, Reject, Scheduler
from exporters.sources.kubernetes.nodes import NodeFacts, nodes_of
from exporters.sources.kubernetes.past.kube_past import (
    NODE_LABELS,
    POD_LABELS,
    WHOLE,
    PodPast,
    labels_of,
    node_past,
    record_of,
    root_of,
    spans,
    within,
)
from exporters.sources.kubernetes.past.prometheus import Prometheus, Series

_GPU = 'resource=~"nvidia_com_.*|amd_com_gpu|amd_com_[sdtqc]px_nps.*"'
_NOBODY = ("", "<none>")
_CARD_METRICS = "DCGM_FI_DEV_(GPU_UTIL|GPU_UTIL_RATIO|FB_USED|POWER_USAGE|BOARD_POWER_WATTS)"
_HOLE = 2.5
"""A scrape may be missed; after this many intervals without one there is a hole."""


class KubeHistory:
    """A history of one cluster's pods (`accounting.intake.history.HistorySource`, and `covered`).

    ``matcher`` is PromQL label matchers that every series must meet (``cluster="prod"``) where one Prometheus serves
    several clusters; ``slurm_clusters`` is as on the live side (`exporters.sources.kubernetes.claims.link_keys`).
    """

    name = "kube-state-metrics"
    scheduler = Scheduler.KUBERNETES

    def __init__(
        self,
        cluster: str,
        prometheus: Prometheus,
        *,
        interval: float = 30.0,
        matcher: str = "",
        hold_from: Literal["scheduled", "started"] = "scheduled",
        slurm_clusters: Mapping[str, str] | None = None,
    ) -> None:
        self.cluster = cluster
        self._slurm_clusters = slurm_clusters or {}
        self._prometheus, self._interval, self._matcher, self._hold_from = prometheus, interval, matcher, hold_from

    def covered(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` in which kube-state-metrics was scraped without a hole."""
        return list(within(self._scraped(start, end), start, end))

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        """Every pod with GPUs that was there in ``[start, end)``, whole; pending while the last scrape shows it."""
        seen = self._scraped(start, end)
        nodes = self._nodes(start, end)
        for pod in sorted(self._pods(start, end).values(), key=lambda p: (p.first, p.uid)):
            node = nodes.get(pod.node)
            found = record_of(
                pod, self.cluster, seen, hold_from=self._hold_from, raw=_raw(pod, node), node=node,
                slurm_clusters=self._slurm_clusters,
            )  # fmt: skip
            if found is not None:
                yield found

    def events(self, start: int, end: int) -> Iterator[NodeEvent | Reject]:
        """What nodes had, and when they were not ready or took no pods, in the parts of ``[start, end)`` seen."""
        seen = self.covered(start, end)
        cards = {
            name: sum(n.milligpu for n in nodes_of(self.cluster, node, {}))  # 0: replicas whose cards nothing tells
            for name, node in self._nodes(start, end).items()
        }
        for node, milligpu in sorted(cards.items()):
            key = NodeKey(Scheduler.KUBERNETES, self.cluster, node)
            yield from (NodeEvent(key, a, b, up=True, milligpu=milligpu) for a, b in seen if milligpu)
        ready = self._series("kube_node_status_condition", 'condition="Ready",status="true"')
        for query, reason in (
            (f"{ready} == 0", "NotReady"),
            (f"{self._series('kube_node_spec_unschedulable')} == 1", "cordoned"),
        ):
            for labels, samples in self._ask(f"({query})[{end - start}s:{self._interval:g}s]", end):
                key = NodeKey(Scheduler.KUBERNETES, self.cluster, labels.get("node", ""))
                stretches = spans([int(at) for at, _ in samples], _HOLE * self._interval)
                for a, b in within([(a, b + int(self._interval)) for a, b in stretches], start, end):
                    if key.name in cards:
                        yield NodeEvent(key, a, b, up=False, reason=reason)

    def close(self) -> None:
        """Release connections."""
        self._prometheus.close()

    def _scraped(self, start: int, end: int) -> list[tuple[int, int]]:
        """Stretches with scrapes; the last sample before ``start`` counts, within Prometheus' own lookback."""
        query = f"max(timestamp({self._series('kube_node_info')}))[{end - start}s:{self._interval:g}s]"
        scrapes = [int(value) for _, samples in self._ask(query, end) for _, value in samples]
        return spans(scrapes, _HOLE * self._interval)

    def _nodes(self, start: int, end: int) -> dict[str, NodeFacts]:
        """Nodes with GPUs, as they last were."""
        capacity: dict[str, dict[str, int]] = {}
        for labels, samples in self._last("kube_node_status_capacity", start, end, _GPU):
            if name := labels.get("node", ""):
                capacity.setdefault(name, {})[labels.get("resource", "")] = int(samples[-1][1])
        told: dict[str, dict[str, str]] = {}
        for labels, _ in self._last("kube_node_labels", start, end) if capacity else ():
            told.setdefault(labels.get("node", ""), {}).update(labels_of(labels, NODE_LABELS))
        return {name: node_past(name, told.get(name, {}), slots) for name, slots in capacity.items()}

    def _pods(self, start: int, end: int) -> dict[str, PodPast]:
        pods: dict[str, PodPast] = {}
        for metric, init in (
            ("kube_pod_container_resource_requests", False),
            ("kube_pod_init_container_resource_requests", True),
        ):
            for labels, samples in self._last(metric, start, end, _GPU):
                uid = labels.get("uid", "")
                pod = pods.setdefault(uid, PodPast(labels.get("namespace", ""), labels.get("pod", ""), uid))
                pod.node = labels.get("node", "") or pod.node
                pod.requests[labels.get("container", ""), labels.get("resource", ""), init] = int(samples[-1][1])
            series = self._series(metric, _GPU)
            for word in ("min", "max"):
                query = f"{word} by (uid) ({word}_over_time(timestamp({series})[{end - start}s:{self._interval:g}s]))"
                for labels, samples in self._ask(query, end):
                    pod, at = pods[labels["uid"]], int(samples[-1][1])
                    if word == "min":
                        pod.first = min(pod.first or at, at)
                    else:
                        pod.last = max(pod.last, at)
        if pods:
            self._times(pods, start, end)
            self._owners(pods, start, end)
            self._cards(pods, start, end)
            query = f"last_over_time({self._series('kube_pod_labels')}[{end - start}s])"
            for labels, _ in self._of_pods(query, start, end):
                if (labelled := pods.get(labels.get("uid", ""))) is not None:
                    labelled.labels = {**labelled.labels, **labels_of(labels, POD_LABELS)}
        return pods

    def _times(self, pods: Mapping[str, PodPast], start: int, end: int) -> None:
        for metric, field in (
            ("kube_pod_status_scheduled_time", "scheduled"),
            ("kube_pod_completion_time", "completed"),
        ):
            for labels, samples in self._of_pods(f"last_over_time({self._series(metric)}[{end - start}s])", start, end):
                if (pod := pods.get(labels.get("uid", ""))) is not None and samples[-1][1] > 0:
                    setattr(pod, field, int(samples[-1][1]))
        for metric, matcher, expression, field in (
            ("kube_pod_container_state_started", "", "min_over_time({}[{}])", "started"),
            (
                "kube_pod_status_phase",
                'phase=~"Succeeded|Failed"',
                "min_over_time(timestamp({} == 1)[{}:{}])",
                "ended_seen",
            ),
        ):
            ranged = expression.format(self._series(metric, matcher), f"{end - start}s", f"{self._interval:g}s")
            for labels, samples in self._of_pods(ranged, start, end):
                if (pod := pods.get(labels.get("uid", ""))) is not None and samples[-1][1] > 0:
                    before = getattr(pod, field)
                    at = int(samples[-1][1])
                    setattr(pod, field, at if before is None else min(before, at))

    def _owners(self, pods: Mapping[str, PodPast], start: int, end: int) -> None:
        above: dict[tuple[str, str, str], tuple[str, str]] = {}
        for metric, kind, label in (
            ("kube_replicaset_owner", "ReplicaSet", "replicaset"),
            ("kube_job_owner", "Job", "job_name"),
        ):
            for labels, _ in self._last(metric, start, end):
                if labels.get("owner_kind", "") not in _NOBODY:
                    above[labels.get("namespace", ""), kind, labels.get(label, "")] = (
                        labels["owner_kind"], labels.get("owner_name", "")
                    )  # fmt: skip
        query = f"last_over_time({self._series('kube_pod_owner')}[{end - start}s])"
        for labels, _ in self._of_pods(query, start, end):
            pod = pods.get(labels.get("uid", ""))
            if pod is None or labels.get("owner_kind", "") in _NOBODY or labels.get("owner_is_controller") == "false":
                continue
            pod.owners = root_of((labels["owner_kind"], labels.get("owner_name", "")), pod.namespace, above)

    def _cards(self, pods: Mapping[str, PodPast], start: int, end: int) -> None:
        """Cards by the labels of device metrics, which name pods, not their UIDs: only where the name was one pod's."""
        named: dict[tuple[str, str], list[PodPast]] = {}
        for pod in pods.values():
            named.setdefault((pod.namespace, pod.name), []).append(pod)
        for space, name in (("namespace", "pod"), ("exported_namespace", "exported_pod")):
            series = (
                "{" + ",".join(m for m in (f'__name__=~"{_CARD_METRICS}"', f'{name}!=""', self._matcher) if m) + "}"
            )
            query = f"group by ({space},{name},UUID) (last_over_time({series}[{end - start}s]))"
            for labels, _ in self._ask(query, end):
                users = named.get((labels.get(space, ""), labels.get(name, "")), [])
                if len(users) == 1 and labels.get("UUID"):
                    users[0].cards.add(labels["UUID"])

    def _series(self, metric: str, *matchers: str) -> str:
        return metric + "{" + ",".join(m for m in (*matchers, self._matcher) if m) + "}"

    def _last(self, metric: str, start: int, end: int, *matchers: str) -> list[Series]:
        return self._ask(f"last_over_time({self._series(metric, *matchers)}[{end - start}s])", end)

    def _of_pods(self, expression: str, start: int, end: int) -> list[Series]:
        """Only of pods with GPUs: a cluster has many others."""
        requests = ("kube_pod_container_resource_requests", "kube_pod_init_container_resource_requests")
        gpus = " or ".join(f"last_over_time({self._series(m, _GPU)}[{end - start}s])" for m in requests)
        return self._ask(f"{expression} and on (uid) ({gpus})", end)

    def _ask(self, query: str, at: int) -> list[Series]:
        return self._prometheus.ask(query, at)


def _raw(pod: PodPast, node: NodeFacts | None) -> str:
    """The samples that a record was made of, canonically. Scrapes are among them only where they decided something."""
    told: dict[str, object] = {
        "namespace": pod.namespace,
        "pod": pod.name,
        "uid": pod.uid,
        "node": pod.node,
        "requests": sorted([*key, count] for key, count in pod.requests.items()),
        "kube_pod_status_scheduled_time": pod.scheduled,
        "kube_pod_container_state_started": pod.started,
        "kube_pod_completion_time": pod.completed,
        "owners": pod.owners,
        "cards": sorted(pod.cards),
    }
    if pod.scheduled is None:
        told["first_scrape"] = pod.first
    if pod.completed is None:
        told["last_scrape"], told["ended_seen"] = pod.last, pod.ended_seen
    if pod.labels:
        told["labels"] = dict(pod.labels)
    if node is not None and any(resource not in WHOLE for _, resource, _ in pod.requests):
        told["slots"] = {name: [p.slots, p.milligpu, p.profile] for name, p in node.pools.items()}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))
