from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from sqlalchemy import BigInteger, Engine, cast, func, select

from accounting.intake.rejects import rejects
from accounting.ledger.booking import Done, Draft, OutdatedError, Posted, book_day, heads
from accounting.model import NodeDayResult, Posting
from accounting.statements import usage as production
from accounting.store.calendar import close, period_named, periods_booked, state
from accounting.store.columns import columns
from accounting.store.database import LedgerError, read, write
from accounting.store.tables import postings, transactions
from exporters.model import Disposition, LinkKind
from tests.accounting import views
from tests.accounting.plain_usage import corrections, usage
from tests.accounting.posting import Entry, as_columns, balances, post, post_many
from tests.accounting.site import DAY, T0, held, run, workload

NOVEMBER = period_named("2026-11").start


def booked(*parts: Posting, machine: str = "gn01", start: int = T0, cards: int = 2, **more: Any) -> Entry:
    """A day of ``cards`` cards: ``parts``, the rest idle."""
    whole = cards * 1000 * DAY
    rest = whole - sum(p.quantity for p in parts)
    idle = Posting("idle", "h100", rest, start=start, end=start + DAY)
    capacity = Posting("capacity", "h100", -whole, start=start, end=start + DAY)
    result = NodeDayResult(machine, start, (*parts, idle, capacity), more.get("unplaced", ()))
    return Entry(result, start + DAY, more.get("inputs", repr(parts).encode()), more.get("rules", b"rules 1"))


def charged(
    number: int, cards: int = 1, project: str = "vision", start: int = T0, account: str = "charged", **more: Any
) -> Posting:
    quantity = cards * 1000 * DAY
    return Posting(
        account, "h100", quantity, project, run(number), run(number).id, start, start + DAY, quantity, **more
    )


def journal(engine: Engine) -> list[tuple[str, str, int | None, int]]:
    """(kind, period, amends, sum of the positive postings) of every transaction, oldest first."""
    with read(engine) as connection:
        sums: dict[int, int] = {}
        for number, quantity in connection.execute(select(postings.c.transaction_id, postings.c.quantity)):
            sums[number] = sums.get(number, 0) + max(quantity, 0)
        t = transactions.c
        rows = connection.execute(select(t.id, t.kind, t.period, t.amends).order_by(t.id)).all()
    return [(kind, period, amends, sums.get(number, 0)) for number, kind, period, amends in rows]


def test_a_node_day_is_booked_once_and_the_same_again_is_a_no_op(engine: Engine) -> None:
    first = post(engine, booked(charged(1)), now=T0 + DAY)
    again = post(engine, booked(charged(1)), now=T0 + 2 * DAY)

    assert (Posted.POSTED, Posted.UNCHANGED) == (first, again)
    assert [("post", "2026-10", None, 2000 * DAY)] == journal(engine)
    assert {
        ("charged", "h100"): 1000 * DAY,
        ("idle", "h100"): 1000 * DAY,
        ("capacity", "h100"): -2000 * DAY,
    } == balances(engine, T0, T0 + DAY)


def test_changed_inputs_in_an_open_period_are_a_reversal_and_a_new_transaction(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)
    changed = post(engine, booked(charged(1), charged(2)), now=T0 + DAY)

    assert Posted.REPOSTED == changed
    assert [
        ("post", "2026-10", None, 2000 * DAY),
        ("reversal", "2026-10", 1, 2000 * DAY),
        ("post", "2026-10", None, 2000 * DAY),
    ] == journal(engine)
    assert 2000 * DAY == balances(engine, T0, T0 + DAY)["charged", "h100"]
    assert [("capacity", -2000 * DAY), ("charged", 2000 * DAY), ("idle", 0)] == views.rows(
        engine, select(postings.c.account, cast(func.sum(postings.c.quantity), BigInteger)).group_by(postings.c.account)
    )


def test_changed_inputs_that_change_no_posting_only_move_the_key(engine: Engine) -> None:
    post(engine, booked(charged(1), inputs=b"one"), now=T0 + DAY)
    answer = post(engine, booked(charged(1), inputs=b"two"), now=T0 + DAY)
    with read(engine) as connection:
        [head] = heads(connection, T0, T0 + DAY).values()

    assert Posted.UNCHANGED == answer
    assert 1 == len(journal(engine))
    assert b"two" == head.inputs_hash


