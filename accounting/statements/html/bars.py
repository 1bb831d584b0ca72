"""Charts as inline SVG, drawn from whole numbers: a bar for each month, and one bar in parts. Jinja escapes texts.

Nothing here is drawn with a colour of its own: classes of the page's style sheet say it, so that it fits light, dark
and paper. Every bar has a title that says what it is; the same figures stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

WIDTH, HEIGHT = 720, 150
"""Of the chart of months, in units of its own."""

_GAP = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with what it is called and what it says; ``css`` is its class."""

    x: float
    y: float
    width: float
    height: float
    name: str
    title: str
    css: str = ""


def months(values: Sequence[tuple[str, int | None, str]], places: int = 12) -> list[Bar]:
    """A bar for each month ``(name, value, title)``; the last one is this month. None and below 0 is no bar."""
    top = max((value for _, value, _ in values if value), default=0)
    wide = Fraction(WIDTH, places)
    bars = []
    for n, (name, value, title) in enumerate(values):
        tall = Fraction(max(value or 0, 0) * HEIGHT, top) if top > 0 else Fraction(0)
        css = "now" if n == len(values) - 1 else ""
        x = float(wide * (places - len(values) + n) + Fraction(_GAP, 2))
        bars.append(
            Bar(
                round(x, 2), round(float(HEIGHT - tall), 2), round(float(wide - _GAP), 2), _size(tall), name, title, css
            )
        )
    return bars


def parts(values: Sequence[tuple[str, int, str]]) -> list[Bar]:
    """One bar in parts ``(css, value, title)``, as wide as the chart; what is nothing is left out."""
    whole = sum(value for _, value, _ in values)
    found, x = [], Fraction(0)
    for css, value, title in values:
        if value <= 0 or whole <= 0:
            continue
        wide = Fraction(value * WIDTH, whole)
        found.append(Bar(round(float(x), 2), 0, _size(wide), 28, css, title, css))
        x += wide
    return found


def _size(length: Fraction) -> float:
    return round(float(length), 2)
