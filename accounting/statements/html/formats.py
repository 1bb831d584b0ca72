"""Numbers, money and dates as a site writes them: each format is named by an example of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

_SEPARATORS = {
    "1,234.56": (",", "."),
    "1.234,56": (".", ","),
    "1 234,56": ("\u00a0", ","),  # a blank at which no line is broken
    "1 234.56": ("\u00a0", "."),
    "1'234.56": ("'", "."),
    "1234.56": ("", "."),
}
_DATES = {
    "2026-10-31": "%Y-%m-%d",
    "31.10.2026": "%d.%m.%Y",
    "31/10/2026": "%d/%m/%Y",
    "10/31/2026": "%m/%d/%Y",
}


@dataclass(frozen=True, slots=True)
class Formats:
    """How a site writes numbers and dates, each by an example (settings ``statements``), and in which time zone.

    Raises KeyError for an example that is none of the settings'.
    """

    numbers: str = "1,234.56"
    dates: str = "2026-10-31"
    zone: tzinfo = UTC

    def __post_init__(self) -> None:
        _SEPARATORS[self.numbers], _DATES[self.dates]

    def number(self, value: Decimal, places: int, *, signed: bool = False) -> str:
        """A number with so many decimals, rounded half to even; with ``signed`` a plus before what is above zero.

        >>> Formats("1.234,56").number(Decimal("-1234.5"), 2)
        '-1.234,50'
        """
        thousands, point = _SEPARATORS[self.numbers]
        with localcontext(prec=60):
            exact = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        text = f"{abs(exact):,f}".replace(",", "\0").replace(".", point).replace("\0", thousands)
        sign = "" if not exact else "-" if exact < 0 else "+" if signed else ""
        return sign + text

    def date(self, moment: int) -> str:
        """The day of a moment (epoch seconds) in the site's time zone."""
        return datetime.fromtimestamp(moment, self.zone).strftime(_DATES[self.dates])

    def time(self, moment: int) -> str:
        """Day, time and offset from UTC of a moment, as ``2026-11-02 06:10 UTC``."""
        local = datetime.fromtimestamp(moment, self.zone)
        offset = local.strftime("%z")
        return f"{self.date(moment)} {local:%H:%M} " + (f"UTC{offset}" if offset != "+0000" else "UTC")
