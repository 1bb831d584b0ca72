"""Telemetry by node-day: sums of what cards did, with the samples behind them. Floats; they only decorate lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import tzinfo
from operator import add as add_up
from typing import Any

from sqlalchemy import Connection, select

from accounting.intake.identities import job_ids
from accounting.store.calendar import segments
from accounting.store.database import chunks, storable, upsert
from accounting.store.rows import telemetry_digest
from accounting.store.tables import telemetry as table
from accounting.store.tables import telemetry_days as digests_table
from exporters.model import JobKey
from exporters.recorder import Telemetry

SUMS = (
    "gpu_seconds",
    "active_seconds",
    "tensor_seconds",
    "energy_joules",
    "nvlink_transmit_bytes",
    "nvlink_receive_bytes",
    "samples_seen",
    "samples_expected",
)
"""The columns that add up, in the order of a bucket's values."""

_PLACE = ("job_id", "unit", "machine", "start_at")
_COLUMNS = (*_PLACE, *SUMS)
_Place = tuple[int, str, str, int]

Key = tuple[JobKey, str, str, int]
"""Job, unit, machine, start of the node-day."""

Values = tuple[float, float, float, float, float, float, int, int]
Buckets = Mapping[Key, Values]


def add(buckets: Buckets, pieces: Iterable[Telemetry], zone: tzinfo) -> dict[Key, Values]:
    """New buckets with ``pieces`` added, each to the node-days it touches by the share of its time in each.

    Samples are whole, so they all go to the node-day in which the piece ends.
    """
    total = dict(buckets)
    spans: dict[tuple[float, float], list[tuple[int, float]]] = {}
    for p in pieces:
        parts = spans.get((p.start, p.end)) or spans.setdefault((p.start, p.end), _shares(p.start, p.end, zone))
        for n, (day, share) in enumerate(parts):
            last = n == len(parts) - 1
            key = (p.job, p.unit, p.machine, day)
            old = total.get(key, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0))
            total[key] = (
                old[0] + p.gpu_seconds * share,
                old[1] + p.active_seconds * share,
                old[2] + p.tensor_seconds * share,
                old[3] + p.energy_joules * share,
                old[4] + p.nvlink_transmit_bytes * share,
                old[5] + p.nvlink_receive_bytes * share,
                old[6] + (p.samples_seen if last else 0),
                old[7] + (p.samples_expected if last else 0),
            )
    return total


def _shares(start: float, end: float, zone: tzinfo) -> list[tuple[int, float]]:
    """Node-days of a piece, by start, with the share of its time in each; the shares sum to 1."""
    if end <= start:
        return [(next(segments(int(end), int(end) + 1, zone))[0], 1.0)]
    days = [s for s in segments(int(start), int(end) + 1, zone) if s[0] < end]
    length = end - start
    return [(a, (min(b, end) - max(a, start)) / length) for a, b in days]


def flush(connection: Connection, buckets: Buckets) -> None:
    """Add buckets to the ledger's, in the caller's transaction."""
    if not buckets:
        return
    ids = job_ids(connection, {key[0] for key in buckets})
    added: dict[_Place, tuple[float, ...]] = {}
    for (job, unit, machine, day), values in buckets.items():
        place = (ids[job], storable(unit), machine, day)
        added[place] = tuple(map(add_up, added[place], values)) if place in added else values
    there = _there(connection, added)
    rows = []
    digests: dict[tuple[str, int], int] = defaultdict(int)
    for place, more in added.items():
        before = there.get(place)
        now = more if before is None else tuple(map(add_up, before, more))
        was = 0 if before is None else telemetry_digest((*place, *before))
        digests[place[2], place[3]] ^= was ^ telemetry_digest((*place, *now))
        rows.append(dict(zip(_COLUMNS, (*place, *now), strict=True)))
    put = upsert(table, connection.dialect.name)
    put = put.on_conflict_do_update(index_elements=_PLACE, set_={name: put.excluded[name] for name in SUMS})
    connection.execute(put, rows)
    _digested(connection, digests)


def _there(connection: Connection, wanted: Collection[_Place]) -> dict[_Place, tuple[Any, ...]]:
    """What the ledger has at these places."""
    days, c = sorted({place[3] for place in wanted}), table.c
    found = {}
    for jobs in chunks(sorted({place[0] for place in wanted})):
        query = select(*(c[name] for name in _COLUMNS)).where(c.job_id.in_(jobs), c.start_at.in_(days))
        for job, unit, machine, day, *values in connection.execute(query):
            found[job, unit, machine, day] = tuple(values)
    return found


def _digested(connection: Connection, changed: Mapping[tuple[str, int], int]) -> None:
    """Keep by what the telemetry of node-days is known again (`accounting.periods.handwork`)."""
    c = digests_table.c
    kept: dict[tuple[str, int], int] = {}
    for day in sorted({day for _, day in changed}):
        query = select(c.machine, c.digest).where(c.start_at == day)
        kept |= {(machine, day): int.from_bytes(digest) for machine, digest in connection.execute(query)}
    put = upsert(digests_table, connection.dialect.name)
    put = put.on_conflict_do_update(index_elements=["machine", "start_at"], set_={"digest": put.excluded.digest})
    rows = [
        {"machine": machine, "start_at": day, "digest": (kept.get((machine, day), 0) ^ change).to_bytes(16)}
        for (machine, day), change in changed.items()
    ]
    connection.execute(put, rows)
