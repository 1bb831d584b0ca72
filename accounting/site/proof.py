"""Whether a site's books hold: the one function that the command, the service's API and its own check call."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, func, select

from accounting.ledger.reconcile_range import day_inputs
from accounting.periods import check as books
from accounting.periods.decided import kept_outside
from accounting.periods.proofs import Breach
from accounting.periods.rederive import rederived
from accounting.site import book, months
from accounting.store.database import read
from accounting.store.tables import node_days
from exporters.config import Config


def breaches(config: Config, engine: Engine, now: int, seals: Sequence[str] = ()) -> list[Breach]:
    """Every breach of an invariant: of the books by themselves, against their evidence, and of closed months' amounts.

    Every booked node-day is reconciled again from its claims. ``seals`` (hexadecimal) were kept outside.
    """
    with read(engine) as connection:
        query = select(func.min(node_days.c.start_at), func.max(node_days.c.end_at))
        first, last = connection.execute(query).one()
        found = [*kept_outside(connection, seals)]
    if first is None:
        return found + books.check(engine)
    site, zone = book.site(config, engine), book.zone(config)
    days = day_inputs(engine, site, first, min(last, now), zone)
    found += books.check(engine, evidence=days, models=config.model_names)
    found += rederived(engine, site, book.rules(config), zone)
    return found + months.amounts_hold(config, engine)


def check(config: Config, now: int, seals: Sequence[str] = ()) -> list[Breach]:
    """Like `breaches`, of the ledger of the settings."""
    with book.opened(config) as engine:
        return breaches(config, engine, now, seals)
