"""The synthetic month with the live side's view: whose every card was, second by second, in a ledger made before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Engine

from accounting.reconcile.sweep import Columns
from accounting.reconcile.sweep.site_columns import LENDS
from accounting.store.database import insert_many, next_id, write
from accounting.store.tables import coverage, holdings
from tests.bench.month import PERIOD, month

CARDS = 8
BATCH = 50_000


def add_cards(engine: Engine, nodes: int) -> int:
    """Write what was seen of the cards of a month of so many nodes (`tests.bench.month_ledger.fill`); its intervals."""
    site = month(nodes)
    job = _job_ids(site)
    found: list[tuple[Any, ...]] = []
    written = 0
    for row, card, machine in _hands(site):
        claim_unit, start, end = site.names.units[int(site.unit[row])], int(site.start[row]), int(site.end[row])
        name = site.machines[machine]
        written += 1
        found.append((written, "live", name, card, f"GPU-{name}-{card}", int(job[row]), claim_unit, 1000, start, end))
        if len(found) == BATCH:
            _write(engine, found)
            found = []
    _write(engine, found)
    with write(engine) as connection:
        row = (next_id(connection, coverage), "live", "", "", "round", *PERIOD)
        insert_many(connection, coverage, [c.name for c in coverage.columns], [row])
    return written


def _write(engine: Engine, rows: list[tuple[Any, ...]]) -> None:
    with write(engine) as connection:
        insert_many(connection, holdings, [c.name for c in holdings.columns], rows)


def _job_ids(site: Columns) -> Any:
    """The ids that the ledger gives to the rows' jobs: in the order in which their claims ended."""
    order = np.argsort(site.end, kind="stable")
    _, first, inverse = np.unique(site.job[order], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    found = np.empty(len(order), dtype=np.int64)
    found[order] = rank[inverse]
    return found


def _hands(site: Columns) -> Iterator[tuple[int, int, int]]:
    """Row, card and machine. Who is inside another has some of its cards; for whom none is free, none was seen."""
    named = {int(native): row for row, native in enumerate(site.native.tolist()) if native >= 0}
    keys = zip(site.keys.row.tolist(), site.keys.kind.tolist(), site.keys.target.tolist(), strict=True)
    outer = {row: named.get(target, -1) if kind != LENDS else -2 for row, kind, target in keys}
    for machine in range(len(site.machines)):
        rows = np.arange(site.first[machine], site.first[machine + 1])
        order = rows[np.lexsort((np.isin(rows, [*outer]), site.start[rows]))].tolist()
        until = [0] * CARDS
        had: dict[int, list[int]] = {}
        taken: dict[int, int] = {}
        for row in order:
            wanted, start, end = int(site.milligpu[row]) // 1000, int(site.start[row]), int(site.end[row])
            inside = outer.get(row, -1)
            if inside == -2:
                continue
            if inside >= 0:
                free = had.get(inside, [])[taken.get(inside, 0) :]
                taken[inside] = taken.get(inside, 0) + wanted
            else:
                free = [card for card in range(CARDS) if until[card] <= start]
            if len(free) >= wanted:
                had[row] = free[:wanted]
                for card in had[row]:
                    until[card] = max(until[card], end)
                    yield row, card, machine
