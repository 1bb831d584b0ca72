"""Proves what `accounting.ledger.booking` and `accounting.intake.history` promise, and names every breach.

The rows themselves are asked, not the code that wrote them: sums are taken anew, digests are computed anew, and every
pointer is followed. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, Engine, Select, and_, case, func, or_, select
from sqlalchemy.sql.expression import FromClause

from accounting.ledger.booking import CORRECTION, POST, REVERSAL
from accounting.model import CAPACITY
from accounting.periods.decided import chain_holds, head_kept, months_stand
from accounting.periods.draws import Draw, Everything
from accounting.periods.handwork import altered_jobs, altered_telemetry, evidence_stays, nothing_lost
from accounting.periods.mistyped import mistyped
from accounting.periods.proofs import (
    Breach,
    altered_records,
    doubtful_marks,
    misfiled_keys,
    misread_records,
    node_day_named,
)
from accounting.periods.sealing import closed_in_order, sealed_in_order, seals_hold
from accounting.store.calendar import OPEN, PeriodError, period_named
from accounting.store.database import LedgerError, damage, read
from accounting.store.tables import (
    claims,
    jobs,
    node_days,
    nodes,
    periods,
    postings,
    records,
    rulings,
    transactions,
    windows,
)
from exporters.model import Disposition

_T, _P, _D, _W = transactions.c, postings.c, node_days.c, windows.c
TYPED = "a value is of its column's type"
"""Where this does not hold, nothing else can be proved."""

_WHOLE = "a month is from its first midnight to its last"
_ACCOUNTS = [d.value for d in Disposition]


def check(engine: Engine, draw: Draw | None = None) -> list[Breach]:
    """Every breach of an invariant, sorted; none when the ledger is sound. ``draw`` says how much is looked at."""
    wrong = damage(engine)
    if wrong:
        raise LedgerError(f"the ledger {engine.url!r} is damaged, put back the last good copy of it: {wrong}")
    with read(engine) as connection:
        return breaches(connection, draw)


def breaches(connection: Connection, draw: Draw | None = None) -> list[Breach]:
    """Like `check`, in the caller's transaction. Where values are of no type that can be read, that alone is told."""
    if odd := [*mistyped(connection)]:
        return sorted(Breach(TYPED, f"row {o.row} of {o.table}", str(o)) for o in odd)
    found = [breach for proof in _PROOFS for breach in proof(connection)]
    found += [breach for proof in _DRAWN for breach in proof(connection, draw or Everything())]
    return sorted(set(found))


def _balance(connection: Connection) -> Iterator[Breach]:
    query = select(_P.transaction_id, _P.model, func.sum(_P.quantity)).group_by(_P.transaction_id, _P.model)
    for number, model, total in connection.execute(query.having(func.sum(_P.quantity) != 0)):
        yield Breach(
            "a transaction sums to zero", f"transaction {number}", f"{model or 'unknown model'} sums to {total}"
        )


def _accounts(connection: Connection) -> Iterator[Breach]:
    """What stands: known accounts, nothing negative, the six dispositions together the capacity."""
    odd = select(_P.id, _P.account).where(_P.account.not_in([*_ACCOUNTS, CAPACITY, ""]))
    for number, account in connection.execute(odd):
        yield Breach("the accounts are the six dispositions and capacity", f"posting {number}", f"account {account!r}")
    standing = select(_D.machine, _D.start_at).join(postings, _P.transaction_id == _D.transaction_id)
    negative = standing.add_columns(_P.account, _P.quantity).where(_P.account != CAPACITY, _P.quantity < 0)
    for machine, start, account, quantity in connection.execute(negative):
        yield Breach("no disposition is negative", node_day_named(machine, start), f"{account} holds {quantity}")
    parts = func.sum(case((_P.account.in_(_ACCOUNTS), _P.quantity), else_=0))
    whole = func.sum(case((_P.account == CAPACITY, -_P.quantity), else_=0))
    query = standing.add_columns(_P.model, parts, whole).group_by(_D.machine, _D.start_at, _P.model)
    for machine, start, model, total, capacity in connection.execute(query.having(parts != whole)):
        yield Breach(
            "the six dispositions sum to the capacity",
            node_day_named(machine, start),
            f"{model or 'unknown model'}: {total} of {capacity}",
        )


