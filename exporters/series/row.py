"""What a row of the metric table is, and the labels that rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from exporters.meters.roster import Fold
from exporters.series import view as v

Stability = Literal["stable", "experimental"]
Merge = Literal["sum", "max", "min"]
"""What rows of several shards with the same labels become together. Machines and their cards are in one shard only."""
JOB = ("scheduler", "cluster", "job_id")
PROJECT = ("project", "scheduler", "cluster")
SOURCE = ("source", "cluster")


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One family: how it is named, what it says, and how its rows are found."""

    name: str
    type: Literal["gauge", "counter", "info"]
    unit: str
    help: str
    labels: tuple[str, ...]
    rows: v.Rows
    stability: Stability = "experimental"
    folded: Fold = "sum"
    """What becomes of the rows of jobs beyond ``max_jobs``; an info's are always left out."""

    merge: Merge = "sum"

    @property
    def fold(self) -> Fold:
        """What becomes of the rows of jobs that have no series of their own."""
        return "drop" if self.type == "info" else self.folded
