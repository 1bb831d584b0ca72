"""One day of a range: read, held against the books, reconciled where it is new or changed. The same in any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import groupby

from sqlalchemy import Connection, func, select

from accounting.bulk.booking import Done, Fresh, New, Place
from accounting.bulk.columns import DayColumns
from accounting.bulk.days import Days
from accounting.bulk.marks import Marks, stored
from accounting.bulk.postings import DayPostings
from accounting.bulk.reading import Reader
from accounting.bulk.site import Borders, SiteDay, World, site_day
from accounting.bulk.staging import can_stage, staged
from accounting.evidence.capacity import stretches
from accounting.evidence.node_days import Projects, Resolver
from accounting.evidence.node_facts import load_facts, node_keys
from accounting.evidence.rulings import in_force, ruled
from accounting.ledger.booking import Entry, Head
from accounting.ledger.books import heads
from accounting.ledger.reconcile_range import no_evidence, rules_hash
from accounting.model import NodeDayResult
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep import Sweep
from accounting.reconcile.sweep.engines import Engine
from accounting.store.calendar import OPEN, period_at
from accounting.store.tables import nodes, periods


@dataclass(frozen=True, slots=True)
class Site:
    """A ledger's site: which machines its nodes are, when they are there, and who pays.

    ``borders`` are the moments at which it may change who pays (None: nobody knows, and ``projects`` is asked often).
    ``projects`` may only look at a job's scheduler, cluster, account and labels. ``settings`` is a text that changes
    whenever they may answer otherwise for other reasons than what the ledger says; without it every day is read.
    """

    resolver: Resolver
    projects: Projects
    present: Resolver | None = None
    borders: Borders | None = None
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Range:
    """What is to be reconciled: a site's node-days (``days``, in order) by some rules."""

    site: Site
    rules: Rules
    days: Sequence[tuple[int, int]]
    zone: tzinfo


class Worker:
    """Takes on the days of a range. What they share is read once."""

    def __init__(self, connection: Connection, range_: Range) -> None:
        self.range, site, days = range_, range_.site, range_.days
        first, last = days[0][0], days[-1][1]
        facts, rulings = load_facts(connection, first, last), in_force(connection)
        capacity = {key: stretches(node, first, last) for key, node in facts.nodes.items()}
        present = site.present or site.resolver
        reader = Reader(node_keys(connection))
        self.world = World(reader, facts, capacity, site.resolver, present, site.projects, site.borders, rulings)
        self.days = Days(reader, days)
        self.rules_hash = rules_hash(range_.rules.text())
        self._marks: Marks | None = None

    def knows(self, connection: Connection) -> bool:
        """Whether it knows every node of the ledger: an ingest may have added one since it began."""
        newest = connection.execute(select(func.coalesce(func.max(nodes.c.id), 0))).scalar_one()
        return int(newest) == max(self.world.reader.nodes, default=0)

    def site_day(self, connection: Connection, a: int, b: int) -> SiteDay:
        """All that is known of the node-days over ``[a, b)``."""
        return site_day(connection, self.world, self.days, a, b)

    def mark(self, connection: Connection, a: int, b: int) -> tuple[bytes, bool]:
        """By which the node-days over ``[a, b)`` are known again, and whether that is what they were booked with."""
        if not self.range.site.settings:
            return b"", False
        if self._marks is None:
            told = f"{self.range.rules.text()} {self.range.site.settings}"
            first, last = self.range.days[0][0], self.range.days[-1][1]
            self._marks = Marks(connection, self.world, told, first, last)
        mark = self._marks.of(a, b)
        return mark, mark == stored(connection, a, b)

    def booked(self, connection: Connection, a: int, b: int) -> dict[Place, Head]:
        """The node-days over ``[a, b)`` that are booked, but for those of which there was no evidence any more."""
        return self._there(heads(connection, a, b))

    @staticmethod
    def _there(had: Mapping[Place, Head]) -> dict[Place, Head]:
        return {place: head for place, head in had.items() if head.inputs_hash != no_evidence(*place)}

    def nothing(self, connection: Connection, a: int, b: int) -> Done:
        """The node-days over ``[a, b)`` of which nothing has changed."""
        had = heads(connection, a, b)
        seen = [machine for machine, _ in self._there(had)]
        return Done(a, b, self.rules_hash, seen, had, True, (), 0, 0, b"")

    def done(self, connection: Connection, a: int, b: int, mark: bytes, run: Engine) -> Done:
        """The node-days over ``[a, b)``, those reconciled that are not booked with these inputs and rules.

        ``mark`` is the day's, taken before.
        """
        had = heads(connection, a, b)
        day = self.site_day(connection, a, b)
        name = period_at(a, self.range.zone).name
        state = connection.execute(select(periods.c.state).where(periods.c.name == name)).scalar_one_or_none()
        is_open = state in (None, OPEN)
        which = [m for m in range(len(day.machines)) if self._is_news(day, m, had)]
        columns = DayColumns(day, which)
        sweep = Sweep(columns.columns, self.range.rules, (a, b), run=run)
        made = DayPostings(columns, sweep, [*sweep] if which else [])
        made.refuse_unbalanced()
        runs, image = self._runs(day, made, which, had, is_open, can_stage(connection))
        lost = sum(len(made.unplaced(n)) for n in range(len(which)))
        seen = [machine.name for machine in day.machines]
        return Done(a, b, self.rules_hash, seen, had, is_open, runs, len(which), lost, mark, image)

    def _runs(
        self,
        day: SiteDay,
        made: DayPostings,
        which: Sequence[int],
        had: Mapping[Place, Head],
        is_open: bool,
        staging: bool,
    ) -> tuple[list[Fresh | Sequence[Entry]], bytes]:
        """What is to be booked of some machines, and the image of new postings."""
        names = [day.machines[m].name for m in which]
        news = [is_open and (name, day.start) not in had for name in names]
        groups = [(new, [*some]) for new, some in groupby(range(len(which)), key=news.__getitem__)]
        image = staged(made, [(some[0], some[-1] + 1) for new, some in groups if new]) if staging else None
        runs: list[Fresh | Sequence[Entry]] = []
        posting = 1
        for new, some in groups:
            first, last = some[0], some[-1] + 1
            if new:
                columns = made.columns(first, last) if image is None else ()
                runs.append(Fresh([_new(day, made, which[n], n) for n in some], columns, posting, first))
                posting += int(made.first[last] - made.first[first])
            else:
                runs.append([self._entry(day, which[n], made.result(n)) for n in some])
        return runs, image or b""

    def _is_news(self, day: SiteDay, machine: int, had: Mapping[Place, Head]) -> bool:
        head = had.get((day.machines[machine].name, day.start))
        return head is None or (head.inputs_hash, head.rules_hash) != (day.hashes[machine], self.rules_hash)

    def _entry(self, day: SiteDay, machine: int, result: NodeDayResult) -> Entry:
        told = ruled(day.machines[machine].rulings)
        return Entry(result, day.end, day.hashes[machine], self.rules_hash, *told)


def _new(day: SiteDay, made: DayPostings, machine: int, number: int) -> New:
    """A new node-day: the machine's number in the day and in the sweep."""
    told = ruled(day.machines[machine].rulings)
    postings = int(made.first[number + 1] - made.first[number])
    return New(day.machines[machine].name, day.hashes[machine], *told, postings, made.unplaced(number))
