"""What is swept at once, all of it numbers: it travels to another process or machine as it is."""

from __future__ import annotations

from dataclasses import dataclass

from accounting.arrays import Codes, Flags, Ints
from accounting.model import DAY
from accounting.reconcile.sweep.constant_stretches import PoolTable
from accounting.reconcile.sweep.links.link_stretches import LinkStretches
from accounting.reconcile.sweep.table import Table
from accounting.reconcile.sweep.time_cells import TimeCells, Windows


@dataclass(frozen=True, slots=True)
class Rows:
    """What the stretches' rows are, by row. Rows of one machine are together."""

    machine: Ints
    milligpu: Ints
    job: Codes
    unit: Codes
    project: Codes
    model: Codes


@dataclass(frozen=True, slots=True)
class Holders:
    """Claims with others inside them, by ascending row, and what becomes of the rest that those leave free.

    A lender's rest is on the account ``lent`` for the reason ``why``, which depend on the situation: ``situation_key``
    is holder and situation packed as ``(position << 32) | situation``, ascending. An external Slurm job (``same``) pays
    for its rest through ``project``; ``pod_job`` is the job that its pods are. One that is neither pays for all it
    holds, and is only watched for pods that do not fit in.
    """

    row: Ints
    start: Ints
    end: Ints
    lends: Flags
    same: Flags
    project: Codes
    pod_job: Codes
    situation_key: Ints
    lent: Ints
    why: Ints


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk of machines, ready to be swept.

    Machines are counted from ``first_machine``, times are seconds since ``start``; the period is ``length`` seconds.
    Of the two lots of ``stretches`` the first is by ascending row. ``remainder`` is the code of the reason for which an
    external job pays.
    """

    first_machine: int
    machines: int
    start: int
    length: int
    rows: Rows
    stretches: tuple[LinkStretches, LinkStretches]
    holders: Holders
    cells: TimeCells
    pools: PoolTable
    remainder: int

    @property
    def offset(self) -> int:
        """Seconds of the period's first UTC day that lie before it."""
        return self.start % DAY


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of a part.

    ``settled`` are the postings of whole node-days, by machine and day. The scalar rules must decide ``windows``; what
    is known of the postings of the windows' days beside that is ``unsettled``. ``unplaced`` are row, day, first second
    and the code of the reason (columns of an array) of claims that found no cards on a day.
    """

    settled: Table
    unsettled: Table
    windows: Windows
    unplaced: Ints
