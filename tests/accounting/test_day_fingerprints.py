"""Days of which nothing has changed are not read again; whatever has changed, the days that it is about are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from accounting.evidence.rulings import add_ruling
from accounting.evidence.site_day import SiteDay
from accounting.intake.identities import HISTORY, node_ids, put_jobs
from accounting.intake.live.holdings import close, recall, take
from accounting.intake.live.sightings import Seen, _take_splits
from accounting.intake.records import keep
from accounting.intake.versions import version_of_claim, version_of_record
from accounting.ledger.booking import Head, heads
from accounting.ledger.day_worker import Worker
from accounting.ledger.reconcile_range import ReconcileReport, Site, reconcile_range
from accounting.model import DAY, CapacityStretch, CoverageStretch, NodeDay
from accounting.periods.check import check
from accounting.store.database import insert_many, write
from accounting.store.staging import writing
from accounting.store.tables import capacity, coverage, node_events
from exporters.model import Claim, Job, NodeKey, Record, Scheduler
from exporters.recorder import Holding
from tests.accounting.conftest import NewLedger
from tests.accounting.told import FIRST, RULES, Told, agree, borders, project, tell, together
from tests.exporters.records import made_by, pod, run

DAYS = 6
END = FIRST + DAYS * DAY
NODE = NodeKey(Scheduler.SLURM, "hpc1", "n1-slurm")


def worked(number: int, day: int, start: int = 40_000, seconds: int = 600) -> Claim:
    """A run of so many seconds on a day."""
    return run(number, 1000, FIRST + day * DAY + start, FIRST + day * DAY + start + seconds, node="n1-slurm")


def at_noon(day: int) -> int:
    return FIRST + day * DAY + DAY // 2


def record(claim: Claim, account: str = "") -> Record:
    job = Job(claim.job, claim.native_id, "", "", "", account, "", start=claim.start, end=claim.end)
    return Record("sacct", repr((claim, account)), job, (claim,), pending=claim.end is None)


def late_record(connection: Connection) -> None:
    keep(connection, [version_of_record(record(worked(20, 2)), "hpc1")], END)


def near_midnight(connection: Connection) -> None:
    keep(connection, [version_of_record(record(worked(20, 0, DAY - 3000)), "hpc1")], END)


def told_otherwise(connection: Connection) -> None:
    keep(connection, [version_of_record(record(replace(worked(4, 1), job=worked(2, 2).job)), "hpc1")], END)


def pod_told_otherwise(connection: Connection) -> None:
    keep(connection, [version_of_claim(worked_pod(2), "pods", "prod")], END + 1)


def worked_pod(day: int) -> Claim:
    return pod("moved", 1000, at_noon(day) + 5000, at_noon(day) + 6000, node="n1")


def another_account(connection: Connection) -> None:
    put_jobs(connection, [record(worked(2, 2), "vision").job], HISTORY, END)


def exact_split(connection: Connection) -> None:
    claim = replace(worked(2, 2), indices=(0,))
    _take_splits(connection, {claim.job: [claim]}, Seen(), END)


def live_cards(connection: Connection) -> None:
    held = take(connection, "live", [Holding("n1", 0, "GPU-1", worked(3, 3).job, "3@0", 1000)], {}, at_noon(3))
    close(connection, [row[0] for row in held.values()], at_noon(3) + 60)


def cards_taken(connection: Connection) -> None:
    take(connection, "live", [Holding("n1", 0, "GPU-1", worked(3, 3).job, "3@0", 1000)], {}, at_noon(4))


def account_of_what_is_tied(connection: Connection) -> None:
    inner = pod("inner", 1000, node="n1")
    put_jobs(connection, [Job(inner.job, inner.native_id, "", "", "", "vision", "")], HISTORY, END)


def cards_given_back(connection: Connection) -> None:
    close(connection, [row[0] for row in recall(connection, "before").values()], at_noon(4) + 60)


def drained(connection: Connection) -> None:
    node, at = node_ids(connection, {NODE})[NODE], at_noon(2)
    row = (1, node, "sacct", at, at + 60, False, None, "fan", END, True, "")
    insert_many(connection, node_events, [c.name for c in node_events.columns], [row])


def gone_since(connection: Connection) -> None:
    connection.execute(capacity.update().values(end_at=at_noon(4)))


def hole_in_what_is_read(connection: Connection) -> None:
    connection.execute(coverage.update().where(coverage.c.kind == "history").values(end_at=at_noon(4)))


def ruling(connection: Connection) -> None:
    who = sorted({worked(1, 1).job, worked(2, 2).job})
    add_ruling(connection, "n1", who, who[0], author="ann", why="asked both", at=END)


def tied_to_a_long_one(connection: Connection) -> None:
    inner = pod("tied", 1000, at_noon(4) + 3000, at_noon(4) + 4000, made_by(30), node="n1")
    keep(connection, [version_of_claim(inner, "pods", "prod")], END)


NEWS: list[tuple[Callable[[Connection], None], list[int]]] = [
    (late_record, [2]),
    (near_midnight, [0, 1]),
    (told_otherwise, [1, 2]),
    (another_account, [2]),
    (exact_split, [2]),
    (pod_told_otherwise, [0, 1, 2]),  # between two claims, a node that nobody saw was there, too
    (live_cards, [3, 4, 5]),
    (cards_taken, [4, 5]),
    (cards_given_back, [3, 4]),
    (drained, [2]),
    (gone_since, [4, 5]),
    (hole_in_what_is_read, [4, 5]),
    (ruling, [0, 1, 2, 3, 4, 5]),
    (tied_to_a_long_one, [3, 4, 5]),
    (account_of_what_is_tied, [3, 4, 5]),
]


@pytest.mark.parametrize(("news", "days"), NEWS, ids=[news.__name__ for news, _ in NEWS])
def test_what_is_new_makes_the_days_it_is_about_be_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, news: Callable[[Connection], None], days: list[int]
) -> None:
    begin(engine)
    first = together(engine, END, END, settings="these")
    read: list[int] = []
    noting(read, monkeypatch)
    unchanged = together(engine, END, END, settings="these")
    before = [*read]
    with write(engine) as connection:
        news(connection)
    together(engine, END, END, settings="these")

    assert (DAYS, DAYS, []) == (first.posted, unchanged.unchanged, before)
    assert [FIRST + day * DAY for day in days] == read
    agree(engine, END)


def test_other_rules_and_other_settings_make_every_day_be_read(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(engine)
    together(engine, END, END, settings="these")
    read: list[int] = []
    noting(read, monkeypatch)
    together(engine, END, END, settings="others")
    others = len(read)
    together(engine, END, END, settings="others", rules=replace(RULES, grace=RULES.grace + 1))

    assert (DAYS, 2 * DAYS) == (others, len(read))


def begin(engine: Engine) -> None:
    """A run a day, and one that goes over two midnights, to which a pod is tied."""
    sizes = (CapacityStretch(0, DAYS * DAY, Scheduler.SLURM, "hpc1", "n1-slurm", "h100", 8000, up=True),)
    covered = (CoverageStretch(0, DAYS * DAY, Scheduler.SLURM, "hpc1"),)
    told = Told(NodeDay("n1", 0, DAYS * DAY, (), sizes, covered), 1, 1, split=False, ruled=False, zero=FIRST)
    tell(engine, [told], END)
    with write(engine) as connection:
        long = run(30, 4000, at_noon(3) + 3000, at_noon(5) - 3000, node="n1-slurm")
        runs = [record(claim) for claim in (*(worked(n, n) for n in range(DAYS)), long)]
        keep(connection, [version_of_record(r, "hpc1") for r in runs], END)
        inner = pod("inner", 1000, at_noon(5) - 9000, at_noon(5) - 4000, made_by(30), node="n1")
        keep(connection, [version_of_claim(c, "pods", "prod") for c in (inner, worked_pod(0))], END)
        take(connection, "before", [Holding("n1", 1, "GPU-2", long.job, long.unit, 1000)], {}, at_noon(3) + 3000)


def noting(days: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note which days are read."""
    whole = Worker.site_day

    def counting(worker: Worker, connection: Any, a: int, b: int) -> SiteDay:
        days.append(a)
        return whole(worker, connection, a, b)

    monkeypatch.setattr(Worker, "site_day", counting)


