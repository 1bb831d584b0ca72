"""Whatever comes in whatever order: closed months stay as they are, and the books say what the newest evidence says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from accounting.evidence.rulings import dispute_id
from accounting.ledger.disputes import disputes, rule
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.model import NodeDayResult
from accounting.periods.check import check
from accounting.periods.closing import ClosedWith, period_states
from accounting.periods.sealing import chain, seal
from accounting.rates.rating import Rates
from accounting.reconcile.rule import Rules, parties, reconcile
from accounting.statements import Terms, summary_csv
from accounting.store.calendar import close, period_named
from accounting.store.database import read
from accounting.store.tables import jobs, postings, transactions
from exporters.model import JobKey, Scheduler
from tests.accounting.conftest import NewLedger
from tests.accounting.naive import node_days
from tests.accounting.october import HOUR, NOVEMBER, run_1, seen, told
from tests.accounting.plain_rating import rate, rate_corrections
from tests.accounting.plain_statement import chargeback_csv, compose
from tests.accounting.plain_usage import corrections, usage
from tests.accounting.readings import same_name
from tests.accounting.site import DAY, T0, pod, run, workload
from tests.accounting.test_reconciling import project

RULES = Rules()
END = T0 + 2 * DAY
MONTHS = ("2026-10", "2026-11", "2026-12")
DISPUTE = dispute_id("gn01", parties(run(1), workload("a")))

late = st.tuples(st.just("late"), st.integers(3, 8), st.integers(1, 30))
ruling = st.tuples(st.just("rule"), st.sampled_from([str(run(1)), str(workload("a")), None]), st.integers(0, 2))
month_end = st.tuples(st.sampled_from(["close", "seal"]), st.integers(0, 1), st.just(0))
again = st.tuples(st.just("again"), st.just(0), st.just(0))
step = st.one_of(late, late, ruling, ruling, month_end, again)
closing = st.just(("close", 0, 0))
histories = st.builds(lambda a, b, c: [*a, b, *c], st.lists(step, max_size=2), closing, st.lists(step, max_size=6))


class Books:
    """The ledger under test, and what it said of each month when that was closed."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.now, self.price = engine, NOVEMBER + 70 * DAY, Decimal("2.10")
        self.said: dict[str, list[str]] = {}
        self.seals: dict[str, str] = {}

    def reconcile(self) -> None:
        reconcile_range(self.engine, T0, END, Site(same_name, project), RULES, now=self.now)

    def statement(self, name: str) -> list[str]:
        period = period_named(name)
        kept = {s.name: s.closed_with.rates for s in period_states(self.engine) if s.closed_with}
        rates = kept.get(name, Rates({"h100": self.price}))
        lines = rate(usage(self.engine, period.start, period.end), rates, name)
        lines += rate_corrections(corrections(self.engine, name), kept, rates, name)
        stated = compose(lines, rates, name)
        assert stated.capacity == sum(x.usage.charged for x in stated.lines if x.usage.disposition)
        assert stated.amount == sum((x.amount for x in stated.lines), Decimal())
        return ["".join(chargeback_csv(stated)), "".join(summary_csv(stated))]

    def step(self, what: str, one: object, two: object) -> None:
        self.now += HOUR
        if what == "late":
            assert isinstance(one, int)
            assert isinstance(two, int)
            told(self.engine, run_1(one, f"{self.now}", end=T0 + (2 + two) * HOUR), now=self.now)
        elif what == "rule":
            self.decide(one)
        elif what == "close":
            self.close(MONTHS[one == 1])
        elif what == "seal":
            self.seal()
        self.price += Decimal("0.37")
        self.reconcile()

    def decide(self, to: object) -> None:
        known = {d.name: d for d in disputes(self.engine, project)}
        if DISPUTE in known and not (
            to is None and (known[DISPUTE].ruling is None or known[DISPUTE].ruling.to is None)
        ):
            assert to is None or isinstance(to, str)
            rule(self.engine, DISPUTE, to, author="ada", why="so", now=self.now, projects=project)

    def close(self, name: str) -> None:
        if name in self.said or (name == MONTHS[1] and MONTHS[0] not in self.said):
            return
        before = self.statement(name)  # with the very prices that it is closed with
        rates = Rates({"h100": self.price})
        told_with = ClosedWith(rates, Terms(), 0, 0, Decimal()).text()
        close(self.engine, name, now=self.now, closed_with=lambda _: told_with)
        self.said[name] = before

    def seal(self) -> None:
        for name in self.said:
            seal(self.engine, name, now=self.now, zone=UTC)
        self.seals = dict(chain(self.engine))


def expected(result: NodeDayResult) -> Counter[tuple[object, ...]]:
    found: Counter[tuple[object, ...]] = Counter()
    for p in result.postings:
        found[p.account, p.job, p.linked, p.reason] += p.quantity
    return Counter({k: v for k, v in found.items() if v})


def booked(engine: Engine, start: int) -> Counter[tuple[object, ...]]:
    """Everything that was ever booked of a node-day, added up."""
    own, other, p, t = jobs.alias("own"), jobs.alias("other"), postings.c, transactions.c
    who = [c for a in (own, other) for c in (a.c.scheduler, a.c.cluster, a.c.run)]
    query = (
        select(p.account, p.reason, func.sum(p.quantity), *who)
        .join(transactions, t.id == p.transaction_id)
        .outerjoin(own, own.c.id == p.job_id)
        .outerjoin(other, other.c.id == p.linked_id)
        .where(t.start_at == start)
        .group_by(p.account, p.reason, *who)
        .having(func.sum(p.quantity) != 0)
    )
    found: Counter[tuple[object, ...]] = Counter()
    with read(engine) as connection:
        for account, reason, quantity, *names in connection.execute(query):
            a, b = (JobKey(Scheduler(x[0]), x[1], x[2]) if x[0] else None for x in (names[:3], names[3:]))
            found[account, a, b, reason] += int(quantity)
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories)
def test_closed_months_never_change_and_the_books_follow_the_evidence(
    new_ledger: NewLedger, history: list[tuple[str, object, object]]
) -> None:
    books = Books(new_ledger())
    seen(books.engine, until=books.now, pods=[pod("a", 1, T0 + 2 * HOUR, T0 + 30 * HOUR, 4)])
    told(books.engine, run_1(), now=books.now)
    books.reconcile()
    for step in history:
        books.step(*step)

        assert books.said == {name: books.statement(name) for name in books.said}
        assert books.seals.items() <= dict(chain(books.engine)).items()
    for day in node_days(books.engine, T0, END, same_name, projects=project):
        assert expected(reconcile(day, RULES)) == booked(books.engine, day.start)
    assert [] == check(books.engine)
