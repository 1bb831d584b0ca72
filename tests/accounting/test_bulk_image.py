"""A table written out as the bytes of a database: SQLite finds in it what was put in, and nothing wrong with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.bulk import image as made
from accounting.bulk.image import Words, image

TABLE = "CREATE TABLE rows (one, other, text, more, own)"

NUMBERS = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([s * (1 << bits) + d for s in (-1, 1) for bits in (0, 7, 15, 31) for d in (-1, 0)]),
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["", "a" * 57, "a" * 58, "é☃" * 40, "a" * 4000]),
)


def rows_of(database: bytes) -> list[Any]:
    """The rows of a table by rowid, after SQLite has looked for faults."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute("SELECT rowid, * FROM rows ORDER BY rowid").fetchall()


def written(numbers: list[tuple[int, int]], texts: list[tuple[str, str, str]]) -> bytes | None:
    """The image of some rows. Of each column the last text has the code -1."""
    columns = [np.array([row[n] for row in numbers], dtype=np.int64) for n in range(2)]
    words = [sorted({row[n] for row in texts}) for n in range(3)]
    codes = [np.array([some.index(row[n]) for row in texts], dtype=np.int64) for n, some in enumerate(words)]
    *few, own = (Words(some, np.where(c == len(some) - 1, -1, c)) for some, c in zip(words, codes, strict=True))
    return image(TABLE, columns, few, own)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS, TEXTS, TEXTS), min_size=1, max_size=60))
def test_sqlite_reads_what_was_written(rows: list[tuple[int, int, str, str, str]]) -> None:
    database = written([row[:2] for row in rows], [row[2:] for row in rows])

    assert database is not None
    assert rows_of(database) == [(n, *row) for n, row in enumerate(rows, start=1)]


@pytest.mark.parametrize("size", [0, 11, 700, 8_000])
def test_rows_of_any_size_fill_as_many_pages_as_they_need(size: int) -> None:
    count = 20_000 if size < 100 else 300
    rows = [(n, -n) for n in range(count)]
    database = written(rows, [("a" * size, str(n % 7), str(n)) for n in range(count)])

    assert database is not None
    assert rows_of(database) == [(n + 1, n, -n, "a" * size, str(n % 7), str(n)) for n in range(count)]
    assert len(database) < 2.2 * count * (size + 25) + 3 * (1 << 16)


def test_a_row_too_long_is_refused() -> None:
    assert written([(1, 2)], [("a" * 8185, "a" * 8100, "a")]) is not None
    assert written([(1, 2)], [("a" * 8186, "", "")]) is None
    assert written([(1, 2)], [("", "", "a" * 8186)]) is None
    assert written([(1, 2)], [("a" * 8185, "a" * 8185, "a")]) is None


def test_more_pages_than_one_can_tell_of_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "_MOST_LEAVES", 3)
    fits, beyond = ([("a" * 8_000, "", "")] * count for count in (24, 25))

    assert written([(1, 2)] * 24, fits) is not None
    assert written([(1, 2)] * 25, beyond) is None
