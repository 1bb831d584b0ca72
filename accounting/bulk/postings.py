"""What the sweep makes of a day: rows of ``postings``, in the order in which node-day by node-day would write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accounting.bulk.columns import DayColumns
from accounting.bulk.image import Words
from accounting.bulk.ranks import ranks, ranks_below
from accounting.model import NodeDayResult, Posting
from accounting.reconcile.rule import CAPACITY, claim_order
from accounting.reconcile.sweep import ACCOUNTS, Batch, Sweep, postings_of
from accounting.reconcile.sweep.columns import LINKS, Ints
from accounting.reconcile.sweep.table import Table, concat, empty, take
from accounting.store.database import LedgerError, storable
from exporters.model import Claim

NUMBERS = ("quantity", "held", "start_at", "end_at")
JOBS = ("job_id", "linked_id")
TEXTS = ("account", "model", "project", "link", "reason", "unit")
VALUES = (*NUMBERS, *JOBS, *TEXTS)
"""Columns of ``postings`` that `DayPostings` gives, in its order."""


class DayPostings:
    """The postings of the node-days of ``site``, ready to be written."""

    def __init__(self, site: DayColumns, sweep: Sweep, batches: Sequence[Batch]) -> None:
        self.site, self.sweep = site, sweep
        found = concat([empty(), *(batch.columns for batch in batches)])
        found = take(found, (found["quantity"] != 0) | (found["held"] != 0))
        self.table = take(found, self._order(found))
        self.first = np.searchsorted(self.table["machine"], np.arange(len(site.which) + 1))
        self._lost: dict[int, list[tuple[Claim, str]]] = {}
        self._note_unplaced(batches)

    def columns(self, first: int, last: int) -> list[list[Any]]:
        """The rows of the machines ``first`` to ``last - 1`` (of the sweep's columns): a list for each of `VALUES`."""
        some = slice(int(self.first[first]), int(self.first[last]))
        numbers = [column.tolist() for column in self.numbers(some)]
        jobs = [[None if n < 0 else n for n in column] for column in numbers[len(NUMBERS) :]]
        texts = [[words.texts[code] for code in words.codes.tolist()] for words in self.texts(some)]
        return [*numbers[: len(NUMBERS)], *jobs, *texts]

    def numbers(self, some: slice | Ints) -> list[Ints]:
        """`NUMBERS` and `JOBS` of some rows; -1 for nobody's job."""
        jobs = np.append(self.site.jobs, -1)  # code -1 is the last one
        t = self.table
        told = [t[name][some] for name in ("quantity", "held", "start", "end")]
        return [*told, *(jobs[t[name][some]] for name in ("job", "linked"))]

    def texts(self, some: slice | Ints) -> list[Words]:
        """`TEXTS` of some rows; but for the unit there are few."""
        t = {name: self.table[name][some] for name in ("account", "model", "project", "job", "unit", "link", "reason")}
        names, nobodys = self.sweep.site.names, t["job"] < 0
        reasons = self.sweep.reasons  # those met in windows have negative codes, from -1 on
        return [
            Words(ACCOUNTS, t["account"]),
            Words([*map(storable, self.sweep.models)], t["model"]),
            Words([*map(storable, names.projects), ""], np.where(nobodys, -1, t["project"])),
            Words([*(kind.value for kind in LINKS), ""], t["link"]),
            Words([*map(storable, [*reasons.prepared.texts, *reasons.decided.texts[:0:-1]])], t["reason"]),
            Words([*names.units, ""], np.where(nobodys, -1, t["unit"])),
        ]

    def refuse_unbalanced(self) -> None:
        """Raise `LedgerError` when the postings of a node-day do not sum to zero, or one is negative that may not."""
        t = self.table
        negative = np.flatnonzero((t["quantity"] < 0) & (t["account"] != ACCOUNTS.index(CAPACITY)))
        if len(negative):
            n = negative[0]
            what = f"{t['quantity'][n]} on {ACCOUNTS[t['account'][n]]} is negative"
            raise LedgerError(f"node-day {self._place(t['machine'][n])}: {what}")
        models = max(len(self.sweep.models), 1)
        key, which = np.unique(t["machine"].astype(np.int64) * models + t["model"], return_inverse=True)
        sums = np.zeros(len(key), dtype=np.int64)
        np.add.at(sums, which, t["quantity"])
        for n in np.flatnonzero(sums)[:1].tolist():
            left = {self.sweep.models[int(key[n]) % models]: int(sums[n])}
            raise LedgerError(f"node-day {self._place(int(key[n]) // models)} does not balance: {left} are left over")

    def _place(self, machine: int) -> str:
        return f"{self.site.columns.machines[machine]} {self.site.day.start}"

    def _reason(self, code: int) -> str:
        return storable(self.sweep.reasons[code]) if code else ""

    def result(self, machine: int) -> NodeDayResult:
        """One machine's postings as nouns."""
        name = self.site.columns.machines[machine]
        some = slice(int(self.first[machine]), int(self.first[machine + 1]))
        postings: Iterable[Posting] = ()
        if some.start < some.stop:
            alone = Batch({column: values[some] for column, values in self.table.items()})
            (postings,) = postings_of(alone, self.sweep).values()
        return NodeDayResult(name, self.site.day.start, [*postings], self.unplaced(machine))

    def unplaced(self, machine: int) -> Sequence[tuple[Claim, str]]:
        """One machine's claims that found no cards, with the reason, in the order of the scalar rules."""
        return sorted(self._lost.get(machine, ()), key=lambda lost: claim_order(lost[0]))

    def _note_unplaced(self, batches: Sequence[Batch]) -> None:
        for lost in (lost for batch in batches for lost in batch.unplaced):
            machine = int(np.searchsorted(self.site.first, lost.row, side="right")) - 1
            claim = self.site.day.claim(int(self.site.rows[lost.row]))
            self._lost.setdefault(machine, []).append((claim, lost.reason))

    def _order(self, t: Table) -> Ints:
        """By machine, and in a node-day by what it says, as text: the order of `accounting.reconcile`."""
        names = self.sweep.site.names
        jobs = self._job_ranks()
        places = [
            (t["machine"].astype(np.int64), len(self.site.which)),
            (ranks(ACCOUNTS)[t["account"]], len(ACCOUNTS)),
            (ranks(self.sweep.models)[t["model"]], len(self.sweep.models)),
            (np.append(ranks(names.projects), -1)[t["project"]] + 1, len(names.projects) + 1),
            (jobs[t["job"]], len(jobs)),
        ]
        packed = np.zeros(len(t["job"]), dtype=np.int64)
        bits = 0
        for rank, size in places:
            bits += size.bit_length()
            packed = (packed << size.bit_length()) | rank
        order = np.argsort(packed) if bits < 64 else np.lexsort([rank for rank, _ in places[::-1]])
        like = np.zeros(len(order), dtype=bool)
        same = np.ones(max(len(order) - 1, 0), dtype=bool)
        for rank, _ in places:
            same &= rank[order][1:] == rank[order][:-1]
        like[1:] |= same
        like[:-1] |= same
        again = np.flatnonzero(like)
        if len(again):
            group = np.cumsum(np.concatenate([[True], ~same]))[again].tolist()
            rest = self._rest(t, order[again], jobs)
            order[again] = [n for _, _, n in sorted(zip(group, rest, order[again].tolist(), strict=True))]
        return order

    def _rest(self, t: Table, which: Ints, jobs: Ints) -> list[tuple[str, str, int, str]]:
        """Of rows alike in all else: unit, link, linked job and reason."""
        units, kinds = [*self.sweep.site.names.units, ""], [*(kind.value for kind in LINKS), ""]
        return [
            (units[unit], kinds[link], linked, self._reason(reason))
            for unit, link, linked, reason in zip(
                t["unit"][which].tolist(),
                t["link"][which].tolist(),
                jobs[t["linked"][which]].tolist(),
                t["reason"][which].tolist(),
                strict=True,
            )
        ]

    def _job_ranks(self) -> Ints:
        """By code of a job its rank by name; nobody comes first, as in the order of ``str``."""
        day = self.site.day
        return np.append(ranks_below(*day.world.reader.job_texts(day.rows, self.site.holder)) + 1, 0)
