"""The evidence chain of one statement line: usage -> postings -> node-days -> what was seen of cards, and claims -> the
raw records, as read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Engine, and_, or_, select

from accounting.intake.live import holdings
from accounting.ledger.booking import CORRECTION
from accounting.model import HoldingStretch, Usage
from accounting.store.database import read, storable
from accounting.store.rows import CLAIM_COLUMNS, JOB_COLUMNS, claim_of, job_of
from accounting.store.tables import claims, jobs, node_days, nodes, postings, records, transactions
from exporters.model import Claim, Job, JobKey, NodeKey, Scheduler


@dataclass(frozen=True, slots=True)
class BookedPosting:
    """A posting as it stands. ``link`` and ``linked`` are empty where it has none."""

    account: str
    model: str
    quantity: int
    held: int
    start: int
    end: int
    unit: str
    link: str
    linked: str
    reason: str


@dataclass(frozen=True, slots=True)
class BookedDay:
    """A node-day with the postings that the line is made from, and the transaction they stand in."""

    machine: str
    start: int
    end: int
    transaction: int
    posted_at: int
    inputs_hash: str
    rules_hash: str
    postings: tuple[BookedPosting, ...]


@dataclass(frozen=True, slots=True)
class RecordRead:
    """One record, byte for byte as read, and the claims that it says. ``current`` is False once a later one counts."""

    source: str
    cluster: str
    hash: str
    seen_at: int
    outcome: str
    current: bool
    raw: bytes
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind one usage. ``records`` are those of its job, ``linked_records`` those of the linked one.

    ``holdings`` are what was seen of the cards of both on the line's machines, with the machine.
    """

    usage: Usage
    days: tuple[BookedDay, ...]
    job: Job | None
    records: tuple[RecordRead, ...]
    linked_records: tuple[RecordRead, ...]
    holdings: tuple[tuple[str, HoldingStretch], ...] = ()


def explain_usage(
    engine: Engine, start: int, end: int, usage: Usage, booked_in: str = "", parts: Sequence[tuple[int, int]] = ()
) -> Explanation:
    """Everything behind one usage of the node-days that begin in ``[start, end)``
    (`accounting.statements.month.lines_named`), or only in these ``parts`` of it.

    With ``booked_in`` it is the corrections of these node-days that were booked in that month.
    Of a job's records, all versions are told, as far as they touch that time.
    """
    with read(engine) as connection:
        job_id, job = _job(connection, usage.job)
        linked_id, _ = _job(connection, usage.linked)
        days = tuple(
            day
            for day in _days(connection, start, end, usage, (job_id, linked_id), booked_in)
            if not parts or any(a <= day.start < b for a, b in parts)
        )
        return Explanation(
            usage,
            days,
            job,
            tuple(_records(connection, job_id, start, end)),
            tuple(_records(connection, linked_id, start, end)),
            tuple(_seen(connection, days, (job_id, linked_id))),
        )


def _seen(
    connection: Connection, days: Sequence[BookedDay], ids: Sequence[int | None]
) -> Iterator[tuple[str, HoldingStretch]]:
    """What was seen of the cards of jobs on the machines of some node-days, while these last."""
    if not days:
        return
    machines = {day.machine for day in days}
    first, last = min(day.start for day in days), max(day.end for day in days)
    for number in dict.fromkeys(n for n in ids if n is not None):
        found = holdings.between(connection, first, last, number)
        for machine in sorted(machines & found.keys()):
            yield from ((machine, h) for h in sorted(found[machine]))


def _job(connection: Connection, key: JobKey | None) -> tuple[int | None, Job | None]:
    if key is None:
        return None, None
    c = jobs.c
    row = connection.execute(
        select(c.id, *(c[name] for name in JOB_COLUMNS)).where(
            c.scheduler == key.scheduler.value, c.cluster == storable(key.cluster), c.run == storable(key.id)
        )
    ).first()
    return (None, None) if row is None else (row[0], job_of(row[1:]))


def _days(
    connection: Connection, start: int, end: int, usage: Usage, ids: tuple[int | None, int | None], booked_in: str
) -> Iterator[BookedDay]:
    d, p, t = node_days.c, postings.c, transactions.c
    account, (job_id, linked_id) = usage.disposition.value if usage.disposition else "", ids
    correcting = (t.kind == CORRECTION, t.period == booked_in, t.machine == d.machine, t.start_at == d.start_at)
    query = (
        select(
            d.machine, d.start_at, d.end_at, t.id, t.posted_at, t.inputs_hash, t.rules_hash,
            p.account, p.model, p.quantity, p.held, p.start_at, p.end_at, p.unit, p.link, p.reason,
        )
        .select_from(node_days)
        .join(transactions, and_(*correcting) if booked_in else t.id == d.transaction_id)
        .join(postings, p.transaction_id == t.id)
        .where(d.start_at >= start, d.start_at < end, p.account == account, p.model == usage.gpu_model)
        .where(p.project == usage.project, p.job_id.is_not_distinct_from(job_id))
        .where(p.linked_id.is_not_distinct_from(linked_id))
        .order_by(d.start_at, d.machine, t.id, p.start_at, p.unit, p.reason)
    )  # fmt: skip
    found: dict[int, tuple[BookedDay, list[BookedPosting]]] = {}
    for machine, a, b, number, posted_at, inputs, rules, *posting in connection.execute(query):
        day = BookedDay(machine, a, b, number, posted_at, bytes(inputs).hex(), bytes(rules).hex(), ())
        account_, model, quantity, held, first, last, unit, link, reason = posting
        found.setdefault(number, (day, []))[1].append(
            BookedPosting(account_, model, quantity, held, first, last, unit, link, str(usage.linked or ""), reason)
        )
    for day, there in found.values():
        yield replace(day, postings=tuple(there))


def _records(connection: Connection, job_id: int | None, start: int, end: int) -> Iterator[RecordRead]:
    if job_id is None:
        return
    r, c, n, j = records.c, claims.c, nodes.c, jobs.c
    touching = and_(c.start_at < end, or_(c.end_at > start, c.end_at.is_(None)))
    query = (
        select(
            r.id, r.source, r.cluster, r.hash, r.seen_at, r.outcome, r.current, r.raw,
            j.scheduler, j.cluster, j.run, n.scheduler, n.cluster, n.name, *(c[name] for name in CLAIM_COLUMNS),
        )
        .select_from(records)
        .join(jobs, j.id == r.job_id)
        .outerjoin(claims, c.record_id == r.id)
        .outerjoin(nodes, n.id == c.node_id)
        .where(r.job_id == job_id, or_(touching, c.id.is_(None)))
        .order_by(r.id, c.id)
    )  # fmt: skip
    heads: dict[int, RecordRead] = {}
    held: dict[int, list[Claim]] = {}
    for number, *row in connection.execute(query):
        source, of, digest, seen_at, outcome, current, raw = row[:7]
        heads[number] = RecordRead(
            source, of, bytes(digest).hex(), seen_at, outcome, bool(current), bytes(raw), claims=()
        )
        held.setdefault(number, [])
        scheduler, cluster, run, node_scheduler, node_cluster, name = row[7:13]
        if name is not None:
            node = NodeKey(Scheduler(node_scheduler), node_cluster, name)
            held[number].append(claim_of(JobKey(Scheduler(scheduler), cluster, run), node, row[13:]))
    for number, head in heads.items():
        yield replace(head, claims=tuple(held[number]))
