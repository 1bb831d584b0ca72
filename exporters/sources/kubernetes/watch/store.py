"""What is known about a cluster's GPU pods: who holds what now, and what has ended and was not yet taken over.

Objects come in from the watches' threads, snapshots go out to the collector's; one lock guards everything. Nothing here
does I/O. What ended a claim is its ``end_basis``:

* ``finished``: the pod's phase is terminal; the end is the last ``finishedAt``. Where the object tells none, the pod
  ended when the watch said so, if it was in step; and nothing is known of one that was never seen before: it holds
  nothing that somebody could date;
* ``deleted``: the watch saw the pod go without a terminal status; the end is the final delete by the API server's clock
  where nothing kept the object after it, else the moment the watch said so;
* ``vanished``: a list no longer has the pod, or a list or a watch that was cut has it as ended, and nothing dates that;
  the end is the final delete where it was seen to begin, else the last moment at which the pod was seen or its own
  times prove it, and at the latest when another pod of its name was created.

What is known of a start stays known: a kubelet that rejects a pod after its own restart drops its conditions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from exporters.model import Claim, Job, JobKey, Reject
from exporters.sources.kubernetes.claims import Root, link_keys
from exporters.sources.kubernetes.nodes import NodeFacts
from exporters.sources.kubernetes.pod_facts import HoldFrom, PodFacts
from exporters.sources.kubernetes.slots.portions import Findings, Portion, portions
from exporters.sources.kubernetes.slots.resource_claims import Devices
from exporters.sources.kubernetes.slots.resources import NO_RULES, Resources
from exporters.sources.kubernetes.watch.collection import older
from exporters.sources.kubernetes.watch.entries import Entry, Kept, OpenClaims, Told, succeed

MAX_RECORD = 4096
"""Characters of a record that a reject keeps."""

MAX_COMPLAINTS = 10_000
"""How many complaints are remembered so as not to be repeated."""


class Store:
    """The state of one cluster. ``dra`` False: the API server offers no ResourceClaims (or none to us).

    ``kept`` is of an earlier life, ``kept_at`` when it was true. ``rules`` are the site's for resources.
    """

    def __init__(
        self,
        cluster: str,
        hold_from: HoldFrom,
        slurm_clusters: Mapping[str, str] | None = None,
        kept: Kept | None = None,
        namespaces: Sequence[str] = ("",),
        *,
        kept_at: float = 0.0,
        rules: Resources = NO_RULES,
    ) -> None:
        kept = kept or Kept()
        self.rules = rules
        self.lock = threading.RLock()
        self.cluster = cluster
        self.hold_from: HoldFrom = hold_from
        self.nodes: dict[str, NodeFacts] = {}
        self.devices = Devices(rules)
        self.requesters: dict[str, str] = {}
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
        self._kept_at = kept_at
        self._seen_at = kept_at
        self._reserved: dict[tuple[str, str], str] = {}
        self._listed_at: dict[str, int] = {}
        self._catching_up = set(namespaces)
        self._behind: set[str] = set()
        self._started = dict(kept.started)
        self._told_before = set(kept.told)
        self._complaints: set[tuple[str, str]] = set()

    def put_pod(self, facts: PodFacts, at: float) -> None:
        """A pod as it is now (``at``: when that was read)."""
        with self.lock:
            self._put(facts, at, late=self._late(facts))

    def drop_pod(self, facts: PodFacts, at: float) -> None:
        """A pod is gone; ``facts`` is its last state, as the deletion event carries it."""
        with self.lock:
            before = self.pods.get(facts.uid)
            outlived = before is not None and before.facts.finalizers
            late = self._late(facts)
            entry = self._put(facts, at, late=late)
            self._forget(entry)
            if entry.closed:
                return
            if facts.removed is not None and not outlived:
                self._close(entry, facts.removed, "deleted", at)
            elif late and entry.seen is not None:
                self._close(entry, max(int(entry.seen), entry.start or 0), "vanished", at)
            else:
                self._close(entry, int(at), "deleted", at)

    def replace_pods(self, listed: Iterable[PodFacts], at: float, namespace: str = "") -> None:
        """All pods there are (in one namespace, where one is given). Who is missing has vanished."""
        with self.lock:
            present: set[str] = set()
            named: dict[tuple[str, str], int] = {}
            for facts in listed:
                present.add(facts.uid)
                self._put(facts, at, late=facts.terminal)
                named[facts.namespace, facts.name] = facts.created
            for uid in self.pods.keys() - present:
                entry = self.pods[uid]
                if namespace and entry.facts.namespace != namespace:
                    continue
                self._forget(entry)
                if not entry.closed:
                    removed = None if entry.facts.finalizers else entry.facts.removed
                    last = removed if removed is not None else at if entry.seen is None else entry.seen
                    successor = named.get((entry.facts.namespace, entry.facts.name), last)
                    end = int(min(last, successor))
                    self._close(entry, max(end, entry.start or end), "vanished", at)
            self._listed_at.setdefault(namespace, int(at))

    def behind(self, namespace: str = "") -> None:
        """A watch was cut: what it tells from now on may have happened at any time since, until it has caught up."""
        with self.lock:
            self._behind.add(namespace)

    def caught_up(self, namespace: str = "") -> None:
        """What a watch has missed is known; pods of an earlier life that are missing after its first list are gone."""
        with self.lock:
            self._behind.discard(namespace)
            named = {f"{e.facts.namespace}/{e.facts.name}": e.facts.created for e in self.pods.values()}
            for uid, (claims, job) in list(self.missing.items()):
                if namespace and job.account != namespace:
                    continue
                del self.missing[uid]
                for claim, shared in claims:
                    end = int(min(self._kept_at, named.get(claim.native_id, self._kept_at)))
                    if end > claim.start:
                        self.tell(replace(claim, end=end, end_basis="vanished"), job, shared)
            self._catching_up.discard(namespace)
            if not self._catching_up:
                self._started.clear()
                self._told_before.clear()

    def see(self, at: float) -> None:
        """A snapshot of ``at`` shows every pod that is there: that is when it was last seen.

        Of a watch that is behind it shows what was there before.
        """
        if not self._behind:
            self._seen_at = at
        for entry in self.pods.values():
            if not entry.closed and not self._late(entry.facts):
                entry.seen = max(entry.seen or at, at)

    def _late(self, facts: PodFacts) -> bool:
        """Whether what an event of a pod says may have happened long before it is told."""
        return facts.uid in self.missing or not self._behind.isdisjoint(("", facts.namespace))

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
                seen=self._seen_at,
            )

    def settle(self, entry: Entry, *, final: bool = False) -> str:
        """Find out what a bound pod holds, once; returns what is missing for that, or nothing.

        What it held in an earlier life stands in for what cannot be told now. ``final``: make do with what is known.
        """
        facts = entry.facts
        if not facts.node:
            return ""
        node = self.nodes.get(facts.node)
        entry.keys = link_keys(facts, node, self._slurm_clusters)
        if entry.held is not None:
            return ""
        found = portions(facts, node, self.devices if self.dra else None, self._reserved, final=final)
        if entry.kept and (found.missing or found.refused):
            found = Findings(entry.kept)
        entry.refused = f"pod {facts.namespace}/{facts.name} {', '.join(found.refused)}" if found.refused else ""
        if final or not (found.missing or found.refused):
            entry.held = list(found.held)
        return f"pod {facts.namespace}/{facts.name}: {', '.join(found.missing)}" if found.missing else ""

    def _put(self, facts: PodFacts, at: float, *, late: bool) -> Entry:
        """A pod as it is. ``late``: it was so at some time before ``at``, and that it was is all that is known."""
        entry = self.pods.get(facts.uid)
        if entry is None:
            entry = self.pods[facts.uid] = Entry(facts, self._started.get(facts.uid))
            succeed(facts, self.closing.values(), self.ended)
            entry.closed = facts.terminal and facts.uid in self._told_before
            self._remember(entry, self.missing.pop(facts.uid, None))
        elif older(facts.version, entry.facts.version):
            return entry  # history that is replayed
        starts = [s for s in (entry.first_started, facts.started) if s is not None]
        entry.facts, entry.first_started = facts, min(starts, default=None)
        entry.scheduled = facts.scheduled if entry.scheduled is None else entry.scheduled
        entry.start = facts.held_from(self.hold_from, entry.first_started, entry.scheduled, entry.unbound)
        if facts.part is not None and facts.part.keeps and facts.node:
            self._reserved |= {(facts.node, group): facts.part.uuid for group in facts.part.groups}
        self.settle(entry)
        if facts.terminal and not entry.closed:
            self._finish(entry, at, late=late)
        elif not facts.terminal:
            entry.unbound = entry.unbound if facts.node else int(at)
            proven = facts.proven if late else at
            entry.seen = max(entry.seen or proven, proven)
        return entry

    def _remember(self, entry: Entry, kept: OpenClaims | None) -> None:
        """Take over what an earlier life knew of a pod that is still there."""
        if kept is None:
            return
        claims, _ = kept
        starts = [claim.start for claim, shared in claims if not shared]
        if self.hold_from == "scheduled":
            entry.scheduled = min(starts, default=None)
        entry.seen = self._kept_at
        entry.kept = tuple(Portion(c.milligpu, c.model, c.profile, c.uuids, shared) for c, shared in claims)

    def _forget(self, entry: Entry) -> None:
        """A pod is no longer there."""
        facts = entry.facts
        self.pods.pop(facts.uid, None)
        if facts.part is not None and facts.part.keeps:
            for group in facts.part.groups:
                self._reserved.pop((facts.node, group), None)

    def _finish(self, entry: Entry, at: float, *, late: bool) -> None:
        """A pod has ended: by its containers; else by its conditions, within what was seen of it; else when told, and
        where that was late, when it was last seen or proven.
        """
        end, turned, basis = entry.facts.finished, entry.facts.turned, "finished"
        if end is None:
            if entry.seen is not None:
                dated = turned is not None and entry.seen <= turned <= at
                end = turned if turned is not None and dated else int(entry.seen if late else at)
                end = max(end, entry.start or end)  # the API server's clock may be ahead of ours
                basis = "vanished" if late and not dated else basis
            elif turned is None:
                entry.closed = True  # first seen long after: nothing of it can be dated
                return
            else:
                end = turned
        self._close(entry, end, basis, at)

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
