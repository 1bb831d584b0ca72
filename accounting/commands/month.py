"""How a verb is told its billing month."""

from __future__ import annotations

from typing import TypeVar

import click

Month = TypeVar("Month", str, None)


def month(_context: click.Context, _parameter: click.Parameter, name: Month) -> Month:
    """Refuse, as wrong usage, what is not the name of a month: before the ledger is opened for it."""
    if name is not None:
        from accounting.store.calendar import PeriodError, period_named

        try:
            period_named(name)
        except PeriodError as e:
            raise click.BadParameter(str(e)) from e
    return name
