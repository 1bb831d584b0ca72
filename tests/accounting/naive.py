"""The oracle of evidence and books: what each node-day is made from and what stands of it, told as plainly as it goes.

Every claim of the ledger is looked at for every day, one by one, and ties between claims are found by comparing each
with each. Nothing is read in bulk, nothing is kept from one day to the next, and nothing is marked. What few claims say
of themselves (the split over nodes that was seen live, the digest of a claim) is the rule that production has, too.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, Engine, select

from accounting.evidence.capacity import stretches
from accounting.evidence.fingerprints import (
    STILL_HELD,
    claim_digest,
    inputs_digest,
    no_evidence,
    node_number,
    number_of,
    place_text,
)
from accounting.evidence.hypotheses.exact_splits import seen_split, splits_of
from accounting.evidence.hypotheses.proven_cards import proven
from accounting.evidence.hypotheses.slot_weights import weigh
from accounting.evidence.known_cards import unit_of
from accounting.evidence.node_facts import Facts, load_facts
from accounting.evidence.questions import Projects, Resolver
from accounting.evidence.rulings import in_force
from accounting.intake.live import holdings
from accounting.intake.rejects import UNPLACED
from accounting.model import NEAR, CapacityStretch, CoverageStretch, NodeDay, Posting
from accounting.reconcile.rule import Rules, reconcile
from accounting.store.calendar import segments
from accounting.store.database import read
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of
from accounting.store.tables import claims, jobs, nodes, postings, records, rejects
from accounting.store.tables import node_days as booked
from exporters.model import Claim, JobKey, LinkKind, NodeKey, Scheduler
from exporters.sources.slurm.gres import slots_of
from tests.accounting.naive_splits import Held, fitted


def every_claim(connection: Connection, facts: Facts) -> list[Held]:
    """All current claims, with what their slots weigh and the exact split over nodes, where the live side saw that."""
    query = (
        select(
            claims.c.record_id, claims.c.job_id, records.c.meaning, nodes.c.scheduler, nodes.c.cluster, nodes.c.name,
            *(claims.c[name] for name in CLAIM_COLUMNS), *(jobs.c[name].label(f"job_{name}") for name in JOB_COLUMNS),
        )
        .join(jobs, jobs.c.id == claims.c.job_id)
        .join(nodes, nodes.c.id == claims.c.node_id)
        .join(records, records.c.id == claims.c.record_id)
        .where(claims.c.current)
    )  # fmt: skip
    of: dict[tuple[int, int], list[Held]] = defaultdict(list)
    for record, number, meaning, scheduler, cluster, name, *values in connection.execute(query):
        job = job_of(values[len(CLAIM_COLUMNS) :])
        claim = claim_of(job.key, NodeKey(Scheduler(scheduler), cluster, name), values[: len(CLAIM_COLUMNS)])
        of[record, number].append(Held(claim, job, bytes(meaning)))
    found = []
    for (_, number), several in of.items():
        exact, job = [weigh(h.claim, facts.nodes.get(h.claim.node)) or h.claim for h in several], several[0].job
        if job.key.scheduler is Scheduler.SLURM:
            exact = seen_split(exact, splits_of(connection, [number]).get(number, []))
        told = {h.claim: h.told for h in several}
        found += [Held(claim, job, told.get(claim) or claim_digest(claim)) for claim in exact]
    return found


def _end(claim: Claim, now: int) -> int:
    return now if claim.end is None else claim.end


def tied(one: Claim, other: Claim) -> bool:
    """Whether a key of one names the other, of the other scheduler, and they are near each other in time."""
    near = (other.end is None or one.start <= other.end + NEAR) and (one.end is None or other.start <= one.end + NEAR)
    return near and (names(one, other) or names(other, one))


def names(one: Claim, other: Claim) -> bool:
    return one.job.scheduler is not other.job.scheduler and any(
        key.kind in (LinkKind.SAME, LinkKind.INSIDE)
        and key.value == other.native_id
        and key.cluster in ("", other.job.cluster)
        for key in one.keys
    )


def overlaps(claim: Claim, a: int, b: int) -> bool:
    return claim.start < b and (claim.end is None or claim.end > a)


def on_machines(claim: Claim, resolver: Resolver, now: int) -> list[tuple[str, Claim]]:
    """The claim on each machine it was on; cut where its node moved from one to another. An open end stays open."""
    end = max(now if claim.end is None else claim.end, claim.start + 1)
    found = resolver(claim.node, claim.start, end)
    if len(found) == 1:
        return [(found[0][0], claim)]
    cut = [(m, max(s, claim.start), min(e, end)) for m, s, e in found if max(s, claim.start) < min(e, end)]
    pieces = [(m, replace(claim, start=s, end=e)) for m, s, e in cut]
    machine, last = pieces[-1]
    return [*pieces[:-1], (machine, replace(last, end=claim.end))]


def node_days(
    engine: Engine,
    start: int,
    end: int,
    resolver: Resolver,
    *,
    zone: tzinfo = UTC,
    projects: Projects | None = None,
    present: Resolver | None = None,
) -> Iterator[NodeDay]:
    """Every node-day that touches ``[start, end)``, by day and then by machine; the last one ends at ``end``."""
    for a, whole in segments(start, end, zone):
        with read(engine) as connection:
            yield from _day(connection, (start, end), a, min(whole, end), resolver, projects, present or resolver)


def _day(
    connection: Connection,
    span: tuple[int, int],
    a: int,
    b: int,
    resolver: Resolver,
    projects: Projects | None,
    present: Resolver,
) -> Iterator[NodeDay]:
    facts = load_facts(connection, min(span[0], a), span[1])
    told = every_claim(connection, facts)
    known = [h for h in told if not slots_of(h.claim.profile)]
    holes = [(h.claim.node, (h.claim.start, _end(h.claim, b))) for h in told if slots_of(h.claim.profile)]
    size = {key: stretches(node, min(span[0], a), span[1]) for key, node in facts.nodes.items()}
    size = {key: [s for s in there if s.start < b and s.end > a] for key, there in size.items()}
    before = [h for h in known if overlaps(h.claim, a, b)]
    beyond = [h for h in known if not overlaps(h.claim, a, b) and any(tied(h.claim, other.claim) for other in before)]
    beyond = [h for h in beyond if h.claim.milligpu or not h.claim.split_assumed]
    here = [Held(c, h.job, h.told if c == h.claim else claim_digest(c)) for c, h in fitted(before, size, a, b)]
    on: dict[str, list[Held]] = defaultdict(list)
    of: dict[str, set[NodeKey]] = defaultdict(set)
    for h in here:
        for machine, piece in on_machines(h.claim, resolver, b):
            if piece.start < b and (piece.end is None or piece.end > max(a, piece.start)):
                on[machine].append(h._replace(claim=piece))
                of[machine].add(piece.node)
    busy = {*on}
    for h in beyond:
        for machine, piece in on_machines(h.claim, resolver, b):
            if machine in busy:
                on[machine].append(h._replace(claim=piece))
    had: dict[str, list[CapacityStretch]] = defaultdict(list)
    for key, there in size.items():
        for machine, first, last in present(key, a, b) if there else ():
            of[machine].add(key)
            for s in there:
                if max(s.start, first) < min(s.end, last):
                    had[machine].append(replace(s, start=max(s.start, first), end=min(s.end, last)))
    for machine, some in on.items():
        looked = [span for key in of[machine] for span in facts.seen.get(key, ())]
        pieces = [h.claim for h in some if overlaps(h.claim, a, b)]
        had[machine] += proven(pieces, had[machine], looked, a, b)
    rulings, seen = in_force(connection), holdings.between(connection, a, b)
    for machine in sorted(of):
        if machine not in busy and not any(s.milligpu for s in had[machine]):
            continue
        several = {(h.claim, h.told): h for h in on[machine]}.values()
        paying = {h.claim.job: h.job for h in several}
        payers = {k: projects(j, max(a, j.start or a)) for k, j in sorted(paying.items())} if projects else {}
        related = sorted({(key.scheduler, key.cluster) for key in of[machine]})
        units = {unit_of(h.claim.job, h.claim.unit) for h in several}
        yield NodeDay(
            machine,
            a,
            b,
            tuple(sorted({h.claim for h in several}, key=repr)),
            tuple(sorted(had[machine])),
            tuple(_known(facts, related, of[machine], a, b, holes)),
            tuple(payers.items()),
            tuple((*place, min(b, until)) for place in related if (until := facts.until.get(place))),
            tuple(r for r in rulings.get(machine, ()) if {*r.parties} <= {*paying}),
            tuple(sorted(h for h in seen.get(machine, ()) if unit_of(h.job, h.unit) in units)),
            tuple(sorted({claim_print(h.told, h.claim, payers.get(h.claim.job, "")) for h in several})),
        )


def claim_print(told: bytes, claim: Claim, project: str) -> bytes:
    """One claim's print, as `accounting.evidence.fingerprints` describes it."""
    end = STILL_HELD if claim.end is None else claim.end
    node, kind = node_number(claim.node), number_of(repr((claim.model, claim.profile)))
    numbers = (node, kind, claim.milligpu, claim.start, end, number_of(project))
    return struct.pack(">16sQQqqqQ", told, *numbers)


