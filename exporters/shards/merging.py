"""Several shards' pages as one: what they would be, had one exporter read the whole fleet.

Machines, cards and ports are in one shard only; jobs, projects and the fleet are sums. Counters of the sum never fall
when one shard begins anew: what it had counted until then is kept. What each family becomes, the metric table says
(`exporters.series.row.Merge`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from exporters.exposition.family import Family, Row
from exporters.exposition.reader import Layout, Reading
from exporters.series import TABLE, SeriesRow

_ROWS = {row.name: row for row in TABLE}
NAMES = frozenset(_ROWS)
"""The series that are merged."""

Key = tuple[str, tuple[str, ...]]
"""A series: its family and its label values, in the order of the table."""

JOIN_TIME = "meterbridge_join_timestamp_seconds"
_FINAL, _HELD = "meterbridge_job_final", "meterbridge_job_gpus"
_JOB_INFO = "meterbridge_job_info"
_JOB_LABELS = 3


@dataclass
class Part:
    """One shard's last page, and what its counters had counted before it last began anew."""

    values: dict[Key, float] = field(default_factory=dict)
    before: dict[Key, float] = field(default_factory=lambda: defaultdict(float))

    def step(self, page: Mapping[Key, float]) -> None:
        """Take over the shard's next page. Counters that it no longer serves (of jobs that ended) are forgotten."""
        for key, value in page.items():
            last = self.values.get(key)
            if last is not None and value < last and _ROWS[key[0]].type == "counter":
                self.before[key] += last
        self.values = dict(page)
        self.before = defaultdict(float, {key: n for key, n in self.before.items() if key in self.values})

    def stale(self) -> None:
        """The shard is not read any more: its counters stay, what it said of the moment goes."""
        self.values = {key: value for key, value in self.values.items() if _ROWS[key[0]].type == "counter"}


class Pages:
    """Turns one shard's readings into pages; what its positions mean is worked out once per layout."""

    def __init__(self) -> None:
        self._keys: WeakKeyDictionary[Layout, list[Key]] = WeakKeyDictionary()

    def page(self, reading: Reading) -> dict[Key, float]:
        """The values of a page by series."""
        keys = self._keys.get(reading.layout)
        if keys is None:
            keys = self._keys[reading.layout] = [
                (s.name, tuple(s.labels.get(label, "") for label in _ROWS[s.name].labels))
                for s in reading.layout.series
            ]
        return dict(zip(keys, reading.values, strict=True))


def merge(parts: Sequence[Part]) -> list[Family]:
    """The families of all shards together, in the order of the table, rows sorted."""
    found: dict[str, dict[tuple[str, ...], float]] = {row.name: {} for row in TABLE}
    # The latest page last, so that its word on a job's state is the one that stays.
    for part in sorted(parts, key=lambda p: p.values.get((JOIN_TIME, ()), 0.0)):
        for (name, labels), counted in part.values.items():
            row, rows = _ROWS[name], found[name]
            value = counted + part.before.get((name, labels), 0.0)
            rows[labels] = _together(row, rows[labels], value) if labels in rows else value
    held = {labels[:_JOB_LABELS] for labels in found[_HELD]}
    found[_FINAL] = {labels: value for labels, value in found[_FINAL].items() if labels not in held}
    infos = {labels[:_JOB_LABELS]: labels for labels in found[_JOB_INFO]}
    found[_JOB_INFO] = dict.fromkeys(infos.values(), 1.0)
    return [Family(row.name, row.help, row.type, row.labels, _rows(found[row.name])) for row in TABLE]


def _together(row: SeriesRow, one: float, other: float) -> float:
    if row.merge == "sum" and row.type != "info":
        return one + other
    return min(one, other) if row.merge == "min" else max(one, other)


def _rows(rows: Mapping[tuple[str, ...], float]) -> list[Row]:
    return sorted((labels, value) for labels, value in rows.items() if not math.isnan(value))
