"""What finance asks of prices: does everything have one, what would others change, why is this the amount."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from accounting.rates.allocations import SU, Account, Month, accounts
from accounting.rates.card_files import cards_of, grants, rate_cards
from accounting.rates.pricing import Priced
from accounting.rates.rate_cards import RateCards
from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR, SU_DIGITS, Rates, RatingError, Rule, money
from accounting.site import book
from accounting.site.known_months import known_month, month_names
from accounting.site.line_questions import line_found
from accounting.statements.hours import hours_text, micro_hours, units_text
from accounting.statements.lines import Cards
from accounting.statements.month import Named, month_faults, month_sums
from accounting.store.calendar import period_named
from exporters.config import Config

SETTINGS = "settings"
"""How the prices of the settings are called where a card is asked for."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of a month's prices found: ``faults``, or how many lines each price gives, and rules without any."""

    faults: list[str]
    lines: dict[str, int]
    unused: list[str]


def check(config: Config, name: str) -> Checked:
    """Whether every charged line of a month has exactly one price."""
    with book.opened(config) as engine:
        period = known_month(engine, name, book.zone(config))
        at = book.prices(config, engine, period)
        faults, lines = month_faults(engine, period, at.cards)
    used = {word for told in lines for word in told.split(" x ")}
    rules: list[Rule] = [*at.rates.rules, *at.rates.factors]
    return Checked(faults, lines, [rule.key for rule in rules if rule.told not in used] if not faults else [])


@dataclass(frozen=True, slots=True)
class Difference:
    """What a project pays for a month with one card and with another, as text: money, or service units beside it."""

    project: str
    one: str
    other: str
    more: str


def difference(config: Config, one: str, other: str, name: str) -> tuple[str, list[Difference]]:
    """What a month would come to with the prices of two files (or of the settings): its currency, and by project.

    The last row is all of them together. Corrections of closed months have the prices of these, with either.
    """
    with book.opened(config) as engine:
        period = known_month(engine, name, book.zone(config))
        at = book.prices(config, engine, period)
        both = [_of(config, text).of(period.name, period.start, period.end) for text in (one, other)]
        if both[0].currency != both[1].currency:
            raise RatingError(f"{one} is in {both[0].currency}, {other} in {both[1].currency}: they cannot be compared")
        a, b = (month_sums(engine, period, Cards(rates, at.earlier)) for rates in both)
    digits = both[0].minor_digits
    rows = []
    for project in sorted({*a.amounts, *b.amounts}):
        was, now = a.amounts.get(project, a.zero), b.amounts.get(project, b.zero)
        rows.append(Difference(project, *(money(m, digits) for m in (was, now, now - was))))
    whole = (money(m, digits) for m in (a.amount, b.amount, b.amount - a.amount))
    rows.append(Difference("all together", *whole))
    if a.units or b.units:
        units = [sum(s.units.values()) for s in (a, b)]
        rows.append(Difference("all together, SU", *map(units_text, (*units, units[1] - units[0]))))
    return both[0].currency, rows


def _of(config: Config, text: str) -> RateCards:
    if text == SETTINGS:
        return rate_cards(config, book.zone(config))
    return cards_of([text], config, book.zone(config))


def explain(config: Config, line_id: str, name: str | None) -> Iterator[str]:
    """By which price and factors a line came to its amount, and the arithmetic, line by line."""
    with book.opened(config) as engine:
        month, at, found = line_found(config, engine, line_id, name)
    yield from _told(line_id, month, found, at.rates)


def _told(line_id: str, month: str, line: Named, rates: Rates) -> Iterator[str]:
    u = line.usage
    yield f"{line_id} of {month}" + (f", a correction of {line.corrects}" if line.corrects else "")
    yield f"  project {u.project or '-'}, {u.job or 'nobody'}, {u.gpu_model or 'unknown model'}"
    for start, end in line.spans:
        yield f"  used between {_at(start)} and {_at(end)}"
    if line.price is None:
        word = u.disposition.value if u.disposition else "counted on another line"
        yield f"  it is {word}, and only charged time has a price: 0 {rates.currency}"
        return
    yield f"  charged {hours_text(micro_hours(u.charged))} GPU-hours = {u.charged} milliGPU-seconds / 3600000"
    yield from _rules(line.price, rates.currency, rates.minor_digits)
    exact = Decimal(u.charged) * line.price.price / MILLIGPU_SECONDS_PER_HOUR
    yield (
        f"  amount {u.charged} / 3600000 x {money(line.price.price, rates.minor_digits)} = {exact.normalize():f}, "
        f"rounded once, half to even: {money(line.amount, rates.minor_digits)} {rates.currency}"
    )
    if line.price.su is not None and line.micro_su is not None:
        yield f"  service units {u.charged} / 3600000 x {line.price.su:f} = {units_text(line.micro_su)} SU"


def _rules(price: Priced, currency: str, digits: int) -> Iterator[str]:
    rule = price.rule
    worth = [] if rule.su is None else [f"{rule.su:f} SU"]
    worth.append(f"{money(rule.worth, digits)} {currency}")
    yield f"  price {', '.join(worth)} per GPU-hour: {rule.told}{_where(rule)}"
    for factor in price.factors:
        yield f"  times {factor.worth:f}: {factor.name}{_where(factor)}"


def _where(rule: Rule) -> str:
    """What a rule looks at, and where it is set."""
    when = ", ".join(f"{n} {v if isinstance(v, str) else ' or '.join(v)}" for n, v in rule.when.items())
    return f" ({when or 'everything else'}; {rule.key})"


def _at(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


def allocations(config: Config) -> list[Account]:
    """Every project's grants, and how far they are drawn by the months that were booked, open ones as they stand."""
    where = book.zone(config)
    granted = grants(config, where)
    found = []
    with book.opened(config) as engine:
        for name in month_names(engine):
            period = period_named(name, where)
            if not any(grant.valid_from < period.end and period.start < grant.valid_to for grant in granted):
                continue
            at = book.prices(config, engine, period)
            sums = month_sums(engine, period, at.cards)
            charged = {(project, at.rates.currency): amount for project, amount in sums.amounts.items()}
            charged.update({(p, SU): Decimal(micro).scaleb(-SU_DIGITS) for p, micro in sums.units.items()})
            found.append(Month(name, period.start, period.end, charged))
    return list(accounts(granted, found))


def account_rows(config: Config, now: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """For each grant and for what is beyond: project, grant, unit, granted, used, left, state; and who overdrew."""
    where, rows, wrong = book.zone(config), [], []
    for account in allocations(config):
        for balance in account.balances:
            g, until = balance.grant, datetime.fromtimestamp(balance.grant.valid_to, where).date()
            state = f"lost on {until}" if balance.expired(now) and balance.left else f"until {until}"
            numbers = (_number(n) for n in (g.amount, balance.used, balance.left))
            rows.append((account.project, g.name, account.unit, *numbers, state))
        if over := sum(account.over.values(), Decimal()):
            rows.append((account.project, "beyond all grants", account.unit, "", _number(over), "", ""))
        if account.overdrawn:
            wrong.append(f"{account.project} used {_number(over)} {account.unit} more than was granted")
    return rows, wrong


def _number(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
