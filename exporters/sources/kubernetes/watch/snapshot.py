"""Snapshots out of the store: who holds what now, what has ended, who waits, what the nodes have.

An end is told once it is known who held what, and is repeated in every snapshot until the store is told to
`exporters.sources.kubernetes.watch.store.Store.acknowledge` it: Kubernetes keeps no history, so an end that its reader
could not keep would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.model import Demand, Job, JobKey, Node, Snapshot
from exporters.sources.kubernetes.claims import Held, claims_of, hand_over, job_key, job_of, wanted
from exporters.sources.kubernetes.nodes import nodes_of
from exporters.sources.kubernetes.slots.resources import NO_RULE
from exporters.sources.kubernetes.watch.entries import Entry, OpenClaims, SharedClaim
from exporters.sources.kubernetes.watch.store import Store

PATIENCE = 60.0
"""How long an ended pod waits for a node, a claim or a device that would say what it held, before it is a reject."""

Turns = Mapping[tuple[str, str], Held]
"""(ResourceClaim UID, pod UID) -> when that pod is the one who holds it."""


def snapshot(store: Store, at: float, problems: Sequence[str] = ()) -> Snapshot:
    """Everything as of now. ``problems`` are sentences of the caller's that belong to it."""
    with store.lock:
        waiting = _settle(store, at)
        unmetered = _unmetered(store, at)
        jobs = _jobs(store)
        turns = _turns(store)
        _end(store, jobs, turns)
        store.open = _open(store, jobs, turns)
        unsettled = [e for e in store.pods.values() if e.facts.node and not e.closed and e.asked and e.root is None]
        demands = _demands(store)
        store.see(at)
        for told in store.ended:
            told.at = at if told.at is None else told.at
        store.rejects = [(reject, at if first is None else first) for reject, first in store.rejects]
        said = [*problems, *sorted({p for n in store.nodes.values() for p in n.problems}), *map(_no_rule, unmetered)]
        if waiting:
            said.append(f"{len(waiting)} pods cannot be counted yet: {'; '.join(waiting[:3])}")
        if unsettled:
            said.append(f"{len(unsettled)} pods wait for their owners to be read")
        shown = {c.job for claims, _ in store.open.values() for c, _ in claims} | {d.job for d in demands}
        told_jobs = {t.job.key: t.job for t in store.ended}
        return Snapshot(
            at=at,
            jobs=tuple({**told_jobs, **{k: j for k, j in jobs.items() if k in shown or k in told_jobs}}.values()),
            claims=tuple(c for claims, _ in store.open.values() for c, _ in claims),
            ended=tuple(t.claim for t in store.ended),
            nodes=_nodes(store),
            demands=demands,
            rejects=tuple(reject for reject, _ in store.rejects),
            complete=not waiting and not unsettled,
            problems=tuple(said),
            unmetered=unmetered,
        )


def _settle(store: Store, at: float) -> list[str]:
    """Find out what pods hold; returns what is missing. What stays missing of a pod that ended becomes a reject."""
    waiting: list[str] = []
    for entry in store.entries():
        if entry.held is not None or (entry.closed and entry.end is None):
            continue
        missing = store.settle(entry)
        if entry.refused:
            store.reject(entry.facts.uid, repr(entry.facts), f"{entry.refused}: not counted", at)
            if entry.end is not None:
                entry.held = []
                continue
        if missing and entry.end is not None and at - entry.closed_at > PATIENCE:
            missing = store.settle(entry, final=True)
            if missing:
                reason = f"{missing}; it ended at {entry.end}, so that will not be known any more: not counted"
                store.reject(entry.facts.uid, repr(entry.facts), reason, at)
        elif missing:
            waiting.append(missing)
    return waiting


def _jobs(store: Store) -> dict[JobKey, Job]:
    groups: dict[JobKey, list[Entry]] = {}
    for entry in store.entries():
        if entry.root is not None:
            groups.setdefault(job_key(store.cluster, entry.facts.namespace, entry.root), []).append(entry)
    jobs: dict[JobKey, Job] = {}
    for key, entries in groups.items():
        starts = [e.start for e in entries if e.start is not None]
        start = min([*starts, *([store.first_start[key]] if key in store.first_start else [])], default=None)
        over = all(e.closed for e in entries)
        end = max((e.end for e in entries if e.end is not None), default=None) if over else None
        root = entries[0].root
        if root is not None:
            phases = {"Deleted" if e.closed and not e.facts.terminal else e.facts.phase for e in entries}
            requester = store.requesters.get(entries[0].facts.namespace, "")
            jobs[key] = job_of(store.cluster, root, [e.facts for e in entries], phases, start, end, requester)
    store.first_start = {key: job.start for key, job in jobs.items() if job.start is not None}
    return jobs


