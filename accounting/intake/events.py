"""Node events out of a scheduler's history, every version of them; an event is its node and its start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, update

from accounting.intake.identities import node_ids
from accounting.store.database import chunks, insert_many, next_id, storable
from accounting.store.rows import compact
from accounting.store.tables import node_events as table
from exporters.model import NodeEvent


def keep_events(connection: Connection, source: str, events: Sequence[NodeEvent], seen_at: int) -> int:
    """Keep events in the caller's transaction; returns how many were news.

    Of the versions of one event the current one has ended rather than not, then was seen last; the same again is no
    news. What an open event is evidence of ends where something later contradicts it, so its last sighting is kept.
    """
    ids = node_ids(connection, {e.key for e in events})
    told = {(ids[e.key], e.start): [] for e in events}  # type: dict[tuple[int, int], list[tuple[Any, ...]]]
    for e in events:
        told[ids[e.key], e.start].append((e.end, e.up, e.milligpu, storable(e.reason), _cards(e)))
    known = _known(connection, sorted({node for node, _ in told}))
    rows: list[tuple[Any, ...]] = []
    free = next_id(connection, table)
    for (node, start), contents in told.items():
        versions = known.get((node, start), {})
        fresh = [c for c in dict.fromkeys(contents) if c not in versions]
        ranks = {c: _rank(c, seen) for c, (_, seen, _) in versions.items()}
        ranks |= {c: _rank(c, seen_at) for c in contents}
        best = max(ranks, key=lambda c: ranks[c])
        rows += [
            (free + len(rows) + n, node, source, start, *c[:-1], seen_at, c == best, c[-1]) for n, c in enumerate(fresh)
        ]
        for content, (number, seen, current) in versions.items():
            news = {"current": content == best} if current != (content == best) else {}
            if content in contents and seen < seen_at:
                news["seen_at"] = seen_at  # type: ignore[assignment]
            if news:
                connection.execute(update(table).where(table.c.id == number).values(**news))
    insert_many(connection, table, [c.name for c in table.columns], rows)
    return len(rows)


def _cards(event: NodeEvent) -> str:
    return compact([[storable(model), milligpu] for model, milligpu in event.cards]) if event.cards else ""


def _rank(content: tuple[Any, ...], seen: int) -> tuple[bool, int, str]:
    return (content[0] is not None, seen, repr(content))


def _known(
    connection: Connection, nodes: Sequence[int]
) -> dict[tuple[int, int], dict[tuple[Any, ...], tuple[int, int, bool]]]:
    """Versions by event and content: id, last sighting, current."""
    found: dict[tuple[int, int], dict[tuple[Any, ...], tuple[int, int, bool]]] = {}
    c = table.c
    for part in chunks(nodes):
        columns = (c.id, c.node_id, c.start_at, c.end_at, c.up, c.milligpu, c.reason, c.cards, c.seen_at, c.current)
        query = select(*columns).where(c.node_id.in_(part))
        for number, node, start, end, up, milligpu, reason, cards, seen, current in connection.execute(query):
            content = (end, bool(up), milligpu, reason, cards)
            found.setdefault((node, start), {})[content] = (number, seen, bool(current))
    return found
