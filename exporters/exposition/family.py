"""What the writer writes: one family with its rows, frozen.

    Family(
        name="meterbridge_job_gpu_seconds_total",
        help="GPU-seconds held by the job.",
        type="counter",
        labels=("scheduler", "cluster", "job_id"),
        rows=[(("slurm", "hpc", "18"), 7200.0)],
    )

is written as the family's two comment lines and ``meterbridge_job_gpu_seconds_total{cluster="hpc",…} 7200.0``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, overload

TYPES = ("gauge", "counter", "info", "unknown")
Type = Literal["gauge", "counter", "info", "unknown"]

_SUFFIX = {"counter": "_total", "info": "_info"}
_METRIC_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # colons are for recording rules
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

Row = tuple[tuple[str, ...], float]
"""Label values, in the order of the family's ``labels``, and the value."""


class Columns(Sequence[Row]):
    """Rows as two columns, already in the order in which they are to be written: the fast form of many rows."""

    __slots__ = ("labels", "values")

    def __init__(self, labels: Sequence[tuple[str, ...]], values: Sequence[float]) -> None:
        self.labels, self.values = labels, values

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Columns: ...
    def __getitem__(self, index: int | slice) -> Row | Columns:
        if isinstance(index, slice):
            return Columns(self.labels[index], self.values[index])
        return self.labels[index], self.values[index]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family of one round.

    ``name`` is the name of the series themselves: a counter's ends in ``_total`` and an info's in ``_info``, as
    Prometheus queries it (OpenMetrics names the family without that suffix: the writer takes it off there).
    ``labels`` may be given in any order and are written sorted, as prometheus-client writes them; ``rows`` are written
    in the order given. A label value may hold anything: it is escaped, and what UTF-8 cannot say (a lone surrogate,
    from a name read with surrogateescape) is written as U+FFFD. Values are in base units; NaN and infinities are legal.

    Raises ValueError for a name that Prometheus would refuse, so that a wrong table fails in its own test.
    """

    name: str
    help: str
    type: Type
    labels: tuple[str, ...]
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        if not _METRIC_NAME.fullmatch(self.name):
            raise ValueError(f"family {self.name!r}: not a metric name; use letters, digits and '_'")
        if self.type not in TYPES:
            raise ValueError(f"family {self.name}: unknown type {self.type!r}; one of {', '.join(TYPES)}")
        suffix = _SUFFIX.get(self.type, "")
        if not self.name.endswith(suffix) or self.name == suffix:
            raise ValueError(f"family {self.name}: the name of type {self.type} ends in {suffix}")
        for label in self.labels:
            if not _LABEL_NAME.fullmatch(label):
                raise ValueError(f"family {self.name}: {label!r} is not a label name that Prometheus takes")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"family {self.name}: a label name appears twice in {', '.join(self.labels)}")

    @property
    def base(self) -> str:
        """The family's name without the suffix of its type, as OpenMetrics names it."""
        return self.name.removesuffix(_SUFFIX.get(self.type, ""))
