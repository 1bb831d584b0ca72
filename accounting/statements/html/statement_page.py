"""The statement as one HTML page: of a project, or of the site. No script, nothing from elsewhere, safe for any name.

Whatever comes from outside is made `printable`, and escaped by Jinja where it is printed; the only style there is, is
named by its hash in the page's Content-Security-Policy, and nothing else may load or run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from accounting.statements.compose import Statement
from accounting.statements.csvtext import printable
from accounting.statements.hours import micro_hours
from accounting.statements.html.adding_up import adding_up
from accounting.statements.html.against import Difference, difference
from accounting.statements.html.bars import HEIGHT, WIDTH, months, parts
from accounting.statements.html.figures import Figures, Row, figures
from accounting.statements.html.formats import Formats
from accounting.statements.html.waste import pods_inside
from exporters.model import Disposition

LONGEST_NAME = 120
"""Characters of a name that are shown."""

TREND = 12
"""Months of the trend, this one included."""

_HOUR_PLACES = 1
_MICRO = 1_000_000

MEANINGS = {
    Disposition.CHARGED: "held by a job whose project pays",
    Disposition.RESERVED: "passed on by a slurmd pod or a reservation, with no job inside",
    Disposition.IDLE: "in service, and nobody asked",
    Disposition.DOWN: "drained, down, not ready or in maintenance",
    Disposition.DISPUTED: "claimed by two: nobody pays until it is ruled",
    Disposition.UNKNOWN: "a source could not be read: never billed, never called idle",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a month is final: ``open``, ``closed`` or ``sealed``, when it was closed, and its seal in hexadecimal."""

    state: str = "open"
    closed_at: int | None = None
    seal: str = ""


@dataclass(frozen=True, slots=True)
class MonthSum:
    """A month of the trend: milliGPU-seconds charged and money, by project; corrections are in it."""

    name: str
    currency: str
    charged: Mapping[str, int]
    amounts: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a page says besides its statement. ``months`` are those of the trend before this one, the oldest first.

    ``before`` is the statement of the month right before, None where the books have none; ``unpriced`` is its name
    where they have it and it cannot be priced. ``doubts`` is what sources contradict each other about; only the site's
    page shows it.
    """

    site: str = "site"
    formats: Formats = field(default_factory=Formats)
    standing: Standing = field(default_factory=Standing)
    before: Statement | None = None
    unpriced: str = ""
    months: Sequence[MonthSum] = ()
    doubts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Pages:
    """All pages of a month. ``link`` says where, seen from the site's page, a project's page is."""

    statement: Statement
    around: Surroundings
    inside: pl.DataFrame

    @classmethod
    def of(cls, statement: Statement, around: Surroundings) -> Pages:
        """The pages of a statement that is whole."""
        return cls(statement, around, pods_inside(statement.lines))

    @property
    def projects(self) -> list[str]:
        """The projects that have a page: those of which the statement has a line."""
        return sorted(filter(None, self.statement.lines["project"].unique().cast(pl.String)))

    def site(self, link: Callable[[str], str]) -> str:
        """The site's page."""
        return _rendered(self, self.statement, None, link)

    def project(self, name: str) -> str:
        """The page of a project, which says nothing of any other."""
        return _rendered(self, self.statement.of_projects(name.__eq__), name, lambda _: "")


def _rendered(pages: Pages, statement: Statement, project: str | None, link: Callable[[str], str]) -> str:
    around = pages.around
    found = figures(statement, pages.inside)
    writer = _Writer(statement, around.formats)
    before = around.before
    if before is not None and project is not None:
        before = before.of_projects(project.__eq__)
    comparable = before is not None and before.currency == statement.currency
    earlier = figures(before, pages.inside) if before is not None and comparable else None
    against = difference(found.cost, earlier.cost) if earlier else None
    told: dict[str, Any] = {
        "site": around.site,
        "project": project,
        "period": statement.billing_period,
        "statement": statement,
        "around": around,
        "found": found,
        "earlier": earlier,
        "before": before,
        "diff": against,
        "why": _why(against, writer) if against else [],
        "w": writer,
        "trend": _trend(around, statement, found, project, writer),
        "words": _words(found, writer),
        "meanings": {word.value: text for word, text in MEANINGS.items()},
        "link": link,
        "width": WIDTH,
        "height": HEIGHT,
    }
    style = Markup(_style())  # noqa: S704 - our own style sheet
    return _template().render(**told, style=style, style_hash=_hash(style))


