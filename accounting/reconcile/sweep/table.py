"""Postings as columns: what a row holds, adding up rows of one key, and the order of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounting.model import CAPACITY
from accounting.reconcile.sweep.site_columns import LINKS
from exporters.model import Disposition

Table = dict[str, NDArray[Any]]
"""Columns of `COLUMNS` by name, all of one length."""

ACCOUNTS = (*(d.value for d in Disposition), CAPACITY, "")
"""Accounts by code; the last is that of rows which only show a record counted elsewhere."""

COLUMNS = {
    "machine": np.int32,  # code into Columns.machines
    "day": np.int32,  # UTC days since 1970
    "account": np.int8,  # code into ACCOUNTS
    "model": np.int32,  # code into Sweep.models
    "quantity": np.int64,  # milliGPU-seconds
    "project": np.int32,  # -1: nobody's
    "job": np.int32,  # -1: nobody's
    "unit": np.int32,  # -1: none
    "start": np.int64,  # epoch seconds
    "end": np.int64,
    "held": np.int64,  # milliGPU-seconds
    "link": np.int8,  # code into LINKS, -1: none
    "linked": np.int32,  # a job, -1: none
    "reason": np.int32,  # code into Sweep.reasons, 0: none
}
"""What a posting's row holds, and as what."""

KEY = ("machine", "day", "account", "model", "project", "job", "unit", "link", "linked", "reason")
"""What a node-day has one posting for, as in `accounting.reconcile`."""


def account_code(account: str) -> int:
    """The code of an account."""
    return ACCOUNTS.index(account)


def link_code(kind: str | None) -> int:
    """The code of a link kind, -1 for none."""
    return -1 if kind is None else [k.value for k in LINKS].index(kind)


class Codebook:
    """Texts numbered in the order in which they are met. Code 0 is the empty text."""

    def __init__(self) -> None:
        self.texts = [""]
        self._codes = {"": 0}

    def code(self, text: str) -> int:
        """The number of a text, a new one where it is new."""
        found = self._codes.setdefault(text, len(self.texts))
        if found == len(self.texts):
            self.texts.append(text)
        return found

    def find(self, text: str) -> int:
        """The number of a text, -1 when there is none."""
        return self._codes.get(text, -1)


class Reasons:
    """Texts of reasons by code.

    A part is prepared sooner or later before another's windows are decided, depending on the engine. Lest the codes
    depend on that, what is only met in windows has numbers of its own, negative ones.
    """

    def __init__(self) -> None:
        self.prepared = Codebook()
        self.decided = Codebook()

    def code(self, text: str, known: int) -> int:
        """The code of a text met in a window of a part that was prepared when there were ``known`` prepared texts."""
        code = self.prepared.find(text)
        return code if 0 <= code < known else -self.decided.code(text)

    def __getitem__(self, code: int) -> str:
        return self.prepared.texts[code] if code >= 0 else self.decided.texts[-code]


def table(rows: int, **columns: NDArray[Any] | int) -> Table:
    """A table of ``rows`` rows; a plain number fills its column."""
    return {name: _column(rows, columns[name], kind) for name, kind in COLUMNS.items()}


def _column(rows: int, values: NDArray[Any] | int, kind: Any) -> NDArray[Any]:
    return values.astype(kind, copy=False) if isinstance(values, np.ndarray) else np.full(rows, values, dtype=kind)


def concat(tables: Sequence[Table]) -> Table:
    """Tables below each other."""
    return {name: np.concatenate([t[name] for t in tables]) for name in COLUMNS}


def take(some: Table, which: Any) -> Table:
    """Some rows of a table."""
    return {name: column[which] for name, column in some.items()}


def empty() -> Table:
    """A table without rows."""
    return {name: np.empty(0, dtype=kind) for name, kind in COLUMNS.items()}


def merged(some: Table) -> Table:
    """One row per `KEY`: quantities and held add up, start and end span all of it. Rows come sorted by key."""
    rows = len(some["job"])
    if rows == 0:
        return some
    order = np.lexsort([some[name] for name in reversed(KEY)])
    ordered = take(some, order)
    new = np.zeros(rows, dtype=bool)
    new[0] = True
    for name in KEY:
        new[1:] |= ordered[name][1:] != ordered[name][:-1]
    first = np.flatnonzero(new)
    found = take(ordered, first)
    found["quantity"] = np.add.reduceat(ordered["quantity"], first)
    found["held"] = np.add.reduceat(ordered["held"], first)
    found["start"] = np.minimum.reduceat(ordered["start"], first)
    found["end"] = np.maximum.reduceat(ordered["end"], first)
    return found
