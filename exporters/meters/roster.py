"""Which jobs have series of their own: so many, and the others together as job ``other``.

A site that starts a hundred thousand jobs an hour would otherwise make as many series. A job that has its own series
keeps them for as long as it is shown, and one that was folded stays folded: no series changes its meaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

from exporters.exposition.family import Row
from exporters.model import JobKey

OTHER = "other"
"""The job id under which jobs without series of their own are added up."""

Fold = Literal["sum", "drop", "keep"]
"""What becomes of a folded job's rows: added up under `OTHER`, left out, or written all the same."""


def other(key: JobKey) -> JobKey:
    """What stands for a folded job: all those of its scheduler and cluster."""
    return JobKey(key.scheduler, key.cluster, OTHER)


class Roster:
    """Gives out the series. Call `step` once per join."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._own: set[JobKey] = set()
        self.folded: frozenset[JobKey] = frozenset()

    def step(self, shown: Iterable[JobKey]) -> None:
        """Take note of the jobs that are shown now, the most important first."""
        wanted = dict.fromkeys(key for key in shown if key.id != OTHER)
        if not self.folded and len(wanted) <= self._limit:
            self._own = set(wanted)
            return
        self._own &= wanted.keys()
        folded = {key for key in self.folded if key in wanted}
        for key in wanted:
            if key not in self._own and key not in folded:
                (folded if len(self._own) >= self._limit else self._own).add(key)
        self.folded = frozenset(folded)


def fold(rows: Iterable[Row], labels: Sequence[str], how: Fold, folded: Collection[JobKey]) -> Iterable[Row]:
    """The rows of one family with those of folded jobs dealt with. Families that name no job are as they were."""
    names = (("scheduler", "cluster", "job_id"), ("outer_scheduler", "outer_cluster", "outer_job_id"))
    places = [tuple(labels.index(n) for n in three) for three in names if three[2] in labels]
    if how == "keep" or not places:
        return rows
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for values, amount in rows:
        changed = list(values)
        for place in places:
            if tuple(values[n] for n in place) in folded:
                changed[place[2]] = OTHER
        if changed == list(values) or how == "sum":
            sums[tuple(changed)] += amount
    return sums.items()