def inputs_hash(day: NodeDay) -> bytes:
    """SHA-256 over everything a node-day says, whatever the order in which it says it."""
    place = (day.machine, day.start, day.end)
    text = place_text(place, day.capacity, day.coverage, day.known_until, day.rulings, day.holdings)
    projects = dict(day.projects)
    prints = day.prints or {claim_print(claim_digest(c), c, projects.get(c.job, "")) for c in day.claims}
    return inputs_digest(text, b"".join(sorted(prints)))


def agree(engine: Engine, start: int, end: int, resolver: Resolver, rules: Rules, **more: Any) -> None:
    """AssertionError unless the books of a range with no closed month are what the rule makes of each node-day.

    ``more`` is as for `node_days`.
    """
    expected: dict[tuple[str, int], tuple[bytes, list[Posting]]] = {}
    lost: set[str] = set()
    for day in node_days(engine, start, end, resolver, **more):
        made = reconcile(day, rules)
        expected[day.machine, day.start] = (inputs_hash(day), [p for p in made.postings if p.quantity or p.held])
        lost |= {f"node-day {day.machine} {day.start}: {c.job} {c.unit}: {why}" for c, why in made.unplaced}
    with read(engine) as connection:
        names_of = _jobs(connection)
        rows = connection.execute(select(booked).where(booked.c.start_at.between(start, end - 1))).all()
        standing = {(r.machine, r.start_at): r for r in rows}
        found = {place: (bytes(r.inputs_hash), _standing(connection, r, names_of)) for place, r in standing.items()}
        here = (rejects.c.kind == UNPLACED, rejects.c.resolved_at.is_(None))
        aside = {*connection.scalars(select(rejects.c.reason).where(*here))}
    gone = {place for place, (digest, _) in found.items() if digest == no_evidence(*place)}

    there = {place: told for place, told in found.items() if place not in gone}
    assert {*expected} == {*there}
    assert {place: digest for place, (digest, _) in expected.items()} == {place: d for place, (d, _) in there.items()}
    assert expected == there
    assert {*standing} - gone == {p for p, r in standing.items() if bytes(r.rules_hash) == rules.hash()} - gone
    assert all(not found[place][1] for place in gone)
    assert lost == aside


