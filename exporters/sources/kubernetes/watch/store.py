"""What is known about a cluster's GPU pods: who holds what now, and what has ended and was not yet taken over.

Objects come in from the watches' threads, snapshots go out to the collector's; one lock guards everything. Nothing here
does I/O. What ended a claim is its ``end_basis``:

* ``finished``: the pod's phase is terminal; the end is the last ``finishedAt``;
* ``deleted``: the watch saw the pod go without a terminal status; the end is the final delete by the API server's clock
  where nothing kept the object after it, else the moment the watch said so;
* ``vanished``: a list no longer has the pod; the end is the final delete where it was seen to begin, else that list.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporters.model import Claim, Job, JobKey, LinkKey, Reject
from exporters.sources.kubernetes.claims import Portion, Root, link_keys, portions
from exporters.sources.kubernetes.nodes import NodeFacts
from exporters.sources.kubernetes.pod_facts import HoldFrom, PodFacts
from exporters.sources.kubernetes.resource_claims import Devices
from exporters.sources.kubernetes.watch.collection import older

MAX_RECORD = 4096
"""Characters of a record that a reject keeps."""

MAX_COMPLAINTS = 10_000
"""How many complaints are remembered so as not to be repeated."""

SharedClaim = tuple[Claim, str]
"""A claim, and the UID of the shared ResourceClaim it stands for (empty: it is the pod's own)."""

OpenClaims = tuple[tuple[SharedClaim, ...], Job]
"""What one pod holds now, and its job."""


@dataclass(slots=True)
class Entry:
    """One pod. ``held`` is settled once, as soon as it can be told: what a node offers later changes nothing.

    ``start`` is when it began to hold; a container's first start is remembered over restarts that hide it. ``closed``:
    its end is known, and is in ``end`` when there is a claim to end. ``asked``: its workload has been asked for.
    """

    facts: PodFacts
    first_started: int | None = None
    start: int | None = None
    root: Root | None = None
    asked: bool = False
    held: list[Portion] | None = None
    keys: tuple[LinkKey, ...] = ()
    closed: bool = False
    end: int | None = None
    basis: str = ""
    closed_at: float = 0.0


@dataclass(slots=True)
class Told:
    """An end, and when a snapshot first carried it."""

    claim: Claim
    job: Job
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What survives a restart (`exporters.sources.kubernetes.watch.resume` writes it).

    ``open``: pod UID -> what it held; ``started``: pod UID -> its first start; ``ended``: ends nobody has taken over;
    ``told``: pods still present whose end was taken over; ``covered``: shared ResourceClaim UID -> until when it has
    been counted.
    """

    open: dict[str, OpenClaims] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    ended: tuple[tuple[Claim, Job], ...] = ()
    told: frozenset[str] = frozenset()
    covered: dict[str, int] = field(default_factory=dict)


class Book:
    """The state of one cluster. ``dra`` False: the API server offers no ResourceClaims (or none to us)."""

    def __init__(
        self,
        cluster: str,
        hold_from: HoldFrom,
        slurm_clusters: Mapping[str, str] | None = None,
        kept: Kept | None = None,
        namespaces: Sequence[str] = ("",),
    ) -> None:
        kept = kept or Kept()
        self.lock = threading.RLock()
        self.cluster = cluster
        self.hold_from: HoldFrom = hold_from
        self.nodes: dict[str, NodeFacts] = {}
        self.devices = Devices()
        self.dra = True
        self.pods: dict[str, Entry] = {}
        self.closing: dict[str, Entry] = {}
        self.ended: list[Told] = [Told(claim, job) for claim, job in kept.ended]
        self.open: dict[str, OpenClaims] = {}
        self.missing: dict[str, OpenClaims] = dict(kept.open)
        self.covered: dict[str, int] = dict(kept.covered)
        self.rejects: list[tuple[Reject, float | None]] = []
        self.first_start: dict[JobKey, int] = {}
        self._slurm_clusters = dict(slurm_clusters or {})
        self._listed_at: dict[str, int] = {}
        self._catching_up = set(namespaces)
        self._started = dict(kept.started)
        self._told_before = set(kept.told)
        self._complaints: set[tuple[str, str]] = set()

    def put_pod(self, facts: PodFacts, at: float) -> None:
        """A pod as it is now (``at``: when that was read)."""
        with self.lock:
            self._put(facts, at)

    def drop_pod(self, facts: PodFacts, at: float) -> None:
        """A pod is gone; ``facts`` is its last state, as the deletion event carries it."""
        with self.lock:
            before = self.pods.get(facts.uid)
            outlived = before is not None and before.facts.finalizers
            entry = self._put(facts, at)
            self.pods.pop(facts.uid, None)
            if not entry.closed:
                self._close(entry, int(at) if outlived or facts.removed is None else facts.removed, "deleted", at)

    def replace_pods(self, listed: Iterable[PodFacts], at: float, namespace: str = "") -> None:
        """All pods there are (in one namespace, where one is given). Who is missing has vanished."""
        with self.lock:
            present: set[str] = set()
            for facts in listed:
                present.add(facts.uid)
                self._put(facts, at)
            for uid in self.pods.keys() - present:
                if namespace and self.pods[uid].facts.namespace != namespace:
                    continue
                entry = self.pods.pop(uid)
                if not entry.closed:
                    removed = None if entry.facts.finalizers else entry.facts.removed
                    self._close(entry, int(at) if removed is None else removed, "vanished", at)
            self._listed_at.setdefault(namespace, int(at))

    def caught_up(self, namespace: str = "") -> None:
        """What led to the first list has been seen: pods of an earlier life that are still missing have vanished."""
        with self.lock:
            at = self._listed_at.get(namespace, 0)
            for uid, (claims, job) in list(self.missing.items()):
                if namespace and job.account != namespace:
                    continue
                del self.missing[uid]
                for claim, shared in claims:
                    if at > claim.start:
                        self.tell(replace(claim, end=at, end_basis="vanished"), job, shared)
            self._catching_up.discard(namespace)
            if not self._catching_up:
                self._started.clear()
                self._told_before.clear()

    def tell(self, claim: Claim, job: Job, shared: str) -> None:
        """Add an end to those that snapshots carry."""
        if shared and claim.end is not None:
            self.covered[shared] = max(claim.end, self.covered.get(shared, 0))
        self.ended.append(Told(claim, job))

    def reject(self, record_id: str, record: str, reason: str, at: float) -> None:
        """Set one record aside; the same complaint about the same record is made once."""
        with self.lock:
            if (record_id, reason) in self._complaints:
                return
            if len(self._complaints) >= MAX_COMPLAINTS:
                self._complaints.clear()
            self._complaints.add((record_id, reason))
            self.rejects.append((Reject("pods", record[:MAX_RECORD], reason, at), None))

    def acknowledge(self, at: float) -> None:
        """What snapshots up to ``at`` carried has been kept: it is not told again."""
        with self.lock:
            self.ended = [t for t in self.ended if t.at is None or t.at > at]
            self.rejects = [(r, first) for r, first in self.rejects if first is None or first > at]

    def rootless(self) -> list[PodFacts]:
        """Pods whose workload is not known yet and has to be."""
        with self.lock:
            waiting = [e for e in self.entries() if e.root is None and not (e.closed and e.end is None)]
            for entry in waiting:
                entry.asked = True
            return [entry.facts for entry in waiting]

    def put_roots(self, roots: Mapping[str, Root]) -> None:
        """Pod UID -> its workload. The first answer stays: a job does not change its identity."""
        with self.lock:
            for entry in self.entries():
                if entry.root is None:
                    entry.root = roots.get(entry.facts.uid)

    def owner_uids(self) -> set[str]:
        """The direct owners of all pods that are followed."""
        with self.lock:
            return {e.facts.owner.uid for e in self.entries() if e.facts.owner is not None}

    def entries(self) -> list[Entry]:
        """All pods: those that are there, and those that are gone and not yet told."""
        return list({**self.pods, **self.closing}.values())

    def kept(self) -> Kept:
        """What has to survive a restart, as of the last snapshot."""
        with self.lock:
            started = {uid: e.first_started for uid, e in self.pods.items() if e.first_started and not e.closed}
            told = {uid for uid, e in self.pods.items() if e.closed and uid not in self.closing}
            return Kept(
                open={**self.missing, **self.open},
                started={**self._started, **started},
                ended=tuple((t.claim, t.job) for t in self.ended),
                told=frozenset(told | self._told_before),
                covered=dict(self.covered),
            )

    def settle(self, entry: Entry, *, final: bool = False) -> str:
        """Find out what a bound pod holds, once; returns what is missing for that, or nothing.

        ``final``: make do with what is known.
        """
        facts = entry.facts
        if not facts.node:
            return ""
        node = self.nodes.get(facts.node)
        entry.keys = link_keys(facts, node, self._slurm_clusters)
        if entry.held is None:
            held, missing = portions(facts, node, self.devices if self.dra else None, final=final)
            if not missing or final:
                entry.held = held
            if missing:
                return f"pod {facts.namespace}/{facts.name}: {', '.join(missing)}"
        return ""

    def _put(self, facts: PodFacts, at: float) -> Entry:
        entry = self.pods.get(facts.uid)
        if entry is None:
            entry = self.pods[facts.uid] = Entry(facts, self._started.get(facts.uid))
            entry.closed = facts.terminal and facts.uid in self._told_before
            self.missing.pop(facts.uid, None)
        elif older(facts.version, entry.facts.version):
            return entry  # history that is replayed
        starts = [s for s in (entry.first_started, facts.started) if s is not None]
        entry.facts, entry.first_started = facts, min(starts, default=None)
        entry.start = facts.held_from(self.hold_from, entry.first_started)
        self.settle(entry)
        if facts.terminal and not entry.closed:
            self._close(entry, int(at) if facts.finished is None else facts.finished, "finished", at)
        return entry

    def _close(self, entry: Entry, end: int, basis: str, at: float) -> None:
        entry.closed = True
        facts, start = entry.facts, entry.start
        if start is None or end == start:
            return  # it never held anything
        if end < start:
            reason = f"pod {facts.namespace}/{facts.name} ends at {end}, before it starts at {start}"
            self.reject(facts.uid, repr(facts), f"{reason}: are the clocks of its node and the API server in step?", at)
            return
        entry.end, entry.basis, entry.closed_at = end, basis, at
        self.closing[facts.uid] = entry
