"""What makes no sense in a record that reads cleanly: it is set aside with its reason, and the batch goes on."""

from __future__ import annotations

from accounting.model import DAY
from exporters.model import Claim, JobKey, NodeEvent, Record, Reject

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
    if not 0 < claim.milligpu <= MOST_MILLIGPU:
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