def _dangling(connection: Connection) -> Iterator[Breach]:
    """Pointers that lead nowhere."""
    t = transactions.alias("amended")
    pointers: list[tuple[str, FromClause, Any, Any]] = [
        ("record", records, records.c.job_id, jobs.c.id),
        ("claim", claims, claims.c.record_id, records.c.id),
        ("claim", claims, claims.c.job_id, jobs.c.id),
        ("claim", claims, claims.c.node_id, nodes.c.id),
        ("posting", postings, _P.job_id, jobs.c.id),
        ("posting", postings, _P.linked_id, jobs.c.id),
        ("posting", postings, _P.transaction_id, _T.id),
        ("transaction", transactions, _T.period, periods.c.name),
        ("transaction", transactions, _T.amends, t.c.id),
        ("ruling", rulings, rulings.c.job_id, jobs.c.id),
        ("ruling", rulings, rulings.c.other_id, jobs.c.id),
        ("ruling", rulings, rulings.c.ruled_to, jobs.c.id),
    ]
    for what, table, column, target in pointers:
        query = (
            select(table.c.id, column)
            .select_from(table.outerjoin(target.table, column == target))
            .where(column.is_not(None), target.is_(None))
        )
        for number, value in connection.execute(query):
            yield Breach("every reference leads somewhere", f"{what} {number}", f"no {column.name} {value}")
    for column in (_D.transaction_id, _D.correction_id):
        lost = (
            select(_D.machine, _D.start_at, column)
            .select_from(node_days.outerjoin(transactions, column == _T.id))
            .where(column.is_not(None), _T.id.is_(None))
        )
        for machine, start, value in connection.execute(lost):
            yield Breach("every reference leads somewhere", node_day_named(machine, start), f"no {column.name} {value}")


def _reversals(connection: Connection) -> Iterator[Breach]:
    """In its own period a node-day's reversals undo all but what stands."""
    d, t = node_days, transactions
    net = (
        select(_T.machine, _T.start_at, _P.account, _P.model)
        .add_columns(
            func.sum(_P.quantity - case((_T.id == _D.transaction_id, _P.quantity), else_=0)).label("quantity"),
            func.sum(_P.held - case((_T.id == _D.transaction_id, _P.held), else_=0)).label("held"),
        )
        .select_from(
            t.join(postings, _P.transaction_id == _T.id).outerjoin(
                d, and_(_D.machine == _T.machine, _D.start_at == _T.start_at)
            )
        )
        .where(_T.kind != CORRECTION)
        .group_by(_T.machine, _T.start_at, _P.account, _P.model)
        .subquery()
    )
    query = select(net).where(or_(net.c.quantity != 0, net.c.held != 0))
    for machine, start, account, model, quantity, _ in connection.execute(query):
        yield Breach(
            "what no longer stands is reversed",
            node_day_named(machine, start),
            f"{quantity} of {model or 'unknown model'} on {account or 'records shown'} is left over",
        )
    twice = select(_T.amends, func.count()).where(_T.kind == REVERSAL).group_by(_T.amends).having(func.count() > 1)
    for number, times in connection.execute(twice):
        yield Breach("a transaction is reversed at most once", f"transaction {number}", f"reversed {times} times")


def _periods(connection: Connection) -> Iterator[Breach]:
    """Postings and reversals are booked in the node-day's own period, corrections in a later one."""
    c = periods.c
    query = select(_T.id, _T.kind, _T.machine, _T.start_at, _T.period).join(periods, c.name == _T.period)
    outside = or_(_T.start_at < c.start_at, _T.end_at > c.end_at)
    misplaced = or_(and_(_T.kind != CORRECTION, outside), and_(_T.kind == CORRECTION, _T.start_at >= c.start_at))
    for number, kind, machine, start, period in connection.execute(query.where(misplaced)):
        yield Breach(
            "a node-day is booked in its own period, and corrected in a later one",
            f"transaction {number}",
            f"{kind} of {node_day_named(machine, start)} is booked in {period}",
        )
    own = select(c.name, c.closed_at, func.max(_T.posted_at)).join(transactions, _T.period == c.name)
    early = select(_T.id, _T.machine, _T.start_at, c.name)
    early = early.join(periods, and_(c.start_at <= _T.start_at, c.end_at > _T.start_at))
    for number, machine, start, name in connection.execute(early.where(_T.kind == CORRECTION, c.state == OPEN)):
        yield Breach(
            "only closed months are corrected",
            f"period {name}",
            f"transaction {number} corrects {node_day_named(machine, start)}, and the month is open",
        )
    late = own.where(c.closed_at.is_not(None), _T.posted_at > c.closed_at).group_by(c.name, c.closed_at)
    for name, closed, posted in connection.execute(late):
        yield Breach("a closed period never changes", f"period {name}", f"closed at {closed}, booked at {posted}")


