"""The oracle of rating: usages x prices -> priced lines, one by one.

amount = charged milliGPU-seconds / 3,600,000 x price per GPU-hour
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR, PriceRule, Rates, RatingError
from exporters.model import Disposition, JobKey, Scheduler
from tests.accounting.plain_lines import Line, Usage

_PERIOD = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_DISPOSITIONS: dict[Disposition | None, int] = {d: n for n, d in enumerate((*Disposition, None))}


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
    """Price corrections (`tests.accounting.plain_usage.corrections`), each with the prices of the month that it
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
        priced.append((usage, then if fitting(usage, then) else rates, month, of))
    return _lines(priced, billing_period)


def _lines(priced: Iterable[tuple[Usage, Rates, str, Usage | None]], billing_period: str) -> list[Line]:
    """Lines of usages, each with its prices, the month that it corrects and its line there, in statement order."""
    lines: dict[str, Line] = {}
    for usage, rates, corrects, of in priced:
        price = amount = rates.zero
        told = ""
        if usage.disposition is Disposition.CHARGED:
            price = price_of(usage, rates)
            told = fitting(usage, rates)[-1].told
            amount = amount_of(usage.charged, price, rates.minor_digits)
        identity = line_id(billing_period, usage, corrects)
        if identity in lines:
            raise RatingError(f"two usages are the same line {identity}: {lines[identity].usage} and {usage}")
        corrected = line_id(corrects, of) if of else ""
        lines[identity] = Line(
            identity, billing_period, usage, price, amount, rates.currency, corrects, corrected, told
        )
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


def fitting(usage: Usage, rates: Rates) -> list[PriceRule]:
    """The rules that fit a usage, with the most columns last."""
    job = usage.job
    of_pods = job is not None and job.scheduler is Scheduler.KUBERNETES
    told = {
        "namespace": usage.account if of_pods else "",
        "queue": usage.partition if of_pods else "",
        "project": usage.project,
        "scheduler": job.scheduler.value if job else "",
        "cluster": job.cluster if job else "",
        "account": usage.account,
        "partition": usage.partition,
        "qos": usage.qos,
        "state": "",
        "user": usage.user,
    }
    found = []
    for rule in rates.rules:
        model = rule.when.get("gpu_model", usage.gpu_model).casefold() == usage.gpu_model.casefold()
        if model and all(told[name] == value for name, value in rule.when.items() if name != "gpu_model"):
            found.append(rule)
    return sorted(found, key=lambda rule: len(rule.when))


def price_of(usage: Usage, rates: Rates) -> Decimal:
    """Price per GPU-hour of one charged usage. Raises `RatingError` for a model without a price."""
    found = fitting(usage, rates)
    if found:
        return found[-1].price
    raise RatingError(f"no price for {usage.gpu_model}")


def amount_of(milligpu_seconds: int, price: Decimal, digits: int) -> Decimal:
    """Money for a quantity, rounded once, half to even, to ``digits`` decimals."""
    return Decimal(minor_units(milligpu_seconds, price, digits)).scaleb(-digits)


def minor_units(milligpu_seconds: int, price: Decimal, digits: int) -> int:
    """Money for a quantity in units of ``10**-digits``, rounded once, half to even."""
    numerator, denominator = price.as_integer_ratio()
    return _half_even(milligpu_seconds * numerator * 10**digits, denominator * MILLIGPU_SECONDS_PER_HOUR)


def _half_even(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` to the nearest integer, half to even. ``denominator`` is positive."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return quotient + (twice > denominator or (twice == denominator and quotient % 2 == 1))
