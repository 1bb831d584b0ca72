"""Rating: usages x prices -> priced lines. Pure, exact, and the same for ever.

    amount = charged milliGPU-seconds / 3,600,000 x price per GPU-hour

computed in integers and rounded **once**, at the end, to the currency's minor unit, half to even: over many thousand
lines that has no bias upwards or downwards, and a reversed line is exactly the negative of the line it reverses.
Only the disposition ``charged`` is priced; every other line has price 0 and amount 0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from accounting.model import Line, Usage
from exporters.errors import EXIT_USAGE, OperatorError
from exporters.model import MILLI_PER_GPU, Disposition, JobKey

MILLIGPU_SECONDS_PER_HOUR = 3600 * MILLI_PER_GPU
"""milliGPU-seconds in one GPU-hour."""

_MINOR_DIGITS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
"""ISO 4217's currencies whose minor unit is not a hundredth, and its decimals."""

_PERIOD = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_CURRENCY = re.compile(r"[A-Z]{3}")
_DISPOSITIONS: dict[Disposition | None, int] = {d: n for n, d in enumerate((*Disposition, None))}


class RatingError(OperatorError):
    """A usage could not be priced, or the prices make no sense. The message names what, and the key to mend."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class Rates:
    """A flat price per GPU-hour for each GPU model, in one currency (the settings' section ``rates``).

    ``gpu_hour`` maps a GPU model (letter case does not matter) to its price; ``default`` is the price of every model
    not listed, None when such a model is an error. ``currency`` is an ISO 4217 code.
    Raises `RatingError` for a price that is negative, not finite or not a `Decimal`.
    """

    gpu_hour: Mapping[str, Decimal]
    currency: str = "EUR"
    default: Decimal | None = None
    _folded: Mapping[str, Decimal] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _CURRENCY.fullmatch(self.currency):
            raise RatingError(f"rates.currency: {self.currency!r} is no ISO 4217 code (three capitals: EUR)")
        if self.default is not None:
            _check_price("rates.default", self.default)
        folded: dict[str, Decimal] = {}
        for model, price in self.gpu_hour.items():
            _check_price(f"rates.gpu_hour.{model}", price)
            if model.casefold() in folded:
                raise RatingError(f"rates.gpu_hour.{model}: the same model twice, in other letter case; keep one")
            folded[model.casefold()] = price
        object.__setattr__(self, "_folded", folded)

    @property
    def minor_digits(self) -> int:
        """Decimals of the currency: 2 for EUR, 0 for JPY, 3 for KWD."""
        return _MINOR_DIGITS.get(self.currency, 2)

    def has_price(self, model: str) -> bool:
        """Whether a model has a price."""
        return self.default is not None or model.casefold() in self._folded

    def price(self, usage: Usage) -> Decimal:
        """Price per GPU-hour of one charged usage. Raises `RatingError` for a model without a price."""
        price = self._folded.get(usage.gpu_model.casefold(), self.default)
        if price is not None:
            return price
        who = f" (job {usage.job})" if usage.job else ""
        model = usage.gpu_model
        if not model:
            raise RatingError(f"no price for cards of unknown model{who}: set rates.default")
        raise RatingError(f"no price for GPU model {model!r}{who}: add rates.gpu_hour.{model}, or set rates.default")

    def amount(self, milligpu_seconds: int, price: Decimal) -> Decimal:
        """Money for a quantity, rounded once, half to even, to ``minor_digits`` decimals."""
        return Decimal(minor_units(milligpu_seconds, price, self.minor_digits)).scaleb(-self.minor_digits)

    @property
    def zero(self) -> Decimal:
        """No money, with the currency's decimals."""
        return Decimal(0).scaleb(-self.minor_digits)


def rate(usages: Iterable[Usage], rates: Rates, billing_period: str) -> list[Line]:
    """Price the usages of one billing period (``2026-10``); the lines come in statement order (`line_order`).

    Raises `RatingError` for a malformed period, a charged model without a price, and for two usages that would be the
    same line: a caller that hands over one usage twice must not make anybody pay twice.
    """
    if not _PERIOD.fullmatch(billing_period):
        raise RatingError(f"billing period {billing_period!r} is not a month (YYYY-MM, as 2026-10)")
    return _lines(((usage, rates, "", None) for usage in usages), billing_period)


def rate_corrections(
    found: Iterable[tuple[str, Usage, Usage | None]], rates_of: Mapping[str, Rates], rates: Rates, billing_period: str
) -> list[Line]:
    """Price corrections (`accounting.statements.usage.corrections`), each with the prices of the month that it
    corrects.

    Of each: that month, the usage, and what the line that it corrects is named by; None where there is no such line.

    ``rates_of`` are those prices by month; a model that had no price then has that of ``rates``, the statement's own.
    Raises `RatingError` like `rate`, and when a month was priced in another currency: the two cannot be added up.
    """
    priced = []
    for month, usage, of in found:
        then = rates_of[month]
        if then.currency != rates.currency:
            raise RatingError(
                f"rates.currency: {billing_period} corrects {month}, which was closed in {then.currency}, and "
                f"{rates.currency} cannot be added to it: set rates.currency back to {then.currency}"
            )
        priced.append((usage, then if then.has_price(usage.gpu_model) else rates, month, of))
    return _lines(priced, billing_period)


def _lines(priced: Iterable[tuple[Usage, Rates, str, Usage | None]], billing_period: str) -> list[Line]:
    """Lines of usages, each with its prices, the month that it corrects and its line there, in statement order."""
    lines: dict[str, Line] = {}
    for usage, rates, corrects, of in priced:
        price = amount = rates.zero
        if usage.disposition is Disposition.CHARGED:
            price = rates.price(usage)
            amount = rates.amount(usage.charged, price)
        identity = line_id(billing_period, usage, corrects)
        if identity in lines:
            raise RatingError(f"two usages are the same line {identity}: {lines[identity].usage} and {usage}")
        corrected = line_id(corrects, of) if of else ""
        lines[identity] = Line(identity, billing_period, usage, price, amount, rates.currency, corrects, corrected)
    return sorted(lines.values(), key=line_order)


def line_id(billing_period: str, usage: Usage, corrects: str = "") -> str:
    """Name a line: 80 bits of SHA-256 over what it is about, not over how much it came to.

    So a late record changes a line's amount but not its name, and the order of lines does not matter. It begins with
    a letter lest a spreadsheet read it as a number. ``corrects`` is the month that a correction corrects.
    """
    word = usage.disposition.value if usage.disposition else ""
    of = (billing_period, corrects) if corrects else (billing_period,)
    what = (*of, usage.project, *_names(usage.job), usage.gpu_model, word, *_names(usage.linked))
    text = "".join([f"{len(part)}:{part}," for part in what])  # lengths, so that no two identities read the same
    return "L" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _names(job: JobKey | None) -> tuple[str, str, str]:
    return (job.scheduler.value, job.cluster, job.id) if job else ("", "", "")


def line_order(line: Line) -> tuple[str, bool, str, tuple[str, str], int, str, str, int, str]:
    """Sort key of a statement: the month's own lines, then corrections, the oldest month first.

    In each, jobs before nobody's time, then project, scheduler, cluster, start, job, model, word.
    """
    usage, job = line.usage, line.usage.job
    return (
        line.corrects,
        job is None,
        usage.project,
        (job.scheduler.value, job.cluster) if job else ("", ""),
        usage.start if job else 0,
        job.id if job else "",
        usage.gpu_model,
        _DISPOSITIONS[usage.disposition],
        line.line_id,
    )


def _check_price(key: str, price: Decimal) -> None:
    if not isinstance(price, Decimal):
        raise RatingError(f"{key}: {price!r} is a {type(price).__name__}; money is Decimal, never float")
    if not price.is_finite() or price < 0:
        raise RatingError(f"{key}: {price} is no price; it must be 0 or more")


def minor_units(milligpu_seconds: int, price: Decimal, digits: int) -> int:
    """Money for a quantity in units of ``10**-digits``, rounded once, half to even."""
    numerator, denominator = price.as_integer_ratio()
    return _half_even(milligpu_seconds * numerator * 10**digits, denominator * MILLIGPU_SECONDS_PER_HOUR)


def _half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` to the nearest integer, half to even. ``denominator`` is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))
