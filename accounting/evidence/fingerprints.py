"""Fingerprints of what node-days are made from: cheap to take for millions of claims, and the same in bulk and singly.

The inputs of a node-day are known again by one SHA-256 over what its machine had and over a *print* of 64 bytes for
each claim: the digest of what its record said (``records.meaning``, taken once when the record was read), with the
node, the kind of cards, the share, the time and the project for which it counts here. So nobody has to spell out a
claim again to see that it is the same, and the print does not depend on how the ledger numbers its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, Ruling
from exporters.model import Claim, NodeKey, Scheduler


def no_evidence(machine: str, start: int) -> bytes:
    """The inputs' hash of a node-day of which no evidence is left."""
    return hashlib.sha256(f"no evidence of {machine} {start}".encode()).digest()


STILL_HELD = -1
"""What stands for the end of a claim that is still held."""


def claim_digest(claim: Claim) -> bytes:
    """A digest of everything a claim says: of one that no record says just like that."""
    job, node = claim.job, claim.node
    keys = sorted((k.kind.value, k.cluster, k.value, k.evidence) for k in claim.keys) if claim.keys else ()
    said = ascii(
        (
            job.scheduler.value, job.cluster, job.id, claim.unit, node.scheduler.value, node.cluster, node.name,
            claim.milligpu, claim.start, claim.end, claim.model, claim.profile, claim.indices, claim.uuids, keys,
            claim.split_assumed, claim.end_basis, claim.native_id,
        )
    )  # fmt: skip
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


@lru_cache(maxsize=1 << 16)
def number_of(text: str) -> int:
    """64 bits of a digest of a text."""
    return int.from_bytes(hashlib.blake2b(ascii(text).encode(), digest_size=8).digest())


def node_number(node: NodeKey) -> int:
    """64 bits that stand for a node."""
    return number_of(repr((node.scheduler.value, node.cluster, node.name)))


def place_text(
    span: tuple[str, int, int],
    capacity: Iterable[CapacityStretch],
    coverage: Iterable[CoverageStretch],
    known_until: Iterable[tuple[Scheduler, str, int]],
    rulings: Iterable[Ruling],
    holdings: Iterable[HoldingStretch] = (),
) -> bytes:
    """Everything a node-day says beside its claims; ``span`` is its machine, start and end."""
    said = (
        *span,
        sorted(
            (s.start, s.end, s.scheduler.value, s.cluster, s.node, s.model, s.milligpu, s.up, s.reason, s.proven)
            for s in capacity
        ),
        sorted((s.start, s.end, s.scheduler.value, s.cluster) for s in coverage),
        sorted((s.value, cluster, until) for s, cluster, until in known_until),
        *sorted((*map(str, r.parties), "to", str(r.to), r.author, r.why) for r in rulings),
        *sorted((h.start, h.end, str(h.job), h.unit, h.index, h.uuid, h.milligpu) for h in holdings),
    )
    return ascii(said).encode()


def inputs_digest(place: bytes, prints: bytes | memoryview) -> bytes:
    """The inputs' hash of a node-day: SHA-256 over `place_text`, its length, and its claims' prints in their order."""
    found = hashlib.sha256(len(place).to_bytes(8) + place)
    found.update(prints)
    return found.digest()
