"""Whether a site's books hold: the one function that the command, the service's API and its own check call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import SystemRandom

from sqlalchemy import Engine

from accounting.model import DAY
from accounting.periods import check as books
from accounting.periods.decided import kept_outside
from accounting.periods.draws import Draw, Everything, Part, Sample
from accounting.periods.proofs import Breach
from accounting.periods.rederive import rederived, waiting
from accounting.site import book, months
from accounting.store.database import read
from exporters.config import Config


@dataclass(frozen=True, slots=True)
class Proof:
    """What a check found. ``waits`` is what it could not prove, a sentence, since newer records came: nothing mostly.

    ``days`` of the booked days were reconciled again, ``of_days`` there are.
    """

    breaches: Sequence[Breach]
    waits: str = ""
    days: int = 0
    of_days: int = 0


def prove(config: Config, engine: Engine, seals: Sequence[str] = (), draw: Draw | None = None) -> Proof:
    """Every breach of an invariant: of the books by themselves, against their evidence, and of closed months' amounts.

    Every booked node-day is reconciled again from its claims, or those that are drawn. ``seals`` (hexadecimal) were
    kept outside.
    """
    draw = draw or Everything()
    with read(engine) as connection:
        found = [*kept_outside(connection, seals)]
    found += books.check(engine, draw)
    if any(breach.invariant == books.TYPED for breach in found):
        return Proof(found)  # nothing more can be read
    zone = book.zone(config)
    derived = rederived(engine, book.site(config, engine), book.rules(config), zone, draw=draw)
    found += [*derived.breaches, *months.amounts_hold(config, engine, draw)]
    return Proof(found, waiting(derived.waits, zone), derived.days, derived.of_days)


def sample(most: int | None) -> Draw:
    """At most so many of each, drawn by chance; everything for None."""
    return Everything() if most is None else Sample(most, SystemRandom())


def check(config: Config, seals: Sequence[str] = (), draw: Draw | None = None) -> Proof:
    """Like `prove`, of the ledger of the settings."""
    with book.opened(config) as engine:
        return prove(config, engine, seals, draw)


@dataclass(slots=True)
class Rounds:
    """The service's own checks, ``interval`` seconds apart: once a day everything, between that a part in its turn.

    In a day the parts have been everything once more. What was found stays found until everything is looked at again.
    """

    interval: float
    _turn: int = 0
    _found: set[Breach] = field(default_factory=set)

    def check(self, config: Config, engine: Engine) -> int:
        """Look at what is due; how many breaches are known."""
        parts = max(1, int(DAY / self.interval))
        whole = self._turn == 0
        found = {*prove(config, engine, draw=Everything() if whole else Part(self._turn - 1, parts - 1)).breaches}
        self._found = found if whole else self._found | found
        self._turn = (self._turn + 1) % parts
        return len(self._found)
