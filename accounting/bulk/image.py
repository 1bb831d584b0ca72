"""One table of a SQLite database as the bytes of its file, made from whole columns.

SQLite takes rows one value after the other, which takes several times as long as everything here. Written by hand are
only the pages of the table: leaves with its rows, and above them one that tells where to look (sections 1.6 and 2.1 of
https://www.sqlite.org/fileformat2.html, which SQLite has promised to go on reading). The page that says what there is
in the file comes from SQLite itself.

A row says how long it is, which one it is, how each column is written, and then what is in the columns: the numbers,
each column's in as many bytes, and after them the texts. Lengths take two bytes and the number of the row four, also
where fewer would do: so all that is in front of the texts is alike in every row, and is made for many at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from typing import NamedTuple

import numpy as np

from accounting.sweep.columns import Ints


class Words(NamedTuple):
    """A column of texts: which of ``texts`` each row has."""

    texts: Sequence[str]
    codes: Ints


_PAGE = 1 << 16
_ROOT = 2
_LEAF, _ABOVE = 0x0D, 0x05
_LEAF_HEAD, _ABOVE_HEAD = 8, 12
_POINTER = 2
"""Bytes in front of a page's rows that tell where one of them begins."""

_NEXT = np.dtype([("page", ">u4"), ("last", ">u4")])
"""What is told of a leaf: its number, and its last row."""

_MOST_LEAVES = (_PAGE - _ABOVE_HEAD) // (_POINTER + _NEXT.itemsize)
_MOST_TOLD, _MOST_ROWS = 1 << 14, 1 << 28
"""From here on a length, and the number of a row, would take more bytes than they have."""

_COUNT = slice(28, 32)
"""Where the first page says how many there are."""

_KINDS = {1: 1, 2: 2, 4: 4, 8: 6}
"""What the format calls a whole number of so many bytes."""

_TEXT = 13
"""What it calls a text, with twice the text's length added."""


def image(create: str, numbers: Sequence[Ints], texts: Sequence[Words]) -> bytes | None:
    """A database with one table of these columns, whose rowids go from 1 on. None if that is more than it can hold.

    There is at least one row. ``create`` makes the table: columns of numbers, then columns of texts, none of them the
    rowid or with an index.
    """
    rows = _Rows(numbers, texts)
    if rows.longest >= _MOST_TOLD or len(rows) >= _MOST_ROWS:
        return None
    leaves, last = [], []
    for begin, end in rows.pages():
        leaves.append(_page(_LEAF, b"", rows.written(begin, end), rows.sizes[begin:end]))
        last.append(end)
    if len(leaves) > _MOST_LEAVES:
        return None
    pages = leaves if len(leaves) == 1 else [_above(last), *leaves]
    first = bytearray(_first_page(create))
    first[_COUNT] = (1 + len(pages)).to_bytes(4)
    return b"".join([first, *pages])


@cache
def _first_page(create: str) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        database.execute(f"PRAGMA page_size={_PAGE}").close()
        database.execute(create).close()
        return database.serialize()[:_PAGE]


class _Rows:
    """The rows of a table. ``sizes`` are the bytes of each, ``longest`` is the most that two bytes have to say."""

    def __init__(self, numbers: Sequence[Ints], texts: Sequence[Words]) -> None:
        self.numbers, self.codes = numbers, [words.codes for words in texts]
        self.texts = [[text.encode() for text in words.texts] for words in texts]
        lengths = [np.fromiter(map(len, some), dtype=np.int64, count=len(some)) for some in self.texts]
        self.kinds = [2 * length + _TEXT for length in lengths]
        self.widths = [_width(column) for column in numbers]
        self.front = np.dtype(
            [("size", ">u2"), ("row", ">u4"), ("head", "u1"), *((f"as {n}", "u1") for n in range(len(numbers)))]
            + [(f"text {n}", ">u2") for n in range(len(texts))]
            + [(f"number {n}", f">i{width}") for n, width in enumerate(self.widths)]
        )
        told = zip(lengths, self.codes, strict=True)
        self.sizes: Ints = sum((length[codes] for length, codes in told), np.full(len(self), self.front.itemsize))
        self.longest = max(int(some.max(initial=0)) for some in (self.sizes, *self.kinds))

    def __len__(self) -> int:
        return len(self.numbers[0])

    def pages(self) -> Iterator[tuple[int, int]]:
        """From which row to which one goes into each leaf."""
        ends = np.cumsum(self.sizes + _POINTER)
        begin, used = 0, 0
        while begin < len(self):
            end = int(np.searchsorted(ends, used + _PAGE - _LEAF_HEAD, side="right"))
            yield begin, end
            begin, used = end, int(ends[end - 1])

    def written(self, begin: int, end: int) -> bytes:
        """Some of them as a leaf holds them."""
        front = np.zeros(end - begin, dtype=self.front)
        front["size"] = _two(self.sizes[begin:end] - 6)
        front["row"] = _four(np.arange(begin, end) + 1)
        front["head"] = 1 + len(self.numbers) + 2 * len(self.texts)
        for n, (width, column) in enumerate(zip(self.widths, self.numbers, strict=True)):
            front[f"as {n}"], front[f"number {n}"] = _KINDS[width], column[begin:end]
        every = 1 + len(self.texts)
        found: list[bytes] = [b""] * (every * len(front))
        for n, (texts, kinds, codes) in enumerate(zip(self.texts, self.kinds, self.codes, strict=True)):
            some = codes[begin:end]
            front[f"text {n}"] = _two(kinds[some])
            found[n + 1 :: every] = [texts[code] for code in some.tolist()]
        found[::every] = front.view(f"V{self.front.itemsize}").tolist()
        return b"".join(found)


def _width(numbers: Ints) -> int:
    """In how many bytes each of some numbers can be told."""
    low, high = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    return next(width for width in _KINDS if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)


def _two(numbers: Ints) -> Ints:
    """Two bytes of seven bits each, of which the first says that another one follows."""
    return 0x8000 | (numbers >> 7) << 8 | numbers & 0x7F


def _four(numbers: Ints) -> Ints:
    """Four such bytes."""
    return 0x80800000 | _two(numbers >> 14) << 16 | _two(numbers & 0x3FFF)


def _above(last: Sequence[int]) -> bytes:
    """The page above leaves, of which the last rows are known: of the last one it need not say it."""
    found = np.zeros(len(last) - 1, dtype=_NEXT)
    found["page"] = np.arange(len(found)) + _ROOT + 1
    found["last"] = _four(np.array(last[:-1], dtype=np.int64))
    beyond = (_ROOT + len(last)).to_bytes(4)
    return _page(_ABOVE, beyond, found.tobytes(), np.full(len(found), _NEXT.itemsize))


def _page(kind: int, beyond: bytes, cells: bytes, sizes: Ints) -> bytes:
    """A page: what it is, where its cells begin, and at its end the cells."""
    begin = _PAGE - len(cells)
    head = bytes([kind, 0, 0]) + len(sizes).to_bytes(2) + (begin % _PAGE).to_bytes(2) + b"\0" + beyond
    pointers = (begin + np.cumsum(sizes) - sizes).astype(">u2").tobytes()
    return b"".join([head, pointers, bytes(begin - len(head) - len(pointers)), cells])