def test_a_node_day_that_ends_later_is_booked_anew_though_its_postings_are_the_same(engine: Engine) -> None:
    """What was reconciled to noon says nothing of the afternoon, even if nothing was there to be posted of it."""
    whole = booked(charged(1))
    post(engine, replace(whole, end=T0 + DAY // 2, inputs_hash=b"noon"), now=T0 + DAY)

    answer = post(engine, replace(whole, inputs_hash=b"midnight"), now=T0 + DAY)
    t = transactions.c
    with read(engine) as connection:
        [head] = heads(connection, T0, T0 + DAY).values()

    assert Posted.REPOSTED == answer
    assert T0 + DAY == head.end
    assert [(1, "post", T0 + DAY // 2), (2, "reversal", T0 + DAY // 2), (3, "post", T0 + DAY)] == views.rows(
        engine, select(t.id, t.kind, t.end_at)
    )


def test_heads_are_those_of_node_days_that_begin_within_the_time(engine: Engine) -> None:
    for start in (T0, T0 + DAY, T0 + 2 * DAY):
        post(engine, booked(charged(1, start=start), start=start), now=T0 + 3 * DAY)

    with read(engine) as connection:
        assert [("gn01", T0), ("gn01", T0 + DAY)] == sorted(heads(connection, T0, T0 + 2 * DAY))
        assert [("gn01", T0 + DAY)] == [*heads(connection, T0 + 1, T0 + 2 * DAY)]


def test_what_was_reconciled_before_somebody_else_booked_that_day_is_refused(engine: Engine) -> None:
    entry = booked(charged(1))
    post(engine, entry, now=T0 + DAY)

    def book(*, had: bool, is_open: bool) -> None:
        with write(engine) as connection:
            known = heads(connection, T0, T0 + DAY) if had else {}
            draft = Draft("gn01", entry.end, b"other")
            made = as_columns(connection, [booked(charged(2)).result.postings])
            done = Done(T0, T0 + DAY, entry.rules_hash, (), known, is_open, [draft], made)
            book_day(connection, done, now=T0 + DAY, zone=UTC)

    for had, is_open in ((False, True), (True, False), (False, False)):
        with pytest.raises(OutdatedError):
            book(had=had, is_open=is_open)
    assert 1 == len(journal(engine))
    book(had=True, is_open=True)
    assert 3 == len(journal(engine))


def test_changed_rules_book_anew(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)

    assert Posted.REPOSTED == post(engine, booked(charged(2), inputs=b"x", rules=b"rules 2"), now=T0 + DAY)


def test_nothing_is_ever_updated_or_deleted(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)
    every = select(postings), select(transactions)
    before = [views.rows(engine, q) for q in every]
    post(engine, booked(charged(2)), now=T0 + DAY)
    close(engine, "2026-10", now=NOVEMBER)
    post(engine, booked(charged(3)), now=NOVEMBER)
    after = [views.rows(engine, q) for q in every]

    assert all(set(b) < set(a) for b, a in zip(before, after, strict=True))


def test_in_a_closed_period_the_difference_is_booked_once_in_the_open_one(engine: Engine) -> None:
    post(engine, booked(charged(1, 2)), now=T0 + DAY)
    close(engine, "2026-10", now=NOVEMBER)
    before = usage(engine, T0, T0 + DAY)
    late = booked(charged(1), charged(2))
    answers = [post(engine, late, now=NOVEMBER + 5), post(engine, late, now=NOVEMBER + 6)]
    found = corrections(engine, "2026-11")

    assert [Posted.CORRECTED, Posted.UNCHANGED] == answers
    assert [("post", "2026-10", None, 2000 * DAY), ("correction", "2026-11", 1, 1000 * DAY)] == [
        j if j[0] != "correction" else (*j[:3], j[3]) for j in journal(engine)
    ]
    assert before == usage(engine, T0, T0 + DAY)
    assert [("2026-10", run(1), -1000 * DAY), ("2026-10", run(2), 1000 * DAY)] == [
        (p, u.job, u.charged) for p, u, _ in found
    ]


def test_a_correction_of_a_correction_books_only_what_is_new(engine: Engine) -> None:
    post(engine, booked(charged(1, 2)), now=T0 + DAY)
    close(engine, "2026-10", now=NOVEMBER)
    post(engine, booked(charged(1)), now=NOVEMBER + 5)
    back = post(engine, booked(charged(1, 2)), now=NOVEMBER + 6)

    assert Posted.CORRECTED == back
    assert [] == corrections(engine, "2026-11")
    assert ["post", "correction", "correction"] == [j[0] for j in journal(engine)]


def test_a_node_day_learnt_after_the_close_is_booked_as_a_correction(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)
    close(engine, "2026-10", now=NOVEMBER)
    answer = post(engine, booked(charged(2), machine="gn02"), now=NOVEMBER + 5)

    assert Posted.CORRECTED == answer
    assert ("correction", "2026-11", None, 2000 * DAY) == journal(engine)[-1]
    assert {run(2): 1000 * DAY, None: 1000 * DAY} == {u.job: u.charged for _, u, _ in corrections(engine, "2026-11")}


def test_corrections_go_to_the_first_period_that_is_still_open(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)
    december = period_named("2026-12").start
    close(engine, "2026-10", now=december)
    close(engine, "2026-11", now=december)
    post(engine, booked(charged(2)), now=december + 5)

    assert "2026-12" == journal(engine)[-1][1]
    assert ["2026-10", "2026-12"] == [p.name for p in periods_booked(engine)]


def test_what_begins_with_a_month_is_a_correction_of_that_month_and_of_no_other(engine: Engine) -> None:
    """And what stands for some days is that of the node-days that begin in them, in however many pieces it is read."""
    december = period_named("2026-12").start
    last = NOVEMBER - DAY
    for start in (last, NOVEMBER):
        post(engine, booked(charged(1, start=start), start=start), now=december)
    for name in ("2026-10", "2026-11"):
        close(engine, name, now=december)
    for start in (last, NOVEMBER):
        post(engine, booked(charged(2, start=start), start=start), now=december + 5)

    with read(engine) as connection, columns(connection) as ledger:
        later = production.corrections(ledger, "2026-12")
        both, one = (
            production.standing(ledger, last, NOVEMBER + DAY),
            production.standing(ledger, NOVEMBER, NOVEMBER + DAY),
        )

    told = later.filter(pl.col("job") > 0).group_by(pl.col("corrects").cast(pl.String)).agg(pl.col("charged").sort())
    assert {month: [-1000 * DAY, 1000 * DAY] for month in ("2026-10", "2026-11")} == dict(told.iter_rows())
    assert [2000 * DAY, 1000 * DAY] == [some.filter(pl.col("job") > 0)["charged"].sum() for some in (both, one)]


def test_periods_close_in_order_and_only_when_they_are_over(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)

    with pytest.raises(LedgerError, match="is not over"):
        close(engine, "2026-10", now=NOVEMBER - 1)
    with pytest.raises(LedgerError, match="close 2026-10 before 2026-11"):
        close(engine, "2026-11", now=NOVEMBER + 40 * DAY)
    with pytest.raises(LedgerError, match="is not a billing month"):
        close(engine, "2026-13", now=NOVEMBER)

    assert "open" == state(engine, "2026-10")
    assert period_named("2026-10") == close(engine, "2026-10", now=NOVEMBER)
    assert "closed" == state(engine, "2026-10")


def test_a_transaction_that_does_not_balance_is_refused_and_nothing_of_its_batch_is_booked(engine: Engine) -> None:
    good = booked(charged(1), machine="gn02")
    bad = Entry(NodeDayResult("gn01", T0, (charged(1),)), T0 + DAY, b"i", b"r")
    negative = Entry(
        NodeDayResult("gn01", T0, (charged(1), Posting("idle", "h100", -1000 * DAY))), T0 + DAY, b"i", b"r"
    )

    with pytest.raises(LedgerError, match="does not balance"):
        post_many(engine, [good, bad], now=T0 + DAY)
    with pytest.raises(LedgerError, match="is negative"):
        post(engine, negative, now=T0 + DAY)

    assert [] == journal(engine)


def test_a_ledger_keeps_its_time_zone(engine: Engine) -> None:
    post(engine, booked(charged(1)), now=T0 + DAY)

    with pytest.raises(LedgerError, match="kept in time zone UTC"):
        post(engine, booked(charged(1), start=T0 + DAY), now=T0 + 2 * DAY, zone=ZoneInfo("Europe/Berlin"))


def test_unplaced_claims_are_set_aside_until_they_find_a_place(engine: Engine) -> None:
    lost = (held(9, 1, T0, T0 + 60), "gn01 has no known capacity at that time")
    post(engine, booked(charged(1), unplaced=[lost], inputs=b"one"), now=T0 + DAY)
    standing = rejects(engine)
    post(engine, booked(charged(1), inputs=b"two"), now=T0 + 2 * DAY)
    mended = rejects(engine, resolved=True)
    post(engine, booked(charged(1), unplaced=[lost], inputs=b"three"), now=T0 + 3 * DAY)

    assert [("unplaced", None)] == [(r.kind, r.resolved_at) for r in standing]
    assert "no known capacity" in standing[0].reason
    assert [T0 + 2 * DAY] == [r.resolved_at for r in mended]
    assert 1 == len(rejects(engine))


def test_two_writers_book_the_same_node_days_once(engine: Engine) -> None:
    days = [booked(charged(1), machine=f"gn{n:02}") for n in range(20)]
    answers: list[Sequence[Posted]] = []

    def writer(order: int) -> None:
        answers.append(post_many(engine, days[::order], now=T0 + DAY))

    threads = [threading.Thread(target=writer, args=(o,)) for o in (1, -1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    assert [Posted.POSTED] * 20 + [Posted.UNCHANGED] * 20 == sorted(
        (a for answer in answers for a in answer), key=lambda a: a.value
    )
    assert 20 == len(journal(engine))


def test_usage_is_one_line_per_project_job_model_disposition_and_link(engine: Engine) -> None:
    lent = {"link": LinkKind.SAME, "linked": workload("pods")}
    shown = Posting("", "h100", 0, "vision", workload("pods"), "pod-a", T0 + 5, T0 + 9, 4000, LinkKind.SAME, run(1))
    post_many(
        engine,
        [
            booked(charged(1), charged(2, reason="late"), shown, cards=4),
            booked(charged(1, **lent), machine="gn02"),  # type: ignore[arg-type]
            booked(charged(1), machine="gn03"),
            booked(charged(1, start=T0 + DAY), start=T0 + DAY),
        ],
        now=T0 + 2 * DAY,
    )
    found = {(u.job, u.disposition, u.linked): u for u in usage(engine, T0, T0 + 2 * DAY)}
    plain = found[run(1), Disposition.CHARGED, None]

    assert 5 == len(found)
    assert (3000 * DAY, 3000 * DAY, T0, T0 + 2 * DAY) == (plain.charged, plain.held, plain.start, plain.end)
    assert 1000 * DAY == found[run(1), Disposition.CHARGED, workload("pods")].charged
    assert "late" == found[run(2), Disposition.CHARGED, None].reason
    assert (0, 4000, T0 + 5, T0 + 9) == (
        (s := found[workload("pods"), None, run(1)]).charged, s.held, s.start, s.end
    )  # fmt: skip
    assert 10_000 * DAY == sum(u.charged for u in found.values())
    assert 2000 * DAY == sum(u.charged for u in usage(engine, T0 + DAY, T0 + 2 * DAY))


def test_many_reasons_are_told_in_short(engine: Engine) -> None:
    parts = [charged(1, reason=f"reason {n}") for n in range(6)]
    post(engine, booked(*parts, cards=8), now=T0 + DAY)
    [line] = [u for u in usage(engine, T0, T0 + DAY) if u.job]

    assert "reason 0; reason 1; reason 2; reason 3; and 2 more reasons" == line.reason
