"""One day of a range: read, held against the books, reconciled where it is new or changed. The same in any process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import Connection, func, select

from accounting.evidence.capacity import stretches
from accounting.evidence.claim_reader import Reader
from accounting.evidence.day_claims import Days
from accounting.evidence.day_fingerprints import Marks, stored
from accounting.evidence.fingerprints import no_evidence
from accounting.evidence.node_facts import load_facts, node_keys
from accounting.evidence.questions import Projects, Resolver
from accounting.evidence.rulings import in_force, ruled
from accounting.evidence.site_day import Borders, SiteDay, World, site_day
from accounting.ledger.booking import Done, Draft, Head, Place, heads
from accounting.reconcile.day_columns import DayColumns
from accounting.reconcile.day_postings import DaySwept
from accounting.reconcile.posting_columns import Postings
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep import Sweep
from accounting.reconcile.sweep.engines import Engine
from accounting.store.calendar import OPEN, period_at
from accounting.store.columns import columns
from accounting.store.tables import nodes, periods


@dataclass(frozen=True, slots=True)
class Site:
    """A ledger's site: which machines its nodes are, when they are there, and who pays.

    ``borders`` are the moments at which it may change who pays (None: nobody knows, and ``projects`` is asked often).
    ``projects`` may only look at a job's scheduler, cluster, account and labels. ``settings`` is a text that changes
    whenever they may answer otherwise for other reasons than what the ledger says; without it every day is read.
    ``changes`` are the moments at which prices change: a node-day ends there, so that each has one price.
    """

    resolver: Resolver
    projects: Projects
    present: Resolver | None = None
    borders: Borders | None = None
    settings: str = ""
    changes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """What is to be reconciled: a site's node-days (``days``, in order) by some rules.

    ``machines`` limits it to some; then nothing is known of the day as a whole, and it is not marked.
    """

    site: Site
    rules: Rules
    days: Sequence[tuple[int, int]]
    zone: tzinfo
    machines: frozenset[str] | None = None


class Worker:
    """Takes on the days of a range. What they share is read once."""

    def __init__(self, connection: Connection, range_: Range) -> None:
        self.range, site, days = range_, range_.site, range_.days
        first, last = days[0][0], days[-1][1]
        facts, rulings = load_facts(connection, first, last), in_force(connection)
        capacity = {key: stretches(node, first, last) for key, node in facts.nodes.items()}
        present = site.present or site.resolver
        reader = Reader(node_keys(connection))
        self.world = World(
            reader, facts, capacity, site.resolver, present, site.projects, site.borders, rulings, range_.machines
        )
        self.days = Days(reader, days)
        self.rules_hash = range_.rules.hash()
        self._marks: Marks | None = None

    def knows(self, connection: Connection) -> bool:
        """Whether it knows every node of the ledger: an ingest may have added one since it began."""
        newest = connection.execute(select(func.coalesce(func.max(nodes.c.id), 0))).scalar_one()
        return int(newest) == max(self.world.reader.nodes, default=0)

    def site_day(self, connection: Connection, a: int, b: int) -> SiteDay:
        """All that is known of the node-days over ``[a, b)``."""
        with columns(connection) as tables:
            return site_day(tables, self.world, self.days, a, b)

    def mark(self, connection: Connection, a: int, b: int) -> tuple[bytes, bool]:
        """By which the node-days over ``[a, b)`` are known again, and whether that is what they were booked with."""
        if not self.range.site.settings or self.range.machines is not None:
            return b"", False
        if self._marks is None:
            told = f"{self.range.rules.text()} {self.range.site.settings}"
            first, last = self.range.days[0][0], self.range.days[-1][1]
            with columns(connection) as tables:
                self._marks = Marks(tables, self.world, told, first, last)
        mark = self._marks.of(a, b)
        return mark, mark == stored(connection, a, b)

    def booked(self, connection: Connection, a: int, b: int) -> dict[Place, Head]:
        """The node-days over ``[a, b)`` that are booked, but for those of which there was no evidence any more."""
        return {place: head for place, head in heads(connection, a, b).items() if _there(place, head)}

    def nothing(self, connection: Connection, a: int, b: int) -> Done:
        """The node-days over ``[a, b)`` of which nothing has changed."""
        seen = [machine for machine, _ in self.booked(connection, a, b)]
        return Done(a, b, self.rules_hash, seen, {}, True, (), Postings.none())

    def done(self, connection: Connection, a: int, b: int, mark: bytes, run: Engine) -> Done:
        """The node-days over ``[a, b)``, those reconciled that are not booked with these inputs and rules.

        A node-day that was booked and of which there is no evidence any more (its machine goes by another name now) is
        taken back, lest its cards be counted under both names. ``mark`` is the day's, taken before.
        """
        return self._reconciled(connection, a, b, mark, run, self._is_news)

    def derived(self, connection: Connection, a: int, b: int, run: Engine) -> Done:
        """The node-days over ``[a, b)`` reconciled anew, whatever is booked: what they come to by their evidence."""
        return self._reconciled(connection, a, b, b"", run, lambda *_: True)

    def _reconciled(
        self, connection: Connection, a: int, b: int, mark: bytes, run: Engine, wanted: Callable[..., bool]
    ) -> Done:
        had = heads(connection, a, b)
        day = self.site_day(connection, a, b)
        name = period_at(a, self.range.zone).name
        state = connection.execute(select(periods.c.state).where(periods.c.name == name)).scalar_one_or_none()
        which = [m for m in range(len(day.machines)) if wanted(day, m, had)]
        made = DayColumns(day, which)
        sweep = Sweep(made.columns, self.range.rules, (a, b), run=run)
        swept = DaySwept(made, sweep, [*sweep] if which else [])
        lost = swept.unplaced()
        drafts = [
            Draft(day.machines[m].name, b, day.hashes[m], *ruled(day.machines[m].rulings), lost.get(n, ()))
            for n, m in enumerate(which)
        ]
        seen = [machine.name for machine in day.machines]
        gone = self._gone(had, {*seen}) if self.range.machines is None else []
        postings = swept.postings().followed_by(len(gone))
        is_open = state in (None, OPEN)
        return Done(a, b, self.rules_hash, seen, had, is_open, [*drafts, *gone], postings, len(gone), mark)

    def _gone(self, had: Mapping[Place, Head], seen: set[str]) -> list[Draft]:
        left = sorted(place for place, head in had.items() if place[0] not in seen and _there(place, head))
        return [Draft(place[0], had[place].end, no_evidence(*place)) for place in left]

    def _is_news(self, day: SiteDay, machine: int, had: Mapping[Place, Head]) -> bool:
        head = had.get((day.machines[machine].name, day.start))
        return head is None or (head.inputs_hash, head.rules_hash) != (day.hashes[machine], self.rules_hash)


def _there(place: Place, head: Head) -> bool:
    return head.inputs_hash != no_evidence(*place)


_workers: dict[str, Worker] = {}


def shared_worker(connection: Connection, token: str, range_: Range) -> Worker:
    """What the days of a range share (``token`` names it); each process keeps it from one day to the next.

    The service's threads may be at two ranges at once: whoever comes second takes its own, and only one is kept.
    """
    worker = _workers.get(token)
    if worker is None or not worker.knows(connection):
        worker = Worker(connection, range_)
        _workers.clear()
        _workers[token] = worker
    return worker
