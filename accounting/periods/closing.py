"""What a month is closed with: its prices, its terms and what it came to, kept so that it rates the same for ever.

It is one line of JSON in ``periods.closed_with``. Prices are text, exactly as they were set; nothing in it is a float.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, select

from accounting.rates.rating import Beside, Distribution, Factor, PriceRule, Rates, When
from accounting.statements.notes import Terms
from accounting.store.calendar import OPEN, SEALED
from accounting.store.database import read
from accounting.store.rows import compact
from accounting.store.tables import periods


@dataclass(frozen=True, slots=True)
class ClosedWith:
    """The prices and terms of a closed month. ``capacity`` and ``charged`` are milliGPU-seconds, corrections included.

    ``amount`` is what its statement came to. ``facts`` is a digest over what is kept of its jobs
    (`accounting.statements.known.kept`), empty where prices do not look at it. ``doubts`` is what sources contradicted
    each other about then, in words.
    """

    rates: Rates
    terms: Terms
    capacity: int
    charged: int
    amount: Decimal
    facts: str = ""
    doubts: tuple[str, ...] = ()

    def text(self) -> str:
        """One canonical line of JSON."""
        told = {
            "amount": str(self.amount),
            "capacity": self.capacity,
            "charged": self.charged,
            "currency": self.rates.currency,
            "default": None if self.rates.default is None else str(self.rates.default),
            "gpu_hour": {model: str(price) for model, price in self.rates.gpu_hour.items()},
            "hold_from": dict(self.terms.hold_from),
            "time_zone": self.terms.time_zone,
        }
        if self.facts:
            told["facts"] = self.facts
        for name, rules in (("prices", self.rates.more), ("factors", self.rates.factors)):
            if rules:
                told[name] = [_rule_text(rule) for rule in rules]
        if self.rates.distribute:
            told["distribute"] = [
                [[*one.of], one.by_owner, str(one.worth), _text(one.su), [*one.gpu_models], one.key]
                for one in self.rates.distribute
            ]
        if self.doubts:
            told["doubts"] = [*self.doubts]
        return compact(told)


def closed_with_of(text: str) -> ClosedWith | None:
    """Read `ClosedWith.text` back; None for a month that was closed without it."""
    if not text:
        return None
    told: Mapping[str, Any] = json.loads(text)
    default = told["default"]
    flat = {model: Decimal(price) for model, price in told["gpu_hour"].items()}
    prices = tuple(PriceRule(*_rule_of(r), _decimal(r["su"]), *_more_of(r)) for r in told.get("prices", ()))
    factors = tuple(Factor(*_rule_of(r), name=r["name"]) for r in told.get("factors", ()))
    shared = tuple(
        Distribution(tuple(of), owner, Decimal(worth), _decimal(su), tuple(models), key)
        for of, owner, worth, su, models, key in told.get("distribute", ())
    )
    return ClosedWith(
        Rates(flat, told["currency"], _decimal(default), prices, factors, shared),
        Terms(told["time_zone"], told["hold_from"]),
        told["capacity"],
        told["charged"],
        Decimal(told["amount"]),
        told.get("facts", ""),
        tuple(told.get("doubts", ())),
    )


def _rule_text(rule: PriceRule | Factor) -> Mapping[str, Any]:
    """A rule; what it gives as it was set."""
    more: dict[str, Any] = {"name": rule.name} if isinstance(rule, Factor) else {"su": _text(rule.su)}
    if isinstance(rule, PriceRule) and rule.beside:
        more["beside"] = [[one.what, str(one.worth), _text(one.su), str(one.free)] for one in rule.beside]
    if isinstance(rule, PriceRule) and rule.dominant:
        more["dominant"] = [[name, str(each)] for name, each in rule.dominant]
    when = {name: value if isinstance(value, str) else list(value) for name, value in rule.when.items()}
    span = {"valid_from": rule.valid_from, "valid_to": rule.valid_to}
    return {"key": rule.key, "label": rule.label, "when": when, "worth": str(rule.worth), **span, **more}


def _rule_of(told: Mapping[str, Any]) -> tuple[Decimal, When, str, int, int, str]:
    when = {name: value if isinstance(value, str) else tuple(value) for name, value in told["when"].items()}
    return Decimal(told["worth"]), when, told["key"], told["valid_from"], told["valid_to"], told["label"]


def _more_of(told: Mapping[str, Any]) -> tuple[tuple[Beside, ...], tuple[tuple[str, Decimal], ...]]:
    """What a price says of what is beside the cards."""
    beside = (Beside(what, Decimal(w), _decimal(su), Decimal(free)) for what, w, su, free in told.get("beside", ()))
    return tuple(beside), tuple((name, Decimal(each)) for name, each in told.get("dominant", ()))


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@dataclass(frozen=True, slots=True)
class PeriodState:
    """A month as the books have it. ``seal`` is empty until it is sealed."""

    name: str
    state: str
    closed_at: int | None
    closed_with: ClosedWith | None
    seal: bytes

    @property
    def is_open(self) -> bool:
        """Whether it may still change."""
        return self.state == OPEN

    @property
    def is_sealed(self) -> bool:
        """Whether a seal proves it."""
        return self.state == SEALED


def period_states(engine: Engine) -> list[PeriodState]:
    """Every month the books know, oldest first."""
    with read(engine) as connection:
        return states(connection)


def states(connection: Connection) -> list[PeriodState]:
    """Like `period_states`, in the caller's transaction."""
    rows = connection.execute(select(periods).order_by(periods.c.start_at))
    return [
        PeriodState(r.name, r.state, r.closed_at, closed_with_of(r.closed_with), bytes(r.seal or b"")) for r in rows
    ]


def period_state(engine: Engine, name: str) -> PeriodState:
    """One month; a month that nothing was booked in yet is open."""
    found = [s for s in period_states(engine) if s.name == name]
    return found[0] if found else PeriodState(name, OPEN, None, None, b"")
