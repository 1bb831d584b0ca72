"""Records that had ended and were told differently later, set aside for an operator to see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Connection, select

from accounting.intake.rejects import CHANGED, Aside, set_aside
from accounting.store.rows import ENDED
from accounting.store.tables import claims as claims_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from exporters.model import MILLI_PER_GPU


def report_changes(connection: Connection, subjects: Sequence[str], seen_at: int) -> None:
    """Set aside every ended version that another one superseded, with what each of the two says."""
    t = records_table.c
    query = select(t.id, t.subject, t.hash, t.meaning, t.raw, t.source, t.cluster, t.outcome, t.reason, t.current)
    rows = connection.execute(query.where(t.subject.in_(subjects), t.finality == ENDED)).all()
    says = _descriptions(connection, [r.id for r in rows])
    text = {r.id: says.get(r.id) or f"{r.outcome} {r.reason}".strip() for r in rows}
    now = {r.subject: r for r in rows if r.current}
    asides = []
    for r in rows:
        if r.current or bytes(r.meaning) == bytes(now[r.subject].meaning):
            continue
        asides.append(
            Aside(
                CHANGED,
                r.source,
                r.cluster,
                bytes(r.raw),
                f"{r.subject} had ended and was told differently later; not used any more: {text[r.id]}; "
                f"now: {text[now[r.subject].id]}",
                identity=bytes(r.hash),
            )
        )
    set_aside(connection, asides, seen_at)


def _descriptions(connection: Connection, record_ids: Sequence[int]) -> dict[int, str]:
    """What records claim, in words, by record id."""
    c = claims_table.c
    query = (
        select(c.record_id, nodes_table.c.name, c.milligpu, c.start_at, c.end_at)
        .join(nodes_table, nodes_table.c.id == c.node_id)
        .where(c.record_id.in_(record_ids))
        .order_by(c.record_id, c.start_at, nodes_table.c.name, c.id)
    )
    words: dict[int, list[str]] = defaultdict(list)
    for record, node, milligpu, start, end in connection.execute(query):
        words[record].append(f"{milligpu / MILLI_PER_GPU:g} cards of {node} over [{start}, {end})")
    return {record: ", ".join(parts) for record, parts in words.items()}
