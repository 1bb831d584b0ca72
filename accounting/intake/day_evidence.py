"""What each day was booked from, as far as no claim says it: kept beside the books, to see what somebody took out.

Coverage, telemetry and decisions only ever grow. So of every day that is booked it is noted how far each source had
been read, how many samples were expected of its cards, and which decision about a month was the last. What is less by
now was taken out by hand, also where its own digests went with it (`accounting.periods.handwork`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select

from accounting.store.database import upsert
from accounting.store.rows import compact
from accounting.store.tables import coverage, day_evidence, decisions, telemetry

Covered = dict[tuple[str, str, str], list[tuple[int, int]]]
"""Stretches in which a source was read, by source, cluster and kind; in order, and none touches another."""

_C, _E = coverage.c, day_evidence.c


def covered(connection: Connection, start: int, end: int) -> Covered:
    """How far the sources were read of ``[start, end)``, as coverage has it now."""
    c = _C
    query = select(c.source, c.cluster, c.kind, c.start_at, c.end_at).where(c.start_at < end, c.end_at > start)
    return _joined(
        (s, cluster, kind, max(a, start), min(b, end)) for s, cluster, kind, a, b in connection.execute(query)
    )


def measured(connection: Connection, start: int) -> int:
    """How many samples were expected of what telemetry has of the day that begins then."""
    query = select(func.coalesce(func.sum(telemetry.c.samples_expected), 0)).where(telemetry.c.start_at == start)
    return int(connection.execute(query).scalar_one())


def noted(text: str) -> Covered:
    """Coverage as it was noted."""
    return _joined(tuple(row) for row in json.loads(text))


def less(before: Covered, now: Covered) -> Sequence[tuple[str, str, str, int, int]]:
    """Stretches of ``before`` that ``now`` does not have whole."""
    return [
        (*place, a, b)
        for place, spans in sorted(before.items())
        for a, b in spans
        if not any(start <= a and b <= end for start, end in now.get(place, ()))
    ]


def keep(connection: Connection, start: int, end: int, *, anew: bool = False) -> None:
    """Note what is there of the day ``[start, end)`` beside what was noted of it before; ``anew``: instead of it."""
    before = connection.execute(select(day_evidence).where(_E.start_at == start)).first()
    spans, samples = covered(connection, start, end), measured(connection, start)
    newest = select(decisions.c.id, decisions.c.chain).order_by(decisions.c.id.desc()).limit(1)
    number, head = connection.execute(newest).first() or (0, b"")
    if before is not None:
        end = max(end, before.end_at)
        if not anew:
            spans, samples = _joined([*_rows(noted(before.covered)), *_rows(spans)]), max(samples, before.samples)
        if before.decided >= number:
            number, head = before.decided, before.head
    row = {
        "start_at": start,
        "end_at": end,
        "covered": compact(_rows(spans)),
        "samples": samples,
        "decided": number,
        "head": bytes(head),
    }
    put = upsert(day_evidence, connection.dialect.name).values(row)
    connection.execute(put.on_conflict_do_update(index_elements=["start_at"], set_=row))


def keep_anew_after(connection: Connection, now: int) -> None:
    """Note again what is there of days that end later than ``now``: what was kept as of later was taken back."""
    days = connection.execute(select(_E.start_at, _E.end_at).where(_E.end_at > now)).all()
    for start, end in days:
        keep(connection, start, end, anew=True)


def _rows(spans: Covered) -> list[tuple[str, str, str, int, int]]:
    return [(*place, a, b) for place, found in sorted(spans.items()) for a, b in found]


def _joined(rows: Iterable[tuple[str, str, str, int, int]]) -> Covered:
    found: Covered = {}
    for source, cluster, kind, a, b in sorted(rows):
        spans = found.setdefault((source, cluster, kind), [])
        if spans and a <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], b))
        else:
            spans.append((a, b))
    return found
