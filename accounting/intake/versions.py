"""A record about to be kept, as a version of its subject: out of a history's record, or of a claim seen live. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from accounting.store.database import raw_bytes, storable, storables
from accounting.store.rows import ENDED, RUNS, WAITS, claim_text
from exporters.model import Claim, Job, JobKey, Record


class Version(NamedTuple):  # made for every record read: many times as fast as a frozen dataclass
    """One record about to be kept. ``job`` is None where the record names its job without describing it."""

    subject: str
    source: str
    cluster: str
    raw: bytes
    hash: bytes  # its identity: `hash_of`
    key: JobKey
    job: Job | None
    claims: tuple[Claim, ...]
    outcome: str
    reason: str
    finality: int


def version_of_record(record: Record, cluster: str) -> Version:
    """A history source's record as a version of its run."""
    source, cluster, reason = storables((record.source, cluster, record.excluded or record.doubt))
    raw = raw_bytes(record.raw)
    return Version(
        subject=storable(str(record.job.key)),
        source=source,
        cluster=cluster,
        raw=raw,
        hash=hash_of(source, cluster, raw),
        key=record.job.key,
        job=record.job,
        claims=record.claims,
        outcome="pending" if record.pending else "excluded" if record.excluded else "charged",
        reason=reason,
        finality=ENDED if not record.pending else RUNS if record.claims or record.doubt else WAITS,
    )


def version_of_claim(claim: Claim, source: str, cluster: str) -> Version:
    """A claim that only the live side saw, as a version of itself: its canonical text is the record.

    The subject is the unit on its node, not its job: a pod whose root owner becomes known only later stays one pod.
    """
    source, cluster = storables((source, cluster))
    raw = claim_text(claim).encode()
    return Version(
        subject=storable(f"{claim.node}/{claim.unit}"),
        source=source,
        cluster=cluster,
        raw=raw,
        hash=hash_of(source, cluster, raw),
        key=claim.job,
        job=None,
        claims=(claim,),
        outcome="pending" if claim.end is None else "charged",
        reason="",
        finality=RUNS if claim.end is None else ENDED,
    )


def hash_of(source: str, cluster: str, raw: bytes) -> bytes:
    """The identity of a record: SHA-256 over where it was read (as stored) and its very bytes."""
    return hashlib.sha256(_where(source, cluster) + raw).digest()


@lru_cache(maxsize=64)
def _where(source: str, cluster: str) -> bytes:
    return f"{len(source)}:{source}{len(cluster)}:{cluster}".encode()