def _standing(connection: Connection, row: Any, names_of: dict[int | None, JobKey | None]) -> Sequence[Posting]:
    query = select(postings).where(postings.c.transaction_id == row.transaction_id).order_by(postings.c.id)
    return [
        Posting(
            p.account, p.model, p.quantity, p.project, names_of[p.job_id], p.unit, p.start_at, p.end_at, p.held,
            LinkKind(p.link) if p.link else None, names_of[p.linked_id], p.reason,
        )
        for p in connection.execute(query)
    ]  # fmt: skip


def _jobs(connection: Connection) -> dict[int | None, JobKey | None]:
    rows = connection.execute(select(jobs.c.id, jobs.c.scheduler, jobs.c.cluster, jobs.c.run))
    return {None: None, **{n: JobKey(Scheduler(scheduler), cluster, run) for n, scheduler, cluster, run in rows}}


def _known(
    facts: Facts,
    related: Sequence[tuple[Scheduler, str]],
    keys: Iterable[NodeKey],
    a: int,
    b: int,
    unweighed: Sequence[tuple[NodeKey, tuple[int, int]]],
) -> Iterator[CoverageStretch]:
    """Covered time, cut wherever anything begins or ends, without what lies in a hole of one of the machine's nodes."""
    for place in related:
        holes = [h for key in keys if (key.scheduler, key.cluster) == place for h in facts.unsaid.get(key, ())]
        holes += [span for key, span in unweighed if key in keys and (key.scheduler, key.cluster) == place]
        for first, last in facts.covered.get(place, ()):
            begin, over = max(first, a), min(last, b)
            inside = {t for h in holes for t in h if begin < t < over}
            cuts = sorted({begin, over, *inside}) if begin < over else []
            kept: list[tuple[int, int]] = []
            for x, y in pairwise(cuts):
                if not any(s <= x and y <= e for s, e in holes):
                    joined = bool(kept) and kept[-1][1] == x
                    kept[-1:] = [(kept[-1][0], y)] if joined else [*kept[-1:], (x, y)]
            yield from (CoverageStretch(x, y, *place) for x, y in kept)
