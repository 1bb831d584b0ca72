"""What happens to the pods of a hostile site, as values: ``ACTS`` draws them, `KubeSite.act` does them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from tests.hostile.kube_said import ApiServer, Pod, Watched, iso
from tests.hostile.site import Meter
from tests.hostile.truth import TICK, Held, Truth, kube_key

WAITED = 37
"""Seconds for which a pod waited before it was bound: it held nothing then. A successor's name was not free before."""

Act = tuple[Any, ...]


class KubeSite:
    """Nodes of some schemes under a meter."""

    def __init__(self, truth: Truth, api: ApiServer, source: Watched, meter: Meter) -> None:
        self.truth, self.api, self.source, self.meter = truth, api, source, meter

    def act(self, name: str, *words: Any) -> None:
        """Do one."""
        getattr(self, name)(*words)

    # pods

    def begin(self, pick: int, count: int, cores: int, name: str = "") -> Pod | None:
        """A pod is bound to a node with room for it, some seconds ago, and starts."""
        names = sorted(self.api.nodes)
        node = names[pick % len(names)]
        scheme = self.api.nodes[node]
        count = 1 if scheme.cores else min(count, scheme.parts if scheme.parts > 1 else scheme.cards)
        if node in self.api.away or node in self.api.cordoned:
            return None
        found = self.api.room(node, count, cores)
        if found is None:
            return None
        card, part = found
        n = self.truth.next()
        at = self.truth.now
        pod = Pod(name or f"pod-{n}", f"uid-{n}", node, count, cores, at if name else at - WAITED, at)
        cards = tuple(self.truth.free(node, at)[-count:]) if scheme.parts == 1 else (card,)
        pod.held = Held(kube_key(pod.uid), node, Fraction(1000) * part, at, None, cards)
        self.truth.held.append(pod.held)
        self.api.pods[pod.uid] = pod
        self.tell("ADDED", pod)
        pod.started, pod.phase = at, "Running"
        self.tell("MODIFIED", pod)
        return pod

    def tell(self, kind: str, pod: Pod, **meta: Any) -> None:
        self.api.tell(kind, pod, self.truth.now, **meta)
        self.source.hear()

    def _pick(self, pick: int, *, over: bool = False) -> Pod | None:
        """A pod that holds cards, or one whose object alone is left."""
        there = [p for p in self.api.pods.values() if p.held is not None and (p.held.end is not None) is over]
        return there[pick % len(there)] if there else None

    def _over(self, pod: Pod) -> None:
        if pod.held is not None and pod.held.end is None:
            pod.held.end = self.truth.now

    def finish(self, pick: int) -> None:
        """Its containers end; its object stays."""
        if pod := self._pick(pick):
            pod.finished = self.truth.now
            pod.phase = "Succeeded"
            self._over(pod)
            self.tell("MODIFIED", pod)

    def evict(self, pick: int) -> None:
        """The kubelet evicts it: its containers are stopped."""
        if pod := self._pick(pick):
            pod.finished = self.truth.now
            pod.phase, pod.reason = "Failed", "Evicted"
            self._over(pod)
            self.tell("MODIFIED", pod)

    def reject(self, pick: int, ran: bool = True) -> None:
        """A kubelet, after its own restart, takes a pod for one that it cannot admit, and forgets what it had written;
        or a pod that has never begun.
        """
        pod = self._pick(pick) if ran else self.begin(pick, 1, 30)
        if pod is not None:
            pod.phase, pod.reason, pod.rejected = "Failed", "UnexpectedAdmissionError", True
            self._over(pod)
            self.tell("MODIFIED", pod)

    def delete(self, pick: int) -> None:
        """A pod that runs is deleted: its last event carries the moment."""
        if pod := self._pick(pick):
            self._over(pod)
            del self.api.pods[pod.uid]
            gone = {"deletionTimestamp": iso(self.truth.now), "deletionGracePeriodSeconds": 0}
            self.tell("DELETED", pod, **gone)

    def clean_up(self, pick: int) -> None:
        """The object of a pod that has ended is deleted."""
        if pod := self._pick(pick, over=True):
            del self.api.pods[pod.uid]
            gone = {"deletionTimestamp": iso(self.truth.now), "deletionGracePeriodSeconds": 0}
            self.tell("DELETED", pod, **gone)

    def succeed(self, pick: int) -> None:
        """A pod of a StatefulSet is deleted, and its successor has its name."""
        pod = self._pick(pick)
        if pod is not None:
            name = pod.name
            self.delete(pick)
            self.begin(pick, pod.count, pod.cores, name)

    # nodes

    def plugin(self, pick: int) -> None:
        """A device plugin goes away, or is back."""
        node = sorted(self.api.nodes)[pick % len(self.api.nodes)]
        self.api.away ^= {node}
        self.source.node_changed(node)

    def cordon(self, pick: int) -> None:
        node = sorted(self.api.nodes)[pick % len(self.api.nodes)]
        self.api.cordoned ^= {node}
        self.source.node_changed(node)

    # the meter

    def cut(self) -> None:
        """The API server cannot be reached."""
        self.source.cut = True

    def back(self, gone: bool) -> None:
        """It can be again; what happened meanwhile is told, or is gone (410)."""
        if self.source.cut:
            self.source.connect(gone=gone)

    def missed(self, pick: int, how: str, before: int, after: int, gone: bool) -> None:
        """Something happens while nobody hears of it, and when the watch is back it is told late, or is gone (410)."""
        self.source.cut = True
        self.wait(before)
        getattr(self, how)(pick)
        self.wait(after)
        self.source.connect(gone=gone)

    def restart(self, resume: bool, gone: bool, pick: int, how: str, before: int, after: int) -> None:
        """The exporter is another process, and something happens in between; it has kept where it was, or has not."""
        self.source.cut = True
        self.meter.leave(before)
        getattr(self, how)(pick)
        self.meter.leave(after)
        self.source.cut = False
        for node in self.api.untold():
            self.truth.listed.pop(node, None)  # until its plugin is back nothing tells what it has
        self.source.start(resume=resume, gone=gone)
        self.meter.restart()
        self.meter.round()

    def wait(self, seconds: int) -> None:
        self.meter.wait(seconds)

    def book(self) -> None:
        self.meter.books.reconcile(self.truth.now)


