"""CSV cells: hostile names become text, and a strict reader gets back what was written."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.statements.csvtext import TEXT_LIMIT, cell, csv_lines, printable, text

HOSTILE = st.text(
    st.sampled_from("a=+-@\t\r\n ,\"'＝＋－＠\u200b\u202e\x00\x7f\x85\u2028\udc80\udcff\ud800é"), max_size=10
)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("resnet50", "resnet50"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("＝1+1", "'＝1+1"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("a=b", "a=b"),
        ("two\nlines", r"two\nlines"),
        ("bell\x07", r"bell\x07"),
        ("exe\u202efdp", r"exe\u202efdp"),
        ("next\x85line", r"next\x85line"),
        ("not utf-8 \udcff", r"not utf-8 \xff"),
        ("not utf-8 \udc80", r"not utf-8 \x80"),
        ("neither \udc7f nor \udd00", r"neither \udc7f nor \udd00"),
        ("lone \ud800", r"lone \ud800"),
        ("Zürich 東京 😀", "Zürich 東京 😀"),
        ("", ""),
    ],
)
def test_a_name_becomes_a_cell_that_is_text(name: str, cell: str) -> None:
    assert cell == text(name)


def test_a_long_name_is_cut_and_says_so() -> None:
    cut = printable("x" * (TEXT_LIMIT + 1))

    assert "x" * (TEXT_LIMIT - 1) + "…" == cut


def test_a_name_of_the_limit_is_whole() -> None:
    assert "x" * TEXT_LIMIT == printable("x" * TEXT_LIMIT)


@given(HOSTILE)
def test_no_cell_is_a_formula_or_more_than_one_line_of_utf8(name: str) -> None:
    cell = text(name)

    assert cell.strip(" ")[:1] not in tuple("=+-@＝＋－＠")
    assert cell.isprintable()
    assert cell == cell.encode("utf-8").decode("utf-8")


@given(st.lists(st.lists(HOSTILE, min_size=2, max_size=4), max_size=4))
def test_a_strict_reader_gets_back_what_was_written(names: list[list[str]]) -> None:
    rows = [[text(name) for name in row] for row in names]

    written = "".join(csv_lines(["a", "b"], rows))

    assert [["a", "b"], *rows] == list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert len(rows) + 1 == written.count("\r\n") == written.count("\n")


@pytest.mark.parametrize("name", ["plain", "a,b", 'say "hi"', 'a,"b"', "=1,2", "", " a", "-"])
def test_a_cell_is_as_a_line_of_csv_has_it(name: str) -> None:
    (_, line) = csv_lines(["a", "b"], [[text(name), "x"]])

    assert line == cell(name) + ",x\r\n"


@given(st.text("a=+-@,;| \t\n\"'\uff1d", max_size=12))
def test_no_part_begins_a_formula_wherever_a_spreadsheet_splits(name: str) -> None:
    parts = re.split(r"[,;|\t\r\n]", cell(name))

    assert [] == [part for part in parts if re.match(r"[\s\"]*[=+\-@\uff1d]", part)]


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("a;=1+1;b", "a;'=1+1;b"),
        ("a, =1", "a,' =1"),
        ('a;"=1"', 'a;\'"=1"'),
        ("lr=0.1;batch-8", "lr=0.1;batch-8"),
        ("=a;@b", "'=a;'@b"),
    ],
)
def test_a_part_of_a_name_that_would_be_a_formula_is_text(name: str, printed: str) -> None:
    assert printed == text(name)


_NAMES = st.text("a=+-@,;|1 \t\r\n\"'\uff1d\u2028\u00a0", max_size=12)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def _cells(line: str) -> list[str]:
    """Every cell that some spreadsheet makes of a line: split at whatever it splits at, with quotation marks or not."""
    split = [part for separator in ",;|\t" for part in csv.reader([line], delimiter=separator)]
    return [*(cell for cells in split for cell in cells), *re.split(r"[,;|\t\r\n\u2028]", line)]


@given(st.lists(_NAMES, min_size=1, max_size=4), st.sampled_from(["-1.50", "2026-10", "0"]))
def test_no_cell_of_a_line_begins_a_formula_in_any_country(names: list[str], number: str) -> None:
    (line,) = list(csv_lines(["2026-10", *map(text, names), number], []))

    begun = [c for c in _cells(line.removesuffix("\r\n")) if re.match(r"[\s\"]*[=+\-@\uff1d]", c)]
    assert [] == [c for c in begun if not _NUMBER.fullmatch(c)]
