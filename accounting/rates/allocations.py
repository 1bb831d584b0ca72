"""Allocations: what was granted to projects, drawn down month by month. Pure, in exact decimals.

A grant is an amount of service units or of money for one project, over whole months. What a project is charged in a
month is drawn from its grants that are valid then, the one that expires first before the others; a month that comes to
less than nothing (corrections) gives back what was beyond all grants first, then to them. What no grant covers is
``over``. A grant is never drawn below zero nor filled above what was granted; what is left when it expires is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

SU = "SU"
"""The unit of service units. It is a unit, no currency."""


@dataclass(frozen=True, slots=True)
class Grant:
    """``amount`` of ``unit`` (`SU`, or a currency) for a project, for what is used in ``[valid_from, valid_to)``.

    Both are moments at which a month begins, in epoch seconds. ``overdraft`` says whether more than that may be used.
    """

    name: str
    project: str
    unit: str
    amount: Decimal
    valid_from: int
    valid_to: int
    overdraft: bool
    key: str = ""


@dataclass(frozen=True, slots=True)
class Month:
    """What projects were charged in a month ``[start, end)``, by project and unit."""

    name: str
    start: int
    end: int
    charged: Mapping[tuple[str, str], Decimal]


@dataclass(frozen=True, slots=True)
class Balance:
    """A grant, and how much of it was drawn, by month."""

    grant: Grant
    drawn: Mapping[str, Decimal]

    @property
    def used(self) -> Decimal:
        """What was drawn in all: from nothing to the whole grant."""
        return sum(self.drawn.values(), Decimal())

    @property
    def left(self) -> Decimal:
        """What may still be drawn, or was lost when the grant expired."""
        return self.grant.amount - self.used

    def expired(self, now: int) -> bool:
        """Whether what is left is lost: use it or lose it."""
        return self.grant.valid_to <= now


@dataclass(frozen=True, slots=True)
class Account:
    """The grants of a project in one unit, and what it was charged beyond them, by month (less than 0: given back)."""

    project: str
    unit: str
    balances: Sequence[Balance]
    over: Mapping[str, Decimal]

    @property
    def overdrawn(self) -> bool:
        """Whether more was used than was granted, and may not be."""
        return sum(self.over.values(), Decimal()) > 0 and not any(b.grant.overdraft for b in self.balances)


def accounts(grants: Sequence[Grant], months: Sequence[Month]) -> Iterator[Account]:
    """The account of every project and unit of which there is a grant; ``months`` are in order of time.

    In each month: charged = drawn from its grants + over.
    """
    for project, unit in sorted({(grant.project, grant.unit) for grant in grants}):
        mine = (grant for grant in grants if (grant.project, grant.unit) == (project, unit))
        own = sorted(mine, key=lambda grant: (grant.valid_to, grant.valid_from, grant.name))
        drawn: list[dict[str, Decimal]] = [{} for _ in own]
        over: dict[str, Decimal] = {}
        for month in months:
            rest = month.charged.get((project, unit), Decimal())
            if rest < 0:  # first what was beyond all grants is given back
                over[month.name] = -min(-rest, max(sum(over.values(), Decimal()), Decimal()))
                rest -= over[month.name]
            there = [n for n, g in enumerate(own) if g.valid_from <= month.start and month.end <= g.valid_to]
            for n in there if rest > 0 else reversed(there):
                so_far = sum(drawn[n].values(), Decimal())
                some = min(rest, own[n].amount - so_far) if rest > 0 else max(rest, -so_far)
                drawn[n][month.name] = some
                rest -= some
            over[month.name] = over.get(month.name, Decimal()) + rest
        yield Account(project, unit, [Balance(g, d) for g, d in zip(own, drawn, strict=True)], over)