def _months(connection: Connection) -> Iterator[Breach]:
    """A month is from midnight to midnight in its zone."""
    for month in connection.execute(select(periods).order_by(periods.c.start_at)):
        where = f"period {month.name}"
        try:
            known = period_named(month.name, ZoneInfo(month.zone))
        except (PeriodError, ZoneInfoNotFoundError, ValueError) as e:
            yield Breach(_WHOLE, where, f"zone {month.zone!r}: {e}")
            continue
        if (known.start, known.end) != (month.start_at, month.end_at):
            spans = (f"[{a}, {b})" for a, b in ((month.start_at, month.end_at), (known.start, known.end)))
            what = "it is kept over {}, and is {} in ".format(*spans) + month.zone
            yield Breach(_WHOLE, where, what)


def _placed(connection: Connection) -> Iterator[Breach]:
    """What stands for a node-day is about it; one that was corrected since may have ended otherwise."""
    elsewhere = or_(_T.machine != _D.machine, _T.start_at != _D.start_at)
    another = or_(elsewhere, and_(_D.correction_id.is_(None), _T.end_at != _D.end_at))
    told = (_T.id, _T.machine.label("of"), _T.start_at.label("begin"), _T.end_at)
    query = select(_D.machine, _D.start_at, *told).join(transactions, _T.id == _D.transaction_id).where(another)
    for machine, start, number, of, begin, end in connection.execute(query):
        what = f"transaction {number} is of {of} over [{begin}, {end})"
        yield Breach("what stands for a node-day is about it", node_day_named(machine, start), what)


def _overlaps(connection: Connection) -> Iterator[Breach]:
    """No second of a machine is in two node-days that stand."""
    query = (
        select(_D.machine, _D.start_at, _D.end_at)
        .where(_D.transaction_id.in_(select(_P.transaction_id)))
        .order_by(_D.machine, _D.start_at)
    )
    for one, other in pairwise(connection.execute(query)):
        if one.machine == other.machine and other.start_at < one.end_at:
            yield Breach(
                "no second is in two node-days",
                node_day_named(one.machine, one.start_at),
                f"overlaps {node_day_named(other.machine, other.start_at)}",
            )


def _intake(connection: Connection) -> Iterator[Breach]:
    counted = _W.charged + _W.excluded + _W.pending + _W.rejected
    query: Select[Any] = select(_W.id, _W.source, _W.cluster, _W.start_at, _W.read, counted).where(_W.read != counted)
    for number, source, cluster, start, was_read, total in connection.execute(query):
        yield Breach(
            "read = charged + excluded + pending + rejected",
            f"window {number} of {source} {cluster} from {datetime.fromtimestamp(start, UTC):%Y-%m-%dT%H:%MZ}",
            f"{was_read} read, {total} accounted for",
        )


def _kinds(connection: Connection) -> Iterator[Breach]:
    for number, kind in connection.execute(select(_T.id, _T.kind).where(_T.kind.not_in([POST, REVERSAL, CORRECTION]))):
        yield Breach("a transaction posts, reverses or corrects", f"transaction {number}", f"kind {kind!r}")


_PROOFS = (
    _balance,
    _accounts,
    _dangling,
    _reversals,
    _periods,
    _months,
    _placed,
    _overlaps,
    _intake,
    _kinds,
    doubtful_marks,
    closed_in_order,
    sealed_in_order,
    chain_holds,
    head_kept,
    months_stand,
    nothing_lost,
)
"""Sums, pointers and decisions: looked at whole."""

_DRAWN = (altered_records, misread_records, misfiled_keys, altered_jobs, altered_telemetry, evidence_stays, seals_hold)
"""What is read row by row, as far as it is drawn."""
