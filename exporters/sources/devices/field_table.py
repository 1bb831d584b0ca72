"""Device readings in columns: one row per device, one column per field, NaN where a field was not told.

A round of a fleet is some hundred thousand numbers. They are kept as they were converted, page by page, in matrices;
what people and small tests read as a mapping (`Values`) is a view of one row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exporters.model import Field, Sample

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

FIELDS = tuple(Field)
COLUMN = {field: n for n, field in enumerate(FIELDS)}
"""The column of each field."""


class Values(Mapping[Field, float]):
    """One row of a matrix as a mapping of what was told; never of a row that tells nothing."""

    __slots__ = ("matrix", "row")

    def __init__(self, matrix: Floats, row: int) -> None:
        self.matrix, self.row = matrix, row

    def __getitem__(self, field: Field) -> float:
        value = float(self.matrix[self.row, COLUMN[field]])
        if value != value:  # noqa: PLR0124 - NaN: not told
            raise KeyError(field)
        return value

    def __iter__(self) -> Iterator[Field]:
        told = np.flatnonzero(~np.isnan(self.matrix[self.row]))
        return (FIELDS[n] for n in told.tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(~np.isnan(self.matrix[self.row])))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclass(frozen=True, slots=True)
class Table:
    """The readings of some devices: ``values[n]`` and ``at[n]`` (epoch seconds) are the n-th device's."""

    values: Floats
    at: Floats

    def column(self, field: Field) -> Floats:
        """One field of every device, NaN where it was not told."""
        column: Floats = self.values[:, COLUMN[field]]
        return column


def table(samples: Sequence[Sample]) -> Table:
    """The samples' values in columns, in their order. Rows of one page are copied together."""
    starts: dict[int, int] = {}
    matrices: list[Floats] = []
    size = 0
    rows: list[int] = []
    for sample in samples:
        values = sample.values
        if type(values) is Values:
            matrix = values.matrix
            start = starts.get(id(matrix))
            if start is None:
                start = starts[id(matrix)] = size
                matrices.append(matrix)
                size += len(matrix)
            rows.append(start + values.row)
        else:
            single = np.full((1, len(FIELDS)), np.nan)
            for field, value in values.items():
                single[0, COLUMN[field]] = value
            matrices.append(single)
            rows.append(size)
            size += 1
    at = np.fromiter((s.at for s in samples), np.float64, len(samples))
    if not matrices:
        return Table(np.empty((0, len(FIELDS))), at)
    whole = np.concatenate(matrices)
    return Table(whole if len(rows) == size and rows == list(range(size)) else whole[rows], at)