def _turns(store: Store) -> Turns:
    """Who holds each shared ResourceClaim when, over pods here, pods gone and pods of an earlier life."""
    users: dict[str, list[tuple[str, Held]]] = {}
    for entry in store.entries():
        if entry.start is None or (entry.closed and entry.end is None):
            continue
        for portion in entry.held or ():
            if portion.shared:
                users.setdefault(portion.shared, []).append((entry.facts.uid, (entry.start, entry.end)))
    for uid, (claims, _) in store.missing.items():
        for claim, shared in claims:
            if shared:
                users.setdefault(shared, []).append((uid, (claim.start, None)))
    store.covered = {shared: until for shared, until in store.covered.items() if shared in users}
    return {
        (shared, uid): held
        for shared, found in users.items()
        for uid, held in hand_over(found, store.covered.get(shared, 0)).items()
    }


def _claims(store: Store, entry: Entry, turns: Turns) -> list[SharedClaim] | None:
    """The claims of one pod with their ends (None = open), or None while its workload or what it holds is not known."""
    if entry.root is None or entry.held is None or entry.start is None:
        return None
    uid = entry.facts.uid
    own = {p.shared: turns[p.shared, uid] for p in entry.held if (p.shared, uid) in turns}
    held = (entry.start, entry.end)
    return claims_of(store.cluster, entry.facts, entry.root, entry.held, entry.keys, held, entry.basis, own)


def _open(store: Store, jobs: Mapping[JobKey, Job], turns: Turns) -> dict[str, OpenClaims]:
    held: dict[str, OpenClaims] = {}
    for uid, entry in store.pods.items():
        claims = None if entry.closed or not entry.facts.node else _claims(store, entry, turns)
        if claims:
            held[uid] = (tuple(claims), jobs[claims[0][0].job])
    return held


def _end(store: Store, jobs: Mapping[JobKey, Job], turns: Turns) -> None:
    """Tell the ends that can be told."""
    for uid, entry in list(store.closing.items()):
        claims = _claims(store, entry, turns)
        if claims is not None:
            for claim, shared in claims:
                store.tell(claim, jobs[claim.job], shared)
            del store.closing[uid]


def _demands(store: Store) -> tuple[Demand, ...]:
    """What waits for a node, per job and queue."""
    sums: dict[tuple[JobKey, str], int] = {}
    nodes = list(store.nodes.values())
    for entry in store.pods.values():
        facts = entry.facts
        if facts.node or facts.terminal or entry.root is None:
            continue
        milligpu = wanted(facts, nodes, store.devices if store.dra else None)
        if milligpu:
            key = (job_key(store.cluster, facts.namespace, entry.root), facts.queue)
            sums[key] = sums.get(key, 0) + milligpu
    return tuple(Demand(job, milligpu, queue) for (job, queue), milligpu in sums.items())


def _nodes(store: Store) -> tuple[Node, ...]:
    offered = store.devices.per_node() if store.dra else {}
    return tuple(
        node for facts in store.nodes.values() for node in nodes_of(store.cluster, facts, offered.get(facts.name, {}))
    )


def _unmetered(store: Store, at: float) -> dict[str, int]:
    """Devices that look like cards and have no rule, by resource or DRA driver; each is a reject, once."""
    found: dict[str, int] = {}
    for node in store.nodes.values():
        for resource, count in node.unmetered.items():
            found[resource] = found.get(resource, 0) + count
            store.reject(f"unmetered/{resource}", f"node {node.name}: {resource}: {count}", _no_rule(resource), at)
    for driver, count in store.devices.unmetered().items() if store.dra else ():
        found[driver] = found.get(driver, 0) + count
        store.reject(f"unmetered/{driver}", f"ResourceSlices of {driver}: {count} devices", _no_rule(driver), at)
    return found


def _no_rule(resource: str) -> str:
    return (
        f"{resource} {NO_RULE}: nothing of it is metered; say what one is under "
        f"devices.resources in the settings, such as {resource}: {{model: NAME, milligpu: 1000}}"
    )
