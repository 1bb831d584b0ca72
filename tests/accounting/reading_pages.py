"""A statement's page read back as whoever gets it reads it: with the standard library's parser of HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}
HARMLESS = frozenset(
    "html head body meta title style header main section h1 h2 p dl dt dd div table caption thead tbody tfoot "
    "tr th td data bdi code small br i b span a ul li svg rect line text".split()
)
"""The tags of the template: none of them loads or runs anything."""


@dataclass
class Cell:
    tag: str
    text: str = ""
    values: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """Its tables by the id of their section or their own, each as rows of cells; and everything that stands in tags."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[list[Cell]]]] = {}
        self.text = ""
        self.owed = ""
        self._open: list[str] = []
        self._where = ""
        self._cell: Cell | None = None
        self._part = ""
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append((tag, told))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "section":
            self._where = told.get("id") or ""
        elif tag == "table":
            self.tables.setdefault(told.get("id") or self._where, []).append([])
        elif tag == "tr":
            self._table().append([])
        elif tag in ("td", "th"):
            self._cell = Cell(tag)
            self._table()[-1].append(self._cell)
        elif tag == "data":
            value = told.get("value") or ""
            if self._cell:
                self._cell.values.append(value)
            elif not self.owed:
                self.owed = value

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self._open.pop()
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if self._cell:
            self._cell.text += data

    def _table(self) -> list[list[Cell]]:
        return next(reversed(self.tables.values()))[-1] if self.tables else []

    def amounts(self, where: str, number: int = 0) -> list[Decimal]:
        """The money of a table's rows: the last one is its total, where it has one."""
        rows = self.tables[where][number][1:]
        return [Decimal(cell.values[0]) for row in rows for cell in row if cell.values]


def number(text: str) -> Decimal:
    """A number as the default format prints it."""
    return Decimal(text.replace(",", "").replace("+", ""))
