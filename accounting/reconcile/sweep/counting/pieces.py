"""Rows of postings, out of stretches and rests: what each claim holds on each day, and what is left over."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Ints
from accounting.model import CAPACITY, DAY
from accounting.reconcile.sweep.counting.part import Part
from accounting.reconcile.sweep.counting.stack import Rests
from accounting.reconcile.sweep.grid import Cut, Grid, each
from accounting.reconcile.sweep.links.link_stretches import LinkStretches
from accounting.reconcile.sweep.site_columns import INSIDE, SAME, STAND_IN
from accounting.reconcile.sweep.table import COLUMNS, Table, account_code, concat, empty, merged, table, take
from accounting.reconcile.sweep.time_cells import TimeCells, coarse
from exporters.model import Disposition

_CHARGED, _DISPUTED = account_code(Disposition.CHARGED), account_code(Disposition.DISPUTED)
_SHOWN, _CAPACITY = account_code(""), account_code(CAPACITY)

_PLAIN, _LOOSE, _UNSETTLED, _NOT_HERE = range(4)
"""What is to be done with a row: nothing, as no other has its key; add it up with those that may have it; leave it to
whoever knows the rest of its node-day; forget it."""

_Fates = NDArray[np.int8]


class Pieces:
    """The rows of one part, collected."""

    def __init__(self, part: Part, cells: TimeCells) -> None:
        self.part, self.cells, self.held = part, cells, coarse(cells)
        self.first_day = part.start // DAY
        self.days = -(-(part.start + part.length) // DAY) - self.first_day
        self.shared = _shared_rows(part)
        self.fates = self.shared.copy()
        self.fates[part.holders.row[part.holders.lends | part.holders.same]] = (
            _NOT_HERE  # their stretches do not tell it
        )
        self.fate_of_cell = self._fates_of_cells(cells)
        self.kept: dict[int, list[Table]] = {fate: [empty()] for fate in (_PLAIN, _LOOSE, _UNSETTLED)}
        self.grid = Grid(self.held, part.machines, part.length, part.offset)
        self.most, further = (self._cut(stretches) for stretches in part.stretches)
        self.kept[_PLAIN].append(self._claims(part.stretches[1], further))

    def _fates_of_cells(self, cells: TimeCells) -> _Fates:
        """What is to be done with rows about a cell, whoever they are of."""
        day = cells.machine * self.days + cells.day
        aside = np.zeros(self.part.machines * self.days, dtype=bool)
        aside[day[cells.skip]] = True
        fate = np.full(len(day), _PLAIN, dtype=np.int8)
        several = day[1:] == day[:-1]
        fate[1:][several] = fate[:-1][several] = _LOOSE
        fate[aside[day]] = _UNSETTLED
        fate[cells.skip | (cells.pools == 0)] = _NOT_HERE
        return fate

    def _cut(self, stretches: LinkStretches) -> Cut:
        """What stretches hold by day, ``of`` being stretches: those rows that are plain. Others are put away."""
        cut = self.grid.cut(self.part.rows.machine[stretches.row], stretches.start, stretches.end)
        fate = np.maximum(self._fates_of_cells(self.held)[cut.cell], self.fates[stretches.row[cut.of]])
        if not fate.any():
            return cut
        for other in (_LOOSE, _UNSETTLED):
            some = np.flatnonzero(fate == other)
            self.kept[other].append(self._claims(stretches, Cut(*(column[some] for column in cut))))
        plain = np.flatnonzero(fate == _PLAIN)
        return Cut(*(column[plain] for column in cut))

    def _claims(self, stretches: LinkStretches, cut: Cut) -> Table:
        """The rows of pieces of stretches."""
        part, rows, cells = self.part, self.part.rows, self.held
        row, kind, outer = stretches.row[cut.of], stretches.kind[cut.of], stretches.outer[cut.of]
        reason = stretches.reason[cut.of]
        shown = (kind == INSIDE) | (kind == STAND_IN)
        held = rows.milligpu[row] * (cut.end - cut.start)
        return table(
            len(row),
            machine=(cells.machine + part.first_machine).astype(np.int32)[cut.cell],
            day=(cells.day + self.first_day).astype(np.int32)[cut.cell],
            account=np.where(shown, _SHOWN, np.where(reason > 0, _DISPUTED, _CHARGED)),
            model=self._model(cells, cut.cell, row),
            quantity=held * ~shown,
            project=rows.project[row],
            job=rows.job[row],
            unit=rows.unit[row],
            start=cut.start + part.start,
            end=cut.end + part.start,
            held=held,
            link=kind,
            linked=np.where(outer >= 0, rows.job[outer], np.int32(-1)),
            reason=reason,
        )

    def rests(self, rests: Rests) -> None:
        """What is left over in pools and in claims with others inside them."""
        containers = rests.containers
        pools = np.flatnonzero((containers.holder < 0) & (rests.amount > 0))
        cell = containers.cell[pools]
        found = self._rows(cell, containers.pool[pools], rests.first[pools], rests.last[pools])
        found |= {"account": self.cells.rest[cell], "reason": self.cells.why[cell], "quantity": rests.amount[pools]}
        self._add(table(len(pools), **found), self.fate_of_cell[cell])
        holders = np.flatnonzero(containers.holder >= 0)
        lends = self.part.holders.lends[containers.holder[holders]]
        same = self.part.holders.same[containers.holder[holders]] & ~lends
        self._lenders(rests, holders[lends])
        self._jobs(rests, holders[same])

    def capacity(self) -> None:
        """What all other rows balance against."""
        cells, pools = self.cells, self.part.pools
        cell, nth = each(np.where(cells.skip, 0, pools.count[cells.pools]))
        pool = pools.first[cells.pools[cell]] + nth
        found = self._rows(cell, pool, cells.start[cell], cells.end[cell])
        found |= {"account": _CAPACITY, "quantity": -pools.size[pool] * (cells.end[cell] - cells.start[cell])}
        self._add(table(len(cell), **found), self.fate_of_cell[cell])

    def settled(self) -> Table:
        """All rows of node-days without windows, by machine and day."""
        others = concat([*self.kept[_PLAIN], merged(concat(self.kept[_LOOSE]))])
        day = (others["machine"] - self.part.first_machine) * self.days + (others["day"] - self.first_day)
        day_of_cell = (self.held.machine * self.days + self.held.day).astype(np.uint16)
        order = np.argsort(np.concatenate([day_of_cell[self.most.cell], day.astype(np.uint16)]), kind="stable")
        claims = self._claims(self.part.stretches[0], self.most)
        return {name: np.concatenate([claims[name], others[name]])[order] for name in COLUMNS}

    def unsettled(self) -> Table:
        """The rows of node-days with windows, as far as they are known here."""
        return concat(self.kept[_UNSETTLED])

    def unplaced(self) -> Ints:
        """Row, day, first second and reason of claims where there are no cards, as columns of an array."""
        part, cells = self.part, self.held
        nowhere = (cells.pools == 0) & ~cells.skip
        concerned = np.zeros(part.machines, dtype=bool)
        concerned[cells.machine[nowhere]] = True
        found = [np.empty((0, 4), dtype=np.int64)]
        for lot in part.stretches if concerned.any() else ():
            stretches = lot.take(concerned[part.rows.machine[lot.row]] & (lot.kind != STAND_IN))
            of, cell, start, _ = self.grid.cut(part.rows.machine[stretches.row], stretches.start, stretches.end)
            lost = np.flatnonzero(nowhere[cell])
            found.append(np.stack([stretches.row[of], cells.day[cell], start, cells.why[cell]], axis=1)[lost])
        every = np.concatenate(found)
        every = every[np.lexsort(every[:, 2::-1].T)]
        first = np.ones(len(every), dtype=bool)
        first[1:] = (every[1:, :2] != every[:-1, :2]).any(axis=1)
        return every[first]

    def _lenders(self, rests: Rests, which: Ints) -> None:
        """A lender's rest, with all that it lends beside it."""
        holders, rows = self.part.holders, self.part.rows
        holder, cell = rests.containers.holder[which], rests.containers.cell[which]
        row, start = holders.row[holder], rests.containers.start[which]
        end = np.minimum(self.cells.end[cell], holders.end[holder])
        at = np.searchsorted(holders.situation_key, (holder << 32) | self.cells.situation[cell])
        found = self._rows(cell, self._pool(self.cells, cell, row), start, end)
        found |= {"account": holders.lent[at], "reason": holders.why[at], "quantity": rests.amount[which]}
        found |= {"project": rows.project[row], "job": rows.job[row], "unit": rows.unit[row]}
        found |= {"held": rows.milligpu[row] * (end - start)}
        self._add(table(len(which), **found), self._fate(cell, row))

    def _jobs(self, rests: Rests, which: Ints) -> None:
        """An external job: what it has beyond its pods, and when the pods have all of it."""
        holders, rows, containers = self.part.holders, self.part.rows, rests.containers
        end = np.minimum(self.cells.end[containers.cell[which]], holders.end[containers.holder[which]])
        full = end - containers.start[which] - rests.seconds[which]
        some, none = which[rests.seconds[which] > 0], which[full > 0]
        for at, first, last, seconds, account in (
            (some, rests.first, rests.last, rests.seconds[some], _CHARGED),
            (none, rests.full_first, rests.full_last, full[full > 0], _SHOWN),
        ):
            holder, cell = containers.holder[at], containers.cell[at]
            row = holders.row[holder]
            found = self._rows(cell, self._pool(self.cells, cell, row), first[at], last[at])
            found |= {"project": holders.project[holder], "job": rows.job[row], "unit": rows.unit[row]}
            found |= {"account": account, "held": rows.milligpu[row] * seconds, "link": SAME}
            if account == _CHARGED:
                found |= {"quantity": rests.amount[at], "reason": self.part.remainder}
            else:
                found |= {"linked": holders.pod_job[holder]}
            self._add(table(len(at), **found), self._fate(cell, row))

    def _rows(self, cell: Ints, pool: Ints, start: Ints, end: Ints) -> dict[str, NDArray[Any] | int]:
        """What rows about cells have in common; nobody's, until something else is said."""
        return {
            "machine": self.cells.machine[cell] + self.part.first_machine,
            "day": self.cells.day[cell] + self.first_day,
            "model": self.part.pools.model[pool].astype(np.int64),
            "start": start + self.part.start,
            "end": end + self.part.start,
            **dict.fromkeys(("project", "job", "unit", "link", "linked"), -1),
            **dict.fromkeys(("reason", "quantity", "held"), 0),
        }

    def _pool(self, cells: TimeCells, cell: Ints, row: Ints) -> Ints:
        set_ = cells.pools[cell]
        return self.part.pools.first[set_] + self.part.pools.choice[set_, self.part.rows.model[row]]

    def _model(self, cells: TimeCells, cell: Ints, row: Ints) -> Ints:
        pools = self.part.pools
        if int(pools.count.max()) > 1:
            return pools.model[self._pool(cells, cell, row)].astype(np.int64)
        return pools.model[pools.first[cells.pools]][cell].astype(np.int64)

    def _fate(self, cell: Ints, row: Ints) -> _Fates:
        """What is to be done with a row about a cell, of a claim with others inside it."""
        fate: _Fates = np.maximum(self.fate_of_cell[cell], self.shared[row])
        return fate

    def _add(self, rows: Table, fate: _Fates) -> None:
        if not fate.any():
            self.kept[_PLAIN].append(rows)
            return
        for some in (_PLAIN, _LOOSE, _UNSETTLED):
            self.kept[some].append(take(rows, fate == some))


def _shared_rows(part: Part) -> _Fates:
    """Claims of which several rows may have one key: cut into stretches, or of a unit with several claims on the
    machine.
    """
    rows = len(part.rows.machine)
    fate = np.full(rows, _PLAIN, dtype=np.int8)
    fate[part.stretches[1].row] = _LOOSE
    unit = part.rows.unit - part.rows.unit.min(initial=0)
    last = np.empty(int(unit.max(initial=0)) + 1, dtype=np.int64)  # row of each unit: whoever is written last stays
    number = np.arange(rows)
    for a, b in pairwise(np.searchsorted(part.rows.machine, np.arange(part.machines + 1)).tolist()):
        here = unit[a:b]
        last[here] = number[a:b]
        earlier = last[here] != number[a:b]
        if earlier.any():
            fate[a:b][np.isin(here, here[earlier])] = _LOOSE
    return fate
