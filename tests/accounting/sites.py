"""Hypothesis strategies for small sites: a few machines over a few days, made of the node-days of `node_days`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from accounting.model import DAY, NodeDay, Ruling
from accounting.reconcile.rule import Rules, parties
from accounting.reconcile.sweep import Columns
from tests.accounting.columns_of import columns_of
from tests.accounting.node_days import END, GRACE, START, node_days

FIRST = 20_454 * DAY
"""2026-01-01."""


@dataclass(frozen=True)
class Site:
    """A site in columns, with the period and the rules under which to reconcile it."""

    columns: Columns
    period: tuple[int, int]
    rules: Rules


@st.composite
def sites(draw: st.DrawFn) -> Site:
    """One to three machines, their seconds drawn out over hours: what was one dense day becomes some sparse ones."""
    days = draw(st.lists(node_days(), min_size=1, max_size=3))
    unit = draw(st.sampled_from([1, 3600, 3 * 3600]))
    zero = FIRST + draw(st.sampled_from([0, 7 * 3600, DAY - 9]))
    drawn_out = [_drawn_out(day, zero, unit) for day in days]
    period = (zero, zero + (END - START) * unit)
    return Site(
        columns_of(
            {f"n{n}": day.claims for n, day in enumerate(drawn_out)},
            {f"n{n}": day.capacity for n, day in enumerate(drawn_out)},
            {f"n{n}": day.coverage for n, day in enumerate(drawn_out)},
            {job: project for day in drawn_out for job, project in day.projects},
            {(scheduler, cluster): second for scheduler, cluster, second in drawn_out[0].known_until},
            {f"n{n}": draw(_rulings(day)) for n, day in enumerate(drawn_out)},
            {f"n{n}": day.holdings for n, day in enumerate(drawn_out)},
        ),
        period,
        Rules(grace=GRACE * unit),
    )


def _drawn_out(day: NodeDay, zero: int, unit: int) -> NodeDay:
    """A node-day with its first second at ``zero`` and each second ``unit`` seconds long."""

    def moved(item: Any) -> Any:
        end = None if item.end is None else zero + (item.end - START) * unit
        return replace(item, start=zero + (item.start - START) * unit, end=end)

    return replace(
        day,
        claims=tuple(map(moved, day.claims)),
        holdings=tuple(map(moved, day.holdings)),
        capacity=tuple(map(moved, day.capacity)),
        coverage=tuple(map(moved, day.coverage)),
        known_until=tuple((s, cluster, zero + (second - START) * unit) for s, cluster, second in day.known_until),
    )


@st.composite
def _rulings(draw: st.DrawFn, day: NodeDay) -> tuple[Ruling, ...]:
    """Decisions on some disputes of a machine, and on what is none."""
    jobs = sorted({c.job for c in day.claims})
    found: dict[Any, Ruling] = {}
    for _ in range(draw(st.sampled_from([0, 0, 2])) if jobs else 0):
        who = parties(*draw(st.lists(st.sampled_from(jobs), min_size=1, max_size=3)))
        found[who] = Ruling(who, draw(st.sampled_from(who)), "ann", "asked both")
    return tuple(found.values())