def _why(parts_: Difference, writer: _Writer) -> list[tuple[str, str, int]]:
    """The parts of a difference: what each is called, what it means, and minor units."""
    more = "More" if parts_.hours > 0 else "Fewer"
    dearer = "Dearer" if parts_.models > 0 else "Cheaper"
    rows = [(f"{more} GPU-hours", "at last month's average price", parts_.hours)]
    rows.append((f"{dearer} GPU models", "a larger part of the hours was on them", parts_.models))
    for model, minor in parts_.prices.items():
        word = "Higher" if minor > 0 else "Lower"
        rows.append((f"{word} price of {writer.name(model)}", "what was paid for the same hours", minor))
    rows.append(
        (
            "Rounding of lines",
            "each line is rounded once; and what nobody used, where that is paid for",
            parts_.rounding,
        )
    )
    rows.append(("Corrections of closed months", "booked in this month, less those of last month", parts_.corrections))
    return [row for row in rows if row[2]]


def _trend(
    around: Surroundings, statement: Statement, found: Figures, project: str | None, writer: _Writer
) -> Mapping[str, Any]:
    """The months, this one last: bars, and rows of name, hours (millionths), money and currency."""
    rows: list[tuple[str, int, Decimal, str]] = []
    for month in around.months[-(TREND - 1) :]:
        hours = sum(month.charged.values()) if project is None else month.charged.get(project, 0)
        money = month.amounts.values() if project is None else [month.amounts.get(project, Decimal(0))]
        rows.append((month.name, micro_hours(hours), sum(money, Decimal(0)), month.currency))
    now = found.charged.micro + sum(row.micro for row in found.corrections)
    rows.append((statement.billing_period, now, writer.worth(found.minor), statement.currency))
    bars = months(
        [
            (
                name,
                int(amount.scaleb(statement.minor_digits)) if currency == statement.currency else None,
                f"{name}: {writer.money(amount)} {currency}, {writer.hours(hours)} GPU-hours",
            )
            for name, hours, amount, currency in rows
        ]
    )
    return {"bars": bars, "rows": rows}


def _words(found: Figures, writer: _Writer) -> Mapping[str, Any]:
    """Where the capacity went: rows of word, hours (millionths), and the bar."""
    rows = [(word, found.words.get(word, 0)) for word in Disposition]
    whole = sum(micro for _, micro in rows)
    bar = parts([(w.value, m, f"{w.value}: {writer.hours(m)} GPU-hours, {writer.share(m, whole)}") for w, m in rows])
    return {"rows": [(word.value, micro) for word, micro in rows], "whole": whole, "bar": bar}


@dataclass(frozen=True, slots=True)
class _Writer:
    """Figures as the site writes them."""

    statement: Statement
    formats: Formats

    def name(self, text: str) -> str:
        """A name from outside, on one line, and not without end."""
        plain = printable(text)
        return plain if len(plain) <= LONGEST_NAME else plain[: LONGEST_NAME - 1] + "\u2026"

    def worth(self, minor: int) -> Decimal:
        """Minor units as money."""
        return Decimal(minor).scaleb(-self.statement.minor_digits)

    def money(self, amount: Decimal | int, *, signed: bool = False) -> str:
        """Money, or minor units of it."""
        exact = self.worth(amount) if isinstance(amount, int) else amount
        return self.formats.number(exact, self.statement.minor_digits, signed=signed)

    def price(self, row: Row) -> str:
        """What a GPU-hour of a row cost on average."""
        if row.micro <= 0:
            return ""
        price = self.worth(row.minor) * _MICRO / row.micro
        return self.formats.number(price, max(self.statement.minor_digits, 2))

    def hours(self, micro: int, *, signed: bool = False) -> str:
        """Millionths of a GPU-hour as hours."""
        return self.formats.number(Decimal(micro) / _MICRO, _HOUR_PLACES, signed=signed)

    def hours_of(self, quantity: int | None) -> str:
        """milliGPU-seconds as hours."""
        return "unknown" if quantity is None else self.hours(micro_hours(quantity))

    def column(self, micros: Sequence[int]) -> list[str]:
        """Hours of rows so that what is printed adds up to the printed total."""
        unit = _MICRO // 10**_HOUR_PLACES
        exact = [Fraction(micro, unit) for micro in micros]
        total = round(sum(exact, Fraction(0)))
        return [self.hours(part * unit) for part in adding_up(exact, total)]

    def total(self, micros: Sequence[int]) -> str:
        """The total of such a column."""
        return self.hours(sum(micros))

    def share(self, part: int, whole: int) -> str:
        """A part of a whole in percent."""
        return f"{self.formats.number(Decimal(part * 100) / whole, 1)} %" if whole else ""

    def percent(self, text: str | None) -> str:
        """A part between 0 and 1, as measured."""
        return "unknown" if text is None else f"{self.formats.number(Decimal(text) * 100, 0)} %"

    def kwh(self, text: str | None) -> str:
        """Energy, as measured."""
        return "unknown" if text is None else self.formats.number(Decimal(text), 1)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files(__package__).joinpath("statement.template.html").read_text("utf-8"))


@cache
def _style() -> str:
    return files(__package__).joinpath("statement.css").read_text("utf-8")


def _hash(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
