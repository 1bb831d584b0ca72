r"""CSV as finance receives it: RFC 4180, UTF-8 without a mark, lines end in CRLF, and no cell is a formula.

Names are hostile input: whoever submits a job chooses its name, and a spreadsheet runs a cell that begins with ``=``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

import polars as pl

from accounting.statements.categories import mapped

TEXT_LIMIT = 1024
"""A name longer than this is cut, with an ellipsis at its end (a spreadsheet refuses cells above 32,767)."""

# wherever a spreadsheet of some country splits a line: there a quotation mark or a blank hides nothing, either
_FORMULA = re.compile(r"""(?:^|(?<=[,;|]))(?=[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20])""")
# Control characters, line and paragraph separators, marks that reorder or hide text, and bytes that were not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_ORDINARY = r"^(?:[0-9A-Za-z_][0-9A-Za-z_ .:/@-]{0,254})?$"  # what nearly every name is: nothing is to be done to it
_is_ordinary = re.compile(_ORDINARY.removeprefix("^").removesuffix("$")).fullmatch
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(value: str) -> str:
    r"""Make a name one line of valid UTF-8 that looks like what it is, at most `TEXT_LIMIT` characters.

    Control characters and marks that reorder or hide text become escapes (``\n``, ``\x1b``, ``\u202e``), and a byte
    that was not UTF-8 (decoded with surrogateescape) ``\xff``.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    plain = value if value.isprintable() else _UNPRINTABLE.sub(_escape, value)
    return plain if len(plain) <= TEXT_LIMIT else plain[: TEXT_LIMIT - 1] + "\u2026"


def text(value: str) -> str:
    """Turn a name into a cell that is `printable` and never a formula.

    A cell that begins with ``=``, ``+``, ``-`` or ``@`` (also full-width, also after blanks) gets a leading
    apostrophe, which spreadsheets read as "this is text"; a leading tab or line break is an escape already. So does
    what follows a comma or a semicolon within the name: a spreadsheet may split there, by its country.

    >>> text("a;=1+1;b")
    "a;'=1+1;b"
    >>> text("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"
    """
    if _is_ordinary(value):
        return value
    plain = printable(value)
    return _FORMULA.sub("'", plain)


def cell(value: str) -> str:
    """Turn a name into a cell as a line of CSV has it: `text`, in quotation marks where it needs them."""
    safe = text(value)
    return '"' + safe.replace('"', '""') + '"' if "," in safe or '"' in safe else safe


def safe(names: pl.Series, rule: Callable[[str], str]) -> pl.Series:
    """What ``rule``, which is `cell`, `text` or `printable`, makes of many names."""
    if names.dtype != pl.String:
        return mapped(names, rule)
    odd = names.filter(~names.str.contains(_ORDINARY)).unique()
    return names.replace(odd, [rule(name) for name in odd]) if len(odd) else names


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a CSV file, the header first. Cells are ready: names went through `text`."""
    echo = _Echo()
    writer = csv.writer(echo, lineterminator="\r\n")
    for row in chain((header,), rows):
        writer.writerow(row)
        yield echo.line


class _Echo:
    """Gives `csv.writer` somewhere to write, and keeps the line."""

    line = ""

    def write(self, line: str) -> None:
        self.line = line


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return _SHORT.get(char) or (f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}")
