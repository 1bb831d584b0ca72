"""What makes no sense in a record that reads cleanly, and what no ledger can keep: set aside with its reason, and the
batch or the round goes on.

A claim whose numbers no column takes, a name that no encoding knows: whoever can create a pod could otherwise stop the
recording of all others. A live round that fails for its content is split until the guilty facts are alone (`sift`).
What fails for the ledger's sake (it is locked, full, away) is no fault of the content: the round waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from accounting.model import DAY
from exporters.model import Claim, JobKey, NodeEvent, Record, Reject
from exporters.recorder import Round
from exporters.sources.slurm.gres import slots_of

MAX_RECORD = 4096
"""Characters of a fact that its reject keeps."""

_PARTS = ("jobs", "claims", "ended", "nodes", "rejects")
_OWN = ("holdings", "telemetry")

Place = tuple[int, str]
"""Where a fact stands: position of its reading in the round (-1: the round's own), and the field."""
Fact = tuple[Place, object]

MOST_MILLIGPU = 4_096_000
"""What one claim can hold on one machine: more is no count."""


def senseless(record: Record, now: int) -> Reject | None:
    """What is wrong with a record, as a `Reject`; None when it can be used."""
    reason = _fault(record, now)
    return Reject(record.source, record.raw, reason, now) if reason else None


def _fault(record: Record, now: int) -> str:
    """The first thing that makes no sense, empty when all does."""
    job, claims = record.job, record.claims
    if job.start is not None and job.end is not None and job.end < job.start:
        return f"job {job.display_id} ends before it starts: {job.start} to {job.end}; correct it in the scheduler"
    if claims and record.excluded:
        return f"job {job.display_id} both holds cards and is excluded ({record.excluded})"
    if not claims and not record.excluded and not record.pending:
        return f"job {job.display_id} ended, holds no cards, and nothing says why"
    for claim in claims:
        reason = _claim_fault(claim, job.key, now)
        if not reason and claim.end is None and not record.pending:
            reason = "ended, but the claim has no end"
        if reason:
            return f"job {job.display_id} on node {claim.node.name}: {reason}"
    return ""


def _claim_fault(claim: Claim, holder: JobKey, now: int) -> str:
    start, end = claim.start, claim.end
    if claim.job is not holder and claim.job != holder:
        return f"the claim is of another job, {claim.job}"
    # none may have been dealt to a node of the run, and what slots weigh is known later
    least = 0 if claim.split_assumed or slots_of(claim.profile) else 1
    if not least <= claim.milligpu <= MOST_MILLIGPU:
        return f"{claim.milligpu} milliGPU cannot be held on one machine"
    if end is not None and end < start:
        return f"ends before it starts: {start} to {end}; correct it in the scheduler"
    if start < 0 or start > now + DAY:
        return f"starts at {start}, which is not a past time; check the clock"
    if end is not None and end > now + DAY:
        return f"ends at {end}, which is not a past time; check the clock"
    return ""


def backwards(event: NodeEvent, source: str) -> Reject:
    """An event that ends before it starts, as a `Reject`."""
    return Reject(source, repr(event), f"event of node {event.key} ends before it starts: {event.start} to {event.end}")


@dataclass(frozen=True, slots=True)
class Sifted:
    """What of a round can be kept, and the facts that cannot, each with the reason."""

    round: Round
    guilty: tuple[tuple[object, str], ...]


def blames_content(error: Exception) -> bool:
    """Whether an error is about what was to be kept, not about the ledger or the way to it."""
    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError) and not error.connection_invalidated
    return isinstance(error, StatementError | ArithmeticError | ValueError | TypeError)


def sift(round_: Round, keep: Callable[[Round], None]) -> Sifted:
    """Find the facts of a round for which ``keep`` fails; it is called many times, and must leave nothing behind.

    Raises what ``keep`` raises of a round without any fact, or for another reason than its content.
    """
    keep(_only(round_, []))
    good: list[Fact] = []
    guilty: list[tuple[object, str]] = []

    def test(some: Sequence[Fact]) -> None:
        try:
            keep(_only(round_, [*good, *some]))
        except Exception as error:
            if not blames_content(error):
                raise
            if len(some) == 1:
                guilty.append((some[0][1], _words(error)))
                return
        else:
            good.extend(some)
            return
        half = len(some) // 2
        test(some[:half])
        test(some[half:])

    facts = _facts(round_)
    if facts:
        test(facts)
    return Sifted(_only(round_, good), tuple(guilty))


def _words(error: Exception) -> str:
    """What the database or its driver says, without the statement: that differs with what else is in the round."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first, _, _ = str(cause).partition("\n")
    return f"{type(cause).__name__}: {first}"[:200]


def without(round_: Round, guilty: Callable[[object], bool]) -> Round:
    """A round without the facts that are known to be guilty; the very same one where there are none."""
    if not any(guilty(fact) for _, fact in _facts(round_)):
        return round_
    return _only(round_, [fact for fact in _facts(round_) if not guilty(fact[1])])


def rejected(guilty: Sequence[tuple[object, str]], at: float) -> list[Reject]:
    """The facts that cannot be kept as rejects, for people."""
    return [
        Reject("recorder", repr(fact)[:MAX_RECORD], f"the ledger cannot keep it ({reason}): not counted", at)
        for fact, reason in guilty
    ]


def _facts(round_: Round) -> list[Fact]:
    found: list[Fact] = []
    for n, reading in enumerate(round_.readings):
        found += [((n, part), fact) for part in _PARTS for fact in getattr(reading, part)]
    return found + [((-1, part), fact) for part in _OWN for fact in getattr(round_, part)]


def _only(round_: Round, facts: Sequence[Fact]) -> Round:
    """The round with these of its facts."""
    kept: dict[Place, list[object]] = {}
    for place, fact in facts:
        kept.setdefault(place, []).append(fact)
    readings = [
        replace(reading, **{part: tuple(kept.get((n, part), ())) for part in _PARTS})  # type: ignore[arg-type]
        for n, reading in enumerate(round_.readings)
    ]
    return replace(round_, readings=readings, **{part: tuple(kept.get((-1, part), ())) for part in _OWN})  # type: ignore[arg-type]
