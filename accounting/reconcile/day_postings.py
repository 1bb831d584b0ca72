"""What the sweep makes of a day, as postings in the order in which the rule would give them node-day by node-day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from accounting.arrays import Ints
from accounting.reconcile.day_columns import DayColumns
from accounting.reconcile.posting_columns import Postings, Words
from accounting.reconcile.rule import claim_order
from accounting.reconcile.sweep import ACCOUNTS, Batch, Sweep
from accounting.reconcile.sweep.site_columns import LINKS
from accounting.reconcile.sweep.table import Table, concat, empty, take
from accounting.reconcile.text_ranks import ranks, ranks_below
from accounting.store.database import storable
from exporters.model import Claim

Lost = Mapping[int, Sequence[tuple[Claim, str]]]
"""By number of the machine the claims that found no cards, with the reason."""


class DaySwept:
    """The node-days of ``site``, swept."""

    def __init__(self, site: DayColumns, sweep: Sweep, batches: Sequence[Batch]) -> None:
        self.site, self.sweep, self.batches = site, sweep, batches

    def postings(self) -> Postings:
        """The postings, by machine, and of each in the order of the rule: by what they say, as text."""
        found = concat([empty(), *(batch.columns for batch in self.batches)])
        found = take(found, (found["quantity"] != 0) | (found["held"] != 0))
        t = take(found, self._order(found))
        jobs = np.append(self.site.jobs, -1)  # code -1 is the last one
        numbers = [t[name] for name in ("quantity", "held", "start", "end")]
        numbers += [jobs[t[name]] for name in ("job", "linked")]
        return Postings(np.searchsorted(t["machine"], np.arange(len(self.site.which) + 1)), numbers, self._texts(t))

    def unplaced(self) -> Lost:
        """The claims that found no cards, those of each machine in the order of the rule."""
        lost: dict[int, list[tuple[Claim, str]]] = defaultdict(list)
        for one in (one for batch in self.batches for one in batch.unplaced):
            machine = int(np.searchsorted(self.site.first, one.row, side="right")) - 1
            lost[machine].append((self.site.day.claim(int(self.site.rows[one.row])), one.reason))
        return {machine: sorted(some, key=lambda told: claim_order(told[0])) for machine, some in lost.items()}

    def _texts(self, t: Table) -> list[Words]:
        """But for the unit there are few."""
        names, nobodys = self.sweep.site.names, t["job"] < 0
        return [
            Words(ACCOUNTS, t["account"]),
            Words([*map(storable, self.sweep.models)], t["model"]),
            Words([*map(storable, names.projects), ""], np.where(nobodys, -1, t["project"])),
            Words([*(kind.value for kind in LINKS), ""], t["link"]),
            Words(self._reasons(), t["reason"]),
            Words([*names.units, ""], np.where(nobodys, -1, t["unit"])),
        ]

    def _reasons(self) -> list[str]:
        """Texts of reasons by code; those met in windows have negative codes, from -1 on."""
        reasons = self.sweep.reasons
        return [*map(storable, [*reasons.prepared.texts, *reasons.decided.texts[:0:-1]])]

    def _order(self, t: Table) -> Ints:
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
        units, kinds, reasons = [*self.sweep.site.names.units, ""], [*(k.value for k in LINKS), ""], self._reasons()
        return [
            (units[unit], kinds[link], linked, reasons[reason])
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
