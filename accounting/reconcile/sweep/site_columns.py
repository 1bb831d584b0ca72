"""A site's claims as columns: whole numbers in arrays, text by code. What the sweep reads.

Rows are grouped by machine. Text never enters the sweep: jobs, units, nodes and projects are codes into lists that the
caller keeps, and the few claims that need the scalar rules are fetched as `Claim` objects through ``claims``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Codes, Flags, Ints
from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, Ruling
from exporters.join.links import FOREVER
from exporters.model import Claim, JobKey, LinkKind, Scheduler

__all__ = [
    "INSIDE",
    "LENDS",
    "LINKS",
    "MOST_MILLIGPU",
    "PER_CLAIM",
    "SAME",
    "STAND_IN",
    "Codes",
    "Columns",
    "Flags",
    "Ints",
    "Keys",
    "Names",
    "Seen",
    "nothing_seen",
]

LINKS = tuple(LinkKind)
"""Link kinds by code."""

LENDS, SAME, INSIDE, STAND_IN = (
    LINKS.index(kind) for kind in (LinkKind.LENDS, LinkKind.SAME, LinkKind.INSIDE, LinkKind.STAND_IN)
)

MOST_MILLIGPU = 1 << 31
"""A claim of two million cards is a mistake; below it no sum over a machine's month leaves 64 bits."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The link keys on claims, one entry per key, by ascending row.

    ``kind`` is a code into `LINKS`. ``cluster`` is a code as in `Columns.cluster`, -1 when the key names no cluster or
    one without claims (``any_cluster`` tells the two apart). ``target`` is, for ``lends``, a code as in `Columns.node`;
    for ``same`` and ``inside`` a code as in `Columns.native`; -1 when nothing has that name.
    """

    row: Ints
    kind: NDArray[np.int8]
    cluster: Codes
    any_cluster: Flags
    target: Codes


@dataclass(frozen=True, slots=True)
class Seen:
    """The cards that claims are known to hold, one entry per claim, card and stretch, by ascending row.

    ``start``/``end`` are epoch seconds, within the claim's. ``card`` numbers the cards of the row's machine. Entries of
    one row and card do not overlap. Where ``unsure``, the scalar rules may see the row's cards otherwise, so that only
    they can say which claim is inside which by its cards. `accounting.reconcile.sweep.cards.seen` makes these.
    """

    row: Ints
    start: Ints
    end: Ints
    card: Ints
    milligpu: Ints
    unsure: Flags


def nothing_seen() -> Seen:
    """No card is known."""
    none = np.empty(0, dtype=np.int64)
    return Seen(none, none, none, none, none, np.empty(0, dtype=bool))


@dataclass(frozen=True, slots=True)
class Names:
    """The texts behind the codes. Any sequence will do, also one that looks its items up when asked.

    ``models`` are pairs of model and profile.
    """

    jobs: Sequence[JobKey]
    units: Sequence[str]
    projects: Sequence[str]
    models: Sequence[tuple[str, str]]
    clusters: Sequence[str]


@dataclass(frozen=True, slots=True)
class Columns:
    """Claims that touch a period, and those that a link key ties to one of them; each resolved to its machine.

    Rows ``first[m]:first[m + 1]`` are those of machine ``m``. ``start``/``end`` are epoch seconds, unclipped; a claim
    that is still held ends at `FOREVER`. ``project`` is who pays (one project per job over the period that is swept:
    sweep the stretches between two changes of the project map one by one). ``slurm`` says whose claim it is, and
    ``cluster`` which cluster's. ``node`` is the code of a Slurm claim's NodeName, -1 for pods; ``native`` the code of
    the claim's native id, -1 when no key on the site names it. ``capacity`` and ``coverage`` are by machine: of one
    that was seen in the hands of a run that no record tells, less is known than of another of its cluster.
    ``known_until`` and ``rulings`` (by machine) are as in `NodeDay`. ``claims`` returns the claims behind rows.
    ``seen`` are the cards that claims are known to hold, and ``holdings`` returns what was seen of the cards of one
    machine's units within a stretch of epoch seconds, clipped to it (None: nothing was seen anywhere).
    """

    machines: Sequence[str]
    first: Ints
    job: Codes
    unit: Codes
    project: Codes
    model: Codes
    slurm: Flags
    cluster: Codes
    node: Codes
    native: Codes
    milligpu: Ints
    start: Ints
    end: Ints
    keys: Keys
    capacity: Sequence[Sequence[CapacityStretch]]
    coverage: Sequence[Sequence[CoverageStretch]]
    names: Names
    claims: Callable[[Ints], Sequence[Claim]]
    known_until: Mapping[tuple[Scheduler, str], int] = field(default_factory=dict)
    rulings: Mapping[int, Sequence[Ruling]] = field(default_factory=dict)
    seen: Seen = field(default_factory=nothing_seen)
    holdings: Callable[[int, int, int], Sequence[HoldingStretch]] | None = None

    def __post_init__(self) -> None:
        """Refuse what the sweep would silently miscount."""
        rows = len(self.job)
        lengths = {len(getattr(self, name)) for name in PER_CLAIM}
        if lengths != {rows} or len(self.first) != len(self.machines) + 1 or int(self.first[-1]) != rows:
            raise ValueError(f"columns of different lengths: {sorted(lengths)} rows, {len(self.first)} machine borders")
        if rows and not 0 <= int(self.milligpu.min()) <= int(self.milligpu.max()) < MOST_MILLIGPU:
            raise ValueError(f"milliGPU of a claim must be within 0 and {MOST_MILLIGPU - 1}")
        if rows and (int(self.start.min()) <= -FOREVER or int(self.end.max()) > FOREVER):
            raise ValueError("a claim's time is out of range: epoch seconds, and FOREVER for an end that is not known")


PER_CLAIM = ("job", "unit", "project", "model", "slurm", "cluster", "node", "native", "milligpu", "start", "end")
"""The columns that have an entry per claim."""
