"""Telemetry by node-day: sums of what cards did, with the samples behind them. Floats; they only decorate lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo

from sqlalchemy import Connection

from accounting.intake.identities import job_ids
from accounting.store.calendar import segments
from accounting.store.database import storable, upsert
from accounting.store.tables import telemetry as table
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
    put = upsert(table, connection.dialect.name)
    put = put.on_conflict_do_update(
        index_elements=["job_id", "unit", "machine", "start_at"],
        set_={name: table.c[name] + put.excluded[name] for name in SUMS},
    )
    rows = [
        {
            "job_id": ids[job],
            "unit": storable(unit),
            "machine": machine,
            "start_at": day,
            **dict(zip(SUMS, values, strict=True)),
        }
        for (job, unit, machine, day), values in buckets.items()
    ]
    connection.execute(put, rows)
