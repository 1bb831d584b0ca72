"""One sample per card, whoever told it: dcgm-exporter reads what a card does, the node agent who holds it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from exporters.join.cards import Card, card_uuid
from exporters.model import Sample
from exporters.sources.devices.named_owners import jobs_of_both, pods_of_both


def card_of(sample: Sample) -> Card:
    """The card that a sample is of: its index, else its UUID, else the number that Slurm has for it."""
    return sample.index if sample.index >= 0 else sample.uuid or sample.minor


def one_per_card(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of one machine, each card once: what was read of it, with every owner that anybody named.

    A sample without values only names owners, or the card's minor number. It is the card's that was read under the same
    UUID, else that of this minor number, else that of this index; without such a card it stands for itself. A MIG
    device is found by its own UUID alone, which dcgm-exporter does not tell: beside readings of instances, which name
    their own owners, it would be one too many.
    """
    read = [s for s in samples if s.values]
    if len(read) == len(samples):
        return read
    by_uuid = {s.uuid: n for n, s in enumerate(read) if not s.mig_instance and s.uuid}
    by_index = {s.index: n for n, s in enumerate(read) if not s.mig_instance and s.index >= 0}
    by_minor: dict[int, int] = {}
    instances = any(s.mig_instance for s in read)
    alone: dict[tuple[str, Card], Sample] = {}
    for s in sorted((s for s in samples if not s.values), key=lambda s: not s.uuid):  # what maps numbers comes first
        uuid = card_uuid(s.uuid)
        n = by_uuid.get(uuid) if s.uuid else by_minor.get(s.minor, by_index.get(s.index))
        if n is not None:
            read[n] = _with_owners(read[n], s)
            if read[n].minor >= 0:
                by_minor[read[n].minor] = n
        elif not (instances and s.uuid and not uuid):
            key = (s.uuid, card_of(s))
            alone[key] = _with_owners(alone[key], s) if key in alone else s
    return [*read, *alone.values()]


def _with_owners(sample: Sample, other: Sample) -> Sample:
    minor = sample.minor if sample.minor >= 0 else other.minor
    if other.pods == sample.pods and other.hpc_jobs == sample.hpc_jobs and minor == sample.minor:
        return sample
    pods, jobs = pods_of_both(sample.pods, other.pods), jobs_of_both(sample.hpc_jobs, other.hpc_jobs)
    return replace(sample, pods=pods, hpc_jobs=jobs, minor=minor)


def strays(samples: Mapping[str, Sequence[Sample]], known: Collection[str]) -> dict[str, int]:
    """Devices that were read as of a machine that no scheduler has, by its name: their readings are nobody's."""
    read = {m: {(s.uuid, s.index) for s in some if s.values} for m, some in samples.items() if m not in known}
    return {machine: len(devices) for machine, devices in read.items() if devices}


def about_strays(found: Mapping[str, int]) -> tuple[str, ...]:
    """Sentences for people about `strays`."""
    return tuple(
        f"{count} cards are read as of {machine!r}, which is no node of any scheduler, so their readings are nobody's: "
        "tell dcgm-exporter its node's name (NODE_NAME), find it by dcgm.discover, or map the name under machines.names"
        for machine, count in sorted(found.items())
    )
