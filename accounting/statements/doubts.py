"""What is in doubt about a month, in words, for `settle` and for the notes of its statement.

That is what sources contradict each other about, with hours, and what was seen and is not metered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, tzinfo

from sqlalchemy import Connection, Engine, select

from accounting.evidence.contradictions import contradictions
from accounting.intake.open_runs import Doubt
from accounting.statements.csvtext import printable
from accounting.statements.hours import hours_text, micro_hours
from accounting.store.calendar import Period
from accounting.store.database import read
from accounting.store.tables import rejects
from exporters.sources.kubernetes.slots.resources import NO_RULE

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


def not_metered(engine: Engine, before: int, metered: Collection[str] = ()) -> tuple[str, ...]:
    """What a live source set aside before a moment as a device without a rule, in words, each as it was told last.

    ``metered`` are resources for which the settings have a rule now.
    """
    c = rejects.c
    query = select(c.cluster, c.record, c.reason).where(c.reason.contains(NO_RULE), c.seen_at < before)
    found: dict[tuple[str, str], str] = {}
    with read(engine) as connection:
        for cluster, record, reason in connection.execute(query.order_by(c.seen_at, c.id)):
            where, _, count = bytes(record).decode(errors="replace").rpartition(": ")
            if reason.partition(f" {NO_RULE}")[0] not in metered:
                found[cluster, where] = f"{cluster}: {where}: {count}"
    told = [printable(text) for _, text in sorted(found.items())]
    more = [f"{len(told) - TOLD} more (meterbridge rejects)"] if len(told) > TOLD else []
    return (*told[:TOLD], *more)
