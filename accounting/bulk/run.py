"""Reconciles a whole range by columns: one day after the other, each booked as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, tzinfo

from sqlalchemy import Engine

from accounting.booking import Head, Posted
from accounting.bulk.booking import Done, book_day
from accounting.bulk.columns import DayColumns
from accounting.bulk.days import Days
from accounting.bulk.garbage import no_garbage
from accounting.bulk.postings import DayPostings
from accounting.bulk.rows import INDICES, UUIDS, Reader
from accounting.bulk.site import Borders, SiteDay, World, site_day
from accounting.capacity import stretches
from accounting.database import chunks, read, write
from accounting.evidence import Projects, Resolver
from accounting.facts import load_facts, node_keys
from accounting.ledger import heads
from accounting.model import NodeDayResult
from accounting.periods import segment_at, segments
from accounting.prints import DayInputs
from accounting.reconcile import Rules
from accounting.reconciling import Progress, ReconcileReport, rules_hash, withdraw
from accounting.rulings import in_force
from accounting.sweep import Sweep
from accounting.sweep.engines import Engine as Workers
from accounting.sweep.engines import EngineName, engine
from accounting.sweep.windows import reconcile_all

_TOGETHER = 32
"""Node-days that travel to a worker at once."""


@dataclass(frozen=True, slots=True)
class Site:
    """A ledger's site: which machines its nodes are, when they are there, and who pays.

    ``borders`` are the moments at which it may change who pays (None: nobody knows, and ``projects`` is asked often).
    ``projects`` may only look at a job's scheduler, cluster, account and labels.
    """

    resolver: Resolver
    projects: Projects
    present: Resolver | None = None
    borders: Borders | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Where node-days are reconciled: see `accounting.sweep.engines.engine`."""

    engine: EngineName = "one"
    workers: int = 0
    scheduler: str = ""


HERE = Work()
"""In the process that asks."""


@contextmanager
def site_days(ledger: Engine, site: Site, days: Sequence[tuple[int, int]]) -> Iterator[Iterator[SiteDay]]:
    """All node-days of some segments, one day after the other. Meanwhile nobody looks for garbage among the rows."""
    with no_garbage():
        yield _site_days(ledger, site, days)


def _site_days(ledger: Engine, site: Site, days: Sequence[tuple[int, int]]) -> Iterator[SiteDay]:
    if not days:
        return
    first, last = days[0][0], days[-1][1]
    with read(ledger) as connection:
        facts = load_facts(connection, first, last)
        rulings, nodes = in_force(connection), node_keys(connection)
    capacity = {key: stretches(node, first, last) for key, node in facts.nodes.items()}
    present = site.present or site.resolver
    world = World(Reader(nodes), facts, capacity, site.resolver, present, site.projects, site.borders, rulings)
    reading = Days(world.reader, days)
    for a, b in days:
        with read(ledger) as connection:
            nodes.update(node_keys(connection))  # others may have written claims on new nodes since
            found = site_day(connection, world, reading, a, b)
        yield found


def day_inputs(ledger: Engine, site: Site, start: int, end: int, zone: tzinfo) -> Iterator[DayInputs]:
    """The inputs of every node-day that touches ``[start, end)``, the last one up to ``end``."""
    days = [(a, min(b, end)) for a, b in segments(start, end, zone)]
    with site_days(ledger, site, days) as found:
        for day in found:
            for machine, digest in zip(day.machines, day.hashes, strict=True):
                yield DayInputs(machine.name, day.start, day.end, machine.capacity, digest)


def reconcile_whole(
    ledger: Engine,
    start: int,
    end: int,
    site: Site,
    rules: Rules,
    *,
    now: int,
    zone: tzinfo = UTC,
    unfinished: bool = True,
    progress: Progress | None = None,
    work: Work = HERE,
) -> ReconcileReport:
    """Reconcile and book every node-day that touches ``[start, end)``, like `accounting.reconciling.reconcile_range`.

    The books are the same to the byte, wherever the ``work`` is done.
    """
    days = [(a, min(b, now)) for a, b in segments(start, min(end, now), zone) if unfinished or b <= now]
    counts: Counter[str] = Counter()
    told = rules_hash(rules.text())
    with (
        engine(work.engine, workers=work.workers, scheduler=work.scheduler) as run,
        site_days(ledger, site, days) as found,
    ):
        for day in found:
            with read(ledger) as connection:
                booked = heads(connection, day.start, segment_at(day.start, zone)[1])
            which = _changed(day, booked, told)
            counts["node_days"] += len(day.machines)
            counts[Posted.UNCHANGED] += len(day.machines) - len(which)
            if which:
                done = _reconciled(day, which, rules, told, run)
                counts["unplaced"] += sum(done.unplaced(n) for n in range(len(which)))
                with write(ledger) as connection:
                    counts.update(book_day(connection, done, now=now, zone=zone))
            seen = {(machine.name, day.start) for machine in day.machines}
            counts.update(withdraw(ledger, booked, seen, told, now=now, zone=zone))
            if progress is not None:
                progress(day.end - days[0][0], days[-1][1] - days[0][0], counts["node_days"])
    return ReconcileReport(
        counts["node_days"],
        counts[Posted.POSTED],
        counts[Posted.REPOSTED],
        counts[Posted.CORRECTED],
        counts[Posted.UNCHANGED],
        counts["withdrawn"],
        counts["unplaced"],
        days[0][0] if days else start,
        days[-1][1] if days else start,
    )


def _changed(day: SiteDay, booked: dict[tuple[str, int], Head], rules: bytes) -> list[int]:
    """Machines whose node-day is not booked with these inputs and rules."""
    found = []
    for m, (machine, digest) in enumerate(zip(day.machines, day.hashes, strict=True)):
        head = booked.get((machine.name, day.start))
        if head is None or (head.inputs_hash, head.rules_hash) != (digest, rules):
            found.append(m)
    return found


def _reconciled(day: SiteDay, which: Sequence[int], rules: Rules, told: bytes, run: Workers) -> Done:
    """The sweep for the machines of which cards are only counted, the scalar rules for the others."""
    alone = [m for m in which if _has_cards(day, m)]
    swept = [m for m in which if m not in set(alone)]
    columns = DayColumns(day, swept)
    sweep = Sweep(columns.columns, rules, (day.start, day.end), run=run)
    postings = DayPostings(columns, sweep, [*sweep] if swept else [])
    results: list[NodeDayResult] = []
    for some in chunks(alone, _TOGETHER):
        results += reconcile_all([day.node_day(m) for m in some], rules)
    numbers = {m: n for n, m in enumerate(swept)}
    return Done(day, which, [numbers.get(m, -1) for m in which], postings, dict(zip(alone, results, strict=True)), told)


def _has_cards(day: SiteDay, machine: int) -> bool:
    """Whether some card of a machine is known by number or UUID."""
    here = day.span(machine)
    named = any(raw[INDICES] or raw[UUIDS] for raw in day.rows.raw[here.start : here.stop])
    return named or bool(day.machines[machine].holdings)
