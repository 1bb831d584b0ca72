"""One sample per card, whoever told it: dcgm-exporter reads what a card does, the node agent who holds it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from exporters.join.cards import Card, card_uuid
from exporters.model import Sample
from exporters.sources.devices.named_owners import jobs_of_both, pods_of_both


def card_of(sample: Sample) -> Card:
    """The card that a sample is of: its index, or its UUID where nobody told the index."""
    return sample.index if sample.index >= 0 else sample.uuid


def one_per_card(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one machine, each card once: what was read of it, with every owner that anybody named.

    A sample without values only names owners. It adds them to the card that was read under the same UUID, else under
    the same index; without such a card it stands for itself. A MIG device is found by its own UUID alone, which
    dcgm-exporter does not tell: beside readings of instances, which name their own owners, it would be one too many.
    """
    read = [s for s in samples if s.values]
    if len(read) == len(samples):
        return read
    by_uuid = {s.uuid: n for n, s in enumerate(read) if not s.mig_instance and s.uuid}
    by_index = {s.index: n for n, s in enumerate(read) if not s.mig_instance and s.index >= 0}
    instances = any(s.mig_instance for s in read)
    alone: dict[tuple[str, Card], Sample] = {}
    for s in samples:
        if s.values:
            continue
        uuid = card_uuid(s.uuid)
        n = by_uuid.get(uuid) if s.uuid else by_index.get(s.index)
        if n is not None:
            read[n] = _with_owners(read[n], s)
        elif not (instances and s.uuid and not uuid):
            key = (s.uuid, card_of(s))
            alone[key] = _with_owners(alone[key], s) if key in alone else s
    return [*read, *alone.values()]


def _with_owners(sample: Sample, other: Sample) -> Sample:
    if other.pods == sample.pods and other.hpc_jobs == sample.hpc_jobs:
        return sample
    return replace(
        sample, pods=pods_of_both(sample.pods, other.pods), hpc_jobs=jobs_of_both(sample.hpc_jobs, other.hpc_jobs)
    )
