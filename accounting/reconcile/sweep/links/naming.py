"""Who names whom: the link keys of a chunk, found by machine and name."""

from __future__ import annotations

import numpy as np

from accounting.arrays import Codes, Ints
from accounting.model import NEAR
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.site_columns import INSIDE, SAME


class Naming:
    """The keys that name a claim (``entries`` of `Chunk.keys`), and the rows that bear such a name.

    Both are sorted by machine and name, packed into one number: ``entry_name``, ``bearer_name``.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        keys, native = chunk.keys, chunk.column("native")
        entries = np.flatnonzero(((keys.kind == SAME) | (keys.kind == INSIDE)) & (keys.target >= 0))
        self.entries, self.entry_name = _by_name(chunk, entries, keys.row[entries], keys.target[entries])
        wanted = np.zeros(int(native.max(initial=0)) + 2, dtype=bool)
        wanted[keys.target[entries[keys.target[entries] < len(wanted) - 1]]] = True
        bearers = np.flatnonzero(wanted[native])  # -1, no name, points to the last one, which nobody wants
        self.bearers, self.bearer_name = _by_name(chunk, bearers, bearers, native[bearers])

    def tied(self, machine: int, rows: Ints, start: int, end: int) -> Ints:
        """Rows that matter to what the keys of ``rows``, and keys that name them, tell in ``[start, end)``.

        They bear such a name or name it, and are there in that time (seconds of the period) or near one that is.
        """
        keys = self.chunk.keys
        first, last = np.searchsorted(keys.row, rows), np.searchsorted(keys.row, rows, side="right")
        names = {n for a, b in zip(first.tolist(), last.tolist(), strict=True) for n in keys.target[a:b].tolist()}
        names.update(self.chunk.column("native")[rows].tolist())
        found = [self._tied((machine << 32) | name, start, end) for name in sorted(names) if name >= 0]
        return np.concatenate([np.empty(0, dtype=np.int64), *found])

    def _tied(self, name: int, start: int, end: int) -> Ints:
        a, b = np.searchsorted(self.entry_name, [name, name + 1]).tolist()
        c, d = np.searchsorted(self.bearer_name, [name, name + 1]).tolist()
        entries, bearing = self.entries[a:b], self.bearers[c:d]
        naming = self.chunk.keys.row[entries]
        here, there = self.chunk.touch(naming, start, end), self.chunk.touch(bearing, start, end)
        near = self._near(entries, bearing)
        return np.concatenate(
            [naming[here | (near & there).any(axis=1)], bearing[there | (near & here[:, None]).any(axis=0)]]
        )

    def _near(self, entries: Ints, bearing: Ints) -> np.typing.NDArray[np.bool_]:
        """Which key (down) and bearer (across) are meant for each other and not far apart."""
        chunk, keys = self.chunk, self.chunk.keys
        start, end, slurm = chunk.ints("start"), chunk.ints("end"), chunk.column("slurm")
        naming = keys.row[entries][:, None]
        far = (start[naming] - NEAR > end[bearing]) | (start[bearing] - NEAR > end[naming])
        cluster = keys.cluster[entries][:, None] == chunk.column("cluster")[bearing]
        meant = keys.any_cluster[entries][:, None] | cluster
        near: np.typing.NDArray[np.bool_] = ~far & meant & (slurm[naming] != slurm[bearing])
        return near


def _by_name(chunk: Chunk, items: Ints, rows: Ints, name: Codes) -> tuple[Ints, Ints]:
    """Items sorted by the machine of their row and a name, and those two in one number."""
    packed = (chunk.machine[rows] << 32) | name
    order = np.argsort(packed, kind="stable")
    return items[order], packed[order]
