"""The upper floor's nouns, frozen: what goes into a node-day, what comes out, and what finance receives.

Quantities are integer **milliGPU-seconds**; times whole epoch seconds UTC, half-open; money is `Decimal`. A float never
enters the ledger: telemetry is float and only decorates a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.model import Claim, Disposition, JobKey, LinkKind, Scheduler

DAY = 86_400
"""Seconds in a UTC day, the length of a node-day."""

NEAR = 3600
"""Seconds by which two claims that a key ties may miss each other and still be looked at together."""

LEFT = "left"
"""Why a sighting ended: a reading of its source did not list the node any more."""

CAPACITY = "capacity"
"""The account that every other posting of a node-day balances against."""


@dataclass(frozen=True, slots=True, order=True)
class CapacityStretch:
    """Over ``[start, end)`` one scheduler knew this machine with these cards of one model, available or not.

    ``milligpu`` 0 with an empty model means the scheduler knew the node and it had no cards. ``proven`` is what nobody
    saw: claims and events prove these cards, and of what nobody holds of them nothing is known.
    """

    start: int
    end: int
    scheduler: Scheduler
    cluster: str
    node: str
    model: str
    milligpu: int
    up: bool
    reason: str = ""
    proven: bool = False


@dataclass(frozen=True, slots=True, order=True)
class CoverageStretch:
    """Over ``[start, end)`` the records of a scheduler's cluster were readable: what they do not mention was not so."""

    start: int
    end: int
    scheduler: Scheduler
    cluster: str


@dataclass(frozen=True, slots=True, order=True)
class HoldingStretch:
    """Over ``[start, end)`` the live side saw ``milligpu`` of a card of this machine in the hands of a job's unit.

    ``index`` is the GPU index on the machine; ``uuid`` may be empty.
    """

    start: int
    end: int
    job: JobKey
    unit: str
    index: int
    uuid: str
    milligpu: int


@dataclass(frozen=True, slots=True)
class Ruling:
    """A person's decision on one dispute of a machine: the disputed cards are ``to``'s.

    ``parties`` are the jobs in dispute, sorted; or the one job whose own key is in doubt.
    """

    parties: tuple[JobKey, ...]
    to: JobKey
    author: str
    why: str

    @property
    def reason(self) -> str:
        """What the postings of the ruled cards say."""
        return f"{RULED}{self.author}: {self.why}"


RULED = "ruled by "
"""How the reason of a posting begins that a ruling moved."""

ALSO = "; also claimed by "
"""How the reason of a posting ends that is in dispute among more than two jobs: with the further ones."""


@dataclass(frozen=True, slots=True)
class NodeDay:
    """The unit of work: everything known about one machine over one UTC day ``[start, start + DAY)``.

    ``claims`` are all current claims on this machine that overlap the day, **not** clipped (links are verified on whole
    intervals), and those that a link key ties to one of them, whenever they were: a pod that goes on a little into the
    next day is verified by a job that does not, and a job's remainder is paid by the project of pods that ended the day
    before. The claims of linked jobs on other machines are not needed. ``projects`` says who pays for each job.

    ``known_until`` says, per scheduler's cluster, up to which second its claims are known (at most the day's end): a
    claim without end is held until then, and what it does afterwards nobody knows yet.

    ``rulings`` are the decisions in force on disputes of this machine whose parties all have a claim here; at most one
    for the same parties.

    ``holdings`` are what was seen of the cards of the claims' units, clipped to the day.

    ``prints`` are fingerprints of the claims as the ledger knows them (`accounting.evidence.fingerprints`): what their
    inputs' hash is made from. Without them it is made from the claims themselves.
    """

    machine: str
    start: int
    end: int
    claims: tuple[Claim, ...]
    capacity: tuple[CapacityStretch, ...]
    coverage: tuple[CoverageStretch, ...]
    projects: tuple[tuple[JobKey, str], ...] = ()
    known_until: tuple[tuple[Scheduler, str, int], ...] = ()
    rulings: tuple[Ruling, ...] = ()
    holdings: tuple[HoldingStretch, ...] = ()
    prints: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Posting:
    """One side of a node-day's transaction, in milliGPU-seconds of one GPU model.

    A transaction has one negative posting per model on the account ``capacity`` and positive ones on the six
    dispositions; they sum to zero. ``job``/``unit`` name whose it is (None for idle, down, unknown).
    ``linked`` names the other record of the same cards: the pods' external Slurm job, the outer job of an inner pod,
    the opponent of a dispute. ``start``/``end`` is the stretch of the day that it covers, first to last second.
    ``reason`` says why in words (``bad fan``, ``no records of slurm hpc1``, ``interval is not inside that of ...``).
    A posting with quantity 0 shows a record whose cards are counted on ``linked``. ``held`` is what the claim held, on
    whatever account it is counted: over a claim's postings it sums to all that the claim holds while capacity is known.
    """

    account: str  # a Disposition value, "capacity", or empty for a linked record that is only shown
    model: str
    quantity: int
    project: str = ""
    job: JobKey | None = None
    unit: str = ""
    start: int = 0
    end: int = 0
    held: int = 0
    link: LinkKind | None = None
    linked: JobKey | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one statement line is about: one project, job run and GPU model (or nobody: idle ...) in a period.

    ``held`` and ``charged`` are milliGPU-seconds: what the job held, and what of it is counted on this line under
    ``disposition``. ``disposition`` is None for a linked record that is shown but counted on ``linked``.
    ``start``/``end`` are the run's first and last second inside the period.
    """

    project: str
    job: JobKey | None
    gpu_model: str
    disposition: Disposition | None
    held: int
    charged: int
    start: int
    end: int
    linked: JobKey | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeDayResult:
    """A reconciled node-day: its transaction, and what could not be placed.

    ``unplaced`` are claims that found no cards, wholly or in part, with the reason (they show up in ``rejects``): no
    capacity of the machine is known, or the claim alone is larger than it.
    """

    machine: str
    start: int
    postings: Sequence[Posting]
    unplaced: Sequence[tuple[Claim, str]] = ()
