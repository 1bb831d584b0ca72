"""What finance asks of prices: does everything have one, what would others change, what is left of a grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounting.periods.closing import period_state
from accounting.rates.allocations import SU, Account, Month, accounts
from accounting.rates.card_files import cards_of, grants, rate_cards
from accounting.rates.rate_cards import RateCards
from accounting.rates.rating import SU_DIGITS, RatingError, Rule, money
from accounting.site import book
from accounting.site.known_months import known_month, month_names
from accounting.statements.hours import units_text
from accounting.statements.lines import Cards
from accounting.statements.month import month_faults, month_sums
from accounting.store.calendar import period_named
from exporters.config import Config

SETTINGS = "settings"
"""How the prices of the settings are called where a card is asked for."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of a month's prices found: ``faults``, or how many lines each price gives, and rules without any.

    ``stands`` says of a closed month that it is the prices that it keeps that were checked.
    """

    faults: list[str]
    lines: dict[str, int]
    unused: list[str]
    stands: str = ""


def check(config: Config, name: str) -> Checked:
    """Whether every charged line of a month has exactly one price."""
    with book.opened(config) as engine:
        period = known_month(engine, name, book.zone(config))
        at = book.prices(config, engine, period)
        faults, lines = month_faults(engine, period, at.cards)
    used = {word for told in lines for part in told.split(" x ") for word in part.split(" + ")}
    rules: list[Rule] = [*at.rates.rules, *at.rates.factors]
    unused = [rule.key for rule in rules if rule.told not in used] if not faults else []
    stands = f"{name} is closed and keeps the prices that it was closed with: these were checked, not the settings'"
    return Checked(faults, lines, unused, stands if at.closed else "")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a project pays for a month with one card and with another, as text: money, or service units beside it."""

    project: str
    one: str
    other: str
    difference: str


@dataclass(frozen=True, slots=True)
class Compared:
    """What two cards come to, by project. ``stands`` says of a closed month what it was closed with."""

    currency: str
    rows: list[Difference]
    stands: str = ""


def difference(config: Config, one: str, other: str, name: str) -> Compared:
    """What a month would come to with the prices of two files (or of the settings), by project.

    The last row is all of them together. Corrections of closed months have the prices of these, with either.
    """
    with book.opened(config) as engine:
        period = known_month(engine, name, book.zone(config))
        at = book.prices(config, engine, period)
        both = [_of(config, text).of(period.name, period.start, period.end) for text in (one, other)]
        if both[0].currency != both[1].currency:
            raise RatingError(f"{one} is in {both[0].currency}, {other} in {both[1].currency}: they cannot be compared")
        a, b = (month_sums(engine, period, Cards(rates, at.earlier)) for rates in both)
        kept = period_state(engine, name).closed_with
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
    if kept is None:
        return Compared(both[0].currency, rows)
    amount = f"{money(kept.amount, kept.rates.minor_digits)} {kept.rates.currency}"
    told = f"{name} is closed and stays at {amount}, by the prices that it was closed with: nothing of this changes it"
    return Compared(both[0].currency, rows, told)


def _of(config: Config, text: str) -> RateCards:
    if text == SETTINGS:
        return rate_cards(config, book.zone(config))
    return cards_of([text], config, book.zone(config))


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
