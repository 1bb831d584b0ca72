"""What sources contradict each other about, in words with hours: for `settle`, and for the notes of a statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo

from sqlalchemy import Connection, Engine

from accounting.evidence.contradictions import contradictions
from accounting.intake.open_runs import Doubt
from accounting.statements.csvtext import printable
from accounting.statements.hours import hours_text, micro_hours
from accounting.store.calendar import Period
from accounting.store.database import read

TOLD = 20
"""Contradictions that are named; of more, their number and their hours."""


def in_words(doubt: Doubt) -> str:
    """One of them, its hours first where they are known."""
    hours = f"{hours_text(micro_hours(doubt.quantity))} GPU-hours: " if doubt.quantity else ""
    return hours + printable(doubt.said)


def most_doubtful(found: Sequence[Doubt], more: str = "") -> list[Doubt]:
    """The first `TOLD`, and the others together; ``more`` says where they are told."""
    rest = found[TOLD:]
    together = Doubt(f"{len(rest)} more{more}", sum(doubt.quantity for doubt in rest))
    return [*found[:TOLD], *([together] if rest else [])]


def doubts_of(connection: Connection, period: Period, zone: tzinfo = UTC) -> list[Doubt]:
    """A month's contradictions, the largest first."""
    found = contradictions(connection, period.start, period.end, zone)
    return most_doubtful([Doubt(one.said, one.quantity) for one in found], " (meterbridge rejects)")


def doubts(engine: Engine, period: Period) -> tuple[str, ...]:
    """The same in words; times are in UTC."""
    with read(engine) as connection:
        return tuple(map(in_words, doubts_of(connection, period)))
