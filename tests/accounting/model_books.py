"""A ledger that is told what a model site's sources say, and what its books say of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from random import Random
from typing import Any
from unittest import mock

from sqlalchemy import Engine, func, select

from accounting.evidence.node_facts import lenders, nodes_seen
from accounting.intake import history
from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.periods.closing import period_states
from accounting.rates.rating import Rates
from accounting.reconcile.rule import Rules
from accounting.statements import summary_csv
from accounting.store.calendar import period_named
from accounting.store.database import read
from accounting.store.tables import jobs, postings, transactions
from exporters.join.machines import machines_of
from exporters.model import JobKey, NodeEvent, Record, Reject, Scheduler
from exporters.recorder import Holding, Round, SourceReading
from tests.accounting import views
from tests.accounting.model_belief import GAP, GRACE, Sums
from tests.accounting.model_site import HOUR, START
from tests.accounting.plain_rating import rate, rate_corrections
from tests.accounting.plain_statement import chargeback_csv, compose
from tests.accounting.plain_usage import corrections, usage
from tests.accounting.readings import proved
from tests.accounting.site import History
from tests.accounting.test_reconciling import project

RULES = Rules(grace=GRACE)
MONTHS = ("2026-10", "2026-11")


@dataclass(frozen=True)
class Told:
    """One thing that a ledger was told."""

    now: int
    readings: Sequence[SourceReading] = ()
    records: Sequence[Record | Reject] | None = None
    events: Sequence[NodeEvent] = ()
    holdings: Sequence[Holding] = ()


class Books:
    """A ledger being told things, and what it makes of them."""

    def __init__(self, engine: Engine, zone: tzinfo) -> None:
        self.engine, self.zone = engine, zone
        self.recorder = LedgerRecorder(engine, gap=GAP, zone=zone)

    def tell(self, told: Told, batch: int = history.BATCH) -> None:
        if told.readings:
            self.recorder.record(Round(told.now, told.readings, told.holdings, []))
        if told.records is not None:
            with mock.patch.object(history, "BATCH", batch):
                source = History(told.records, told.events)
                ingest_history(
                    self.engine, source, now=told.now, start=START, overlap=90 * 24 * HOUR, step=90 * 24 * HOUR
                )

    def reconcile(self, now: int) -> None:
        places = machines_of(nodes_seen(self.engine), lenders(self.engine))
        site = Site(places.resolve, project, places.stays)
        reconcile_range(self.engine, START, now, site, RULES, now=now, zone=self.zone)
        more: dict[str, Any] = {"projects": project, "present": places.stays}
        found = proved(self.engine, places.resolve, rules=RULES, zone=self.zone, **more)

        assert [] == found, found

    def booked(self) -> dict[tuple[str, int], Sums]:
        """Everything that was ever booked, added up per machine and node-day."""
        p, t, j = postings.c, transactions.c, jobs.c
        group = (t.machine, t.start_at, p.account, p.model, p.project, j.scheduler, j.cluster, j.run)
        query = (
            select(*group, func.sum(p.quantity), func.sum(p.held))
            .join(transactions, t.id == p.transaction_id)
            .outerjoin(jobs, j.id == p.job_id)
            .group_by(*group)
        )
        found: dict[tuple[str, int], Sums] = {}
        with read(self.engine) as connection:
            for machine, start, account, model, whose, *name, quantity, held in connection.execute(query):
                sums = found.setdefault((machine, start), Counter())
                job = JobKey(Scheduler(name[0]), name[1], name[2]) if name[0] else None
                sums[account, model, whose, job] += int(quantity)
                sums["held", job] += int(held)
        nonzero = {place: Counter({k: v for k, v in sums.items() if v}) for place, sums in found.items()}
        return {place: sums for place, sums in nonzero.items() if sums}

    def statement(self, name: str, price: int) -> str:
        period = period_named(name, self.zone)
        kept = {s.name: s.closed_with.rates for s in period_states(self.engine) if s.closed_with}
        rates = kept.get(name, Rates({}, default=money(price)))
        lines = rate(usage(self.engine, period.start, period.end), rates, name)
        lines += rate_corrections(corrections(self.engine, name), kept, rates, name)
        stated = compose(lines, rates, name)
        return "".join(chargeback_csv(stated)) + "".join(summary_csv(stated))

    def dump(self) -> dict[str, object]:
        """All evidence, all postings by content, both statements."""
        own, other, p, t = jobs.alias("own"), jobs.alias("other"), postings.c, transactions.c
        who = [c for a in (own, other) for c in (a.c.scheduler, a.c.cluster, a.c.run)]
        what = [p[n] for n in ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link")]
        query = (
            select(t.kind, t.machine, t.start_at, t.end_at, t.period, *what, p.reason, *who)
            .join(transactions, t.id == p.transaction_id)
            .outerjoin(own, own.c.id == p.job_id)
            .outerjoin(other, other.c.id == p.linked_id)
        )
        said = {name: self.statement(name, 2) for name in MONTHS}
        return {**views.everything(self.engine), "postings": views.rows(self.engine, query), **said}


def money(price: int) -> Decimal:
    return Decimal(price) + Decimal("0.37")


def mixed(log: Sequence[Told], random: Random) -> list[tuple[Told, int]]:
    """The same, but history comes whenever it likes, its rows in any order and number at once; a recorder's rounds stay
    in the order of time.
    """
    rounds = [t for t in log if t.records is None]
    histories = [t for t in log if t.records is not None]
    random.shuffle(histories)
    order = [True] * len(rounds) + [False] * len(histories)
    random.shuffle(order)
    found = []
    for is_round in order:
        told = rounds.pop(0) if is_round else histories.pop(0)
        if told.records is not None:
            rows = list(told.records)
            random.shuffle(rows)
            told = Told(told.now, (), tuple(rows), told.events)
        found.append((told, random.randint(1, 3)))
    return found