def test_a_day_whose_claims_are_tied_to_what_has_changed_is_read_again(new_ledger: NewLedger) -> None:
    engine = new_ledger()
    end = FIRST + 3 * DAY
    named = pod("late", 1000, DAY + 600, DAY + 3000, made_by(7))
    sizes = (CapacityStretch(0, 3 * DAY, Scheduler.SLURM, "hpc1", "n1-slurm", "h100", 1000, up=True),)
    told = Told(NodeDay("n1", 0, 3 * DAY, (named,), sizes, ()), 1, 1, split=False, ruled=False, zero=FIRST)
    tell(engine, [told], end)
    together(engine, end, end, settings="these")
    yesterday = NodeDay("n1", 0, 3 * DAY, (run(7, 1000, DAY - 7000, DAY - 60, node="n1-slurm"),), (), ())
    tell(engine, [replace(told, day=yesterday)], end)
    together(engine, end, end, settings="these")

    agree(engine, end)


def knowing_less(engine: Engine) -> ReconcileReport:
    """The reconcile of a process whose site is from before the node was there; it has the same settings."""
    site = Site(lambda *_: [], project, borders=borders, settings="these")
    return reconcile_range(engine, FIRST, END, site, RULES, now=END)


def test_a_day_that_a_slower_process_took_back_is_booked_again(engine: Engine) -> None:
    begin(engine)
    together(engine, END, END, settings="these")
    slower = knowing_less(engine)
    again = together(engine, END, END, settings="these")

    assert (DAYS, DAYS) == (slower.withdrawn, again.reposted)
    assert [] == check(engine)


def test_a_day_that_another_process_marks_while_it_is_taken_back_is_booked_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(engine)
    together(engine, END, END, settings="these")

    def after_another(*arguments: Any) -> Any:
        monkeypatch.undo()
        together(engine, END, END, settings="these")
        return writing(*arguments)

    monkeypatch.setattr("accounting.ledger.reconcile_range.writing", after_another)
    knowing_less(engine)
    again = together(engine, END, END, settings="these")

    assert DAYS == again.reposted


def test_a_day_of_which_some_machines_are_booked_is_read_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(engine)
    together(engine, END, END, settings="these")
    other = together(engine, END, END, settings="these", rules=replace(RULES, grace=RULES.grace + 1), machines=["n1"])
    read: list[int] = []
    noting(read, monkeypatch)
    together(engine, END, END, settings="these")

    assert (DAYS, 0) == (other.node_days, other.withdrawn)
    assert [FIRST + day * DAY for day in range(DAYS)] == read
    assert [RULES.hash()] * DAYS == [head.rules_hash for head in heads_of_all(engine)]
    agree(engine, END)


def test_what_is_booked_without_a_mark_makes_the_day_be_read_by_those_who_had_marked_it(engine: Engine) -> None:
    begin(engine)
    marked = knowing_less(engine)
    together(engine, END, END)  # without settings there are no marks
    again = knowing_less(engine)

    assert (0, DAYS) == (marked.node_days, again.withdrawn)


def heads_of_all(engine: Engine) -> list[Head]:
    with engine.connect() as connection:
        return [*heads(connection, FIRST, END).values()]
