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
from numpy.typing import NDArray

from accounting.reconcile.sweep.columns import Ints


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


def image(create: str, numbers: Sequence[Ints], few: Sequence[Words], own: Words) -> bytes | None:
    """A database with one table of these columns, whose rowids go from 1 on. None if that is more than it can hold.

    There is at least one row. ``create`` makes the table: columns of numbers, of ``few`` different texts, and one of
    texts that nearly each row has for its ``own``; none of them is the rowid or has an index.
    """
    rows = _Rows(numbers, few, own)
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


class _Texts(NamedTuple):
    """A column of texts, or some beside each other, by code: how each is announced, its letters, how many these are.

    ``longest`` is the most that has to be announced.
    """

    codes: Ints
    told: NDArray[np.void]
    letters: Sequence[bytes]
    lengths: Ints
    longest: int


def _alone(words: Words) -> _Texts:
    letters = [*map(str.encode, words.texts)]
    lengths = np.fromiter(map(len, letters), dtype=np.int64, count=len(letters))
    told = 2 * lengths + _TEXT
    codes = words.codes % len(letters)  # -1 is the last one
    return _Texts(codes, _two(told).astype(">u2").view("V2"), letters, lengths, int(told.max()))


def _together(columns: Sequence[Words]) -> _Texts:
    """Columns of few texts, of which few go together: what is in them is joined once."""
    alone = [*map(_alone, columns)]
    sizes = [len(texts.letters) for texts in alone]
    kinds, codes = np.unique(np.ravel_multi_index([texts.codes for texts in alone], sizes), return_inverse=True)
    some = [*zip(alone, np.unravel_index(kinds, sizes), strict=True)]
    told = np.stack([texts.told[which] for texts, which in some], axis=1).view(f"V{2 * len(alone)}")[:, 0]
    letters = zip(*([texts.letters[n] for n in which.tolist()] for texts, which in some), strict=True)
    lengths = np.sum([texts.lengths[which] for texts, which in some], axis=0)
    return _Texts(codes, told, [*map(b"".join, letters)], lengths, max(texts.longest for texts in alone))


class _Rows:
    """The rows of a table. ``sizes`` are the bytes of each, ``longest`` is the most that two bytes have to say."""

    def __init__(self, numbers: Sequence[Ints], few: Sequence[Words], own: Words) -> None:
        self.numbers, self.texts = numbers, (_together(few), _alone(own))
        self.head = 1 + len(numbers) + 2 * len(few) + 2
        self.widths = [_width(column) for column in numbers]
        self.front = np.dtype(
            [("size", ">u2"), ("row", ">u4"), ("head", "u1"), *((f"as {n}", "u1") for n in range(len(numbers)))]
            + [(f"texts {n}", texts.told.dtype) for n, texts in enumerate(self.texts)]
            + [(f"number {n}", f">i{width}") for n, width in enumerate(self.widths)]
        )
        lengths = [texts.lengths[texts.codes] for texts in self.texts]
        self.sizes: Ints = self.front.itemsize + lengths[0] + lengths[1]
        self.longest = max(int(self.sizes.max()), *(texts.longest for texts in self.texts))

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
        front["head"] = self.head
        for n, (width, column) in enumerate(zip(self.widths, self.numbers, strict=True)):
            front[f"as {n}"], front[f"number {n}"] = _KINDS[width], column[begin:end]
        every = 1 + len(self.texts)
        found: list[bytes] = [b""] * (every * len(front))
        for n, texts in enumerate(self.texts):
            codes = texts.codes[begin:end]
            front[f"texts {n}"] = texts.told[codes]
            found[n + 1 :: every] = [texts.letters[code] for code in codes.tolist()]
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
