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

from accounting.rates.rating import Rates
from accounting.statements.notes import Terms
from accounting.store.calendar import OPEN, SEALED
from accounting.store.database import read
from accounting.store.rows import compact
from accounting.store.tables import periods


@dataclass(frozen=True, slots=True)
class ClosedWith:
    """The prices and terms of a closed month. ``capacity`` and ``charged`` are milliGPU-seconds, corrections included.

    ``amount`` is what its statement came to.
    """

    rates: Rates
    terms: Terms
    capacity: int
    charged: int
    amount: Decimal

    def text(self) -> str:
        """One canonical line of JSON."""
        return compact(
            {
                "amount": str(self.amount),
                "capacity": self.capacity,
                "charged": self.charged,
                "currency": self.rates.currency,
                "default": None if self.rates.default is None else str(self.rates.default),
                "gpu_hour": {model: str(price) for model, price in self.rates.gpu_hour.items()},
                "hold_from": dict(self.terms.hold_from),
                "time_zone": self.terms.time_zone,
            }
        )


def closed_with_of(text: str) -> ClosedWith | None:
    """Read `ClosedWith.text` back; None for a month that was closed without it."""
    if not text:
        return None
    told: Mapping[str, Any] = json.loads(text)
    default = told["default"]
    prices = {model: Decimal(price) for model, price in told["gpu_hour"].items()}
    return ClosedWith(
        Rates(prices, told["currency"], None if default is None else Decimal(default)),
        Terms(told["time_zone"], told["hold_from"]),
        told["capacity"],
        told["charged"],
        Decimal(told["amount"]),
    )


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
