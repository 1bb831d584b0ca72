"""Who names whom: the link keys of a chunk, found by machine and name."""

from __future__ import annotations

import numpy as np

from accounting.arrays import Codes, Flags, Ints
from accounting.evidence.ties.tying import TIES, Side, tied
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.site_columns import LINKS
from exporters.model import LinkKind

_TIES = [LINKS.index(LinkKind(kind)) for kind in TIES]


class Naming:
    """The keys that name a claim (``entries`` of `Chunk.keys`), and the rows that bear such a name.

    Both are sorted by machine and name, packed into one number: ``entry_name``, ``bearer_name``.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        keys, native = chunk.keys, chunk.column("native")
        entries = np.flatnonzero(np.isin(keys.kind, _TIES) & (keys.target >= 0))
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
        near = self._tied_by(entries, bearing)
        return np.concatenate(
            [naming[here | (near & there).any(axis=1)], bearing[there | (near & here[:, None]).any(axis=0)]]
        )

    def _tied_by(self, entries: Ints, bearing: Ints) -> Flags:
        """Which key (down) ties its claim to which bearer (across)."""
        keys, naming = self.chunk.keys, self.chunk.keys.row[entries]
        down = Side(*(column[:, None] for column in self._side(naming)))
        return tied(down, keys.cluster[entries][:, None], keys.any_cluster[entries][:, None], self._side(bearing))

    def _side(self, rows: Ints) -> Side:
        chunk = self.chunk
        slurm, cluster = chunk.column("slurm")[rows], chunk.column("cluster")[rows]
        return Side(slurm, cluster, chunk.ints("start")[rows], chunk.ints("end")[rows])


def _by_name(chunk: Chunk, items: Ints, rows: Ints, name: Codes) -> tuple[Ints, Ints]:
    """Items sorted by the machine of their row and a name, and those two in one number."""
    packed = (chunk.machine[rows] << 32) | name
    order = np.argsort(packed, kind="stable")
    return items[order], packed[order]