def _of(name: str, *words: st.SearchStrategy[Any]) -> st.SearchStrategy[Act]:
    return st.tuples(st.just(name), *words)


_pick = st.integers(0, 5)
_count = st.sampled_from([1, 1, 2, 3])
_cores = st.sampled_from([20, 30, 50])
_how = st.sampled_from(
    ["delete", "delete", "delete", "succeed", "finish", "succeed", "evict", "reject", "plugin", "clean_up"]
)
_seconds = st.integers(1, TICK)

ACTS: st.SearchStrategy[Act] = st.one_of(
    _of("begin", _pick, _count, _cores),
    _of("begin", _pick, _count, _cores),
    _of("begin", _pick, _count, _cores),
    _of("begin", _pick, _count, _cores),
    _of("begin", _pick, _count, _cores),
    _of("finish", _pick),
    _of("finish", _pick),
    _of("evict", _pick),
    _of("reject", _pick, st.booleans()),
    _of("delete", _pick),
    _of("clean_up", _pick),
    _of("succeed", _pick),
    _of("plugin", _pick),
    _of("plugin", _pick),
    _of("cordon", _pick),
    _of("cut"),
    _of("back", st.booleans()),
    _of("back", st.booleans()),
    _of("missed", _pick, _how, _seconds, _seconds, st.booleans()),
    _of("missed", _pick, _how, _seconds, _seconds, st.just(True)),
    _of("restart", st.booleans(), st.booleans(), _pick, _how, _seconds, st.integers(1, 6 * TICK)),
    _of("wait", _seconds),
    _of("wait", _seconds),
    _of("wait", _seconds),
    _of("wait", st.integers(TICK, 8 * TICK)),
    _of("book"),
)
