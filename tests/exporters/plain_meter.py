"""`exporters.meters.meter` once more, in plain loops over nouns: slow, and short enough to be believed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from exporters.join.cards import TIME_SLICED
from exporters.join.site_picture import CardUse, Picture
from exporters.meters.use import NUMBERS, Use
from exporters.model import MILLI_PER_GPU, Claim, Disposition, Field, JobKey


def add(total: Use, other: Use) -> None:
    """Add another use to a total."""
    for name in NUMBERS:
        setattr(total, name, getattr(total, name) + getattr(other, name))
    total.measured |= other.measured


@dataclass(frozen=True, slots=True)
class _Last:
    """A device's previous reading and whose it was."""

    at: float
    values: Mapping[Field, float]
    owners: frozenset[tuple[JobKey, str]]


class PlainMeter:
    """The meter in plain loops, one card after the other."""

    def __init__(self, gap: float, linger: float) -> None:
        self.gap = gap
        self.linger = linger
        self.jobs: dict[JobKey, Use] = {}
        self.projects: dict[tuple[str, str, str], Use] = defaultdict(Use)
        self.memory: dict[JobKey, float] = {}
        self._at: float | None = None
        self._seen: dict[JobKey, float] = {}
        self._devices: dict[tuple[str, str, str], _Last] = {}
        self._known: set[tuple[JobKey, str, str]] = set()

    def step(self, picture: Picture, projects: Mapping[JobKey, str]) -> None:
        """Add the time since the previous picture to the totals."""
        started = picture.at if self._at is None else self._at
        uses: dict[tuple[JobKey, str, str], Use] = defaultdict(Use)
        self._hold(picture, uses)
        self._observe(picture, started, uses)
        for (key, _, _), use in uses.items():
            use.samples_seen = min(use.samples_seen, use.samples_expected)  # several MIG instances make up one share
            project = projects[key]
            add(self.jobs.setdefault(key, Use()), use)
            self._seen[key] = picture.at
            add(self.projects[key.scheduler.value, key.cluster, project], use)
        for key in [k for k, seen in self._seen.items() if picture.at - seen > self.linger]:
            del self.jobs[key], self._seen[key]
        self._at = picture.at

    def _hold(self, picture: Picture, uses: dict[tuple[JobKey, str, str], Use]) -> None:
        """Card-seconds held: from the record, so the first sight of a claim counts from its start."""
        known = set()
        for held in picture.held:
            if held.disposition is not Disposition.CHARGED:
                continue
            claim = held.claim
            owner = (claim.job, claim.unit, held.machine)
            since = float(claim.start) if owner not in self._known or self._at is None else self._at
            use = uses[owner]
            use.gpu_seconds += held.milligpu / MILLI_PER_GPU * max(0.0, picture.at - max(since, claim.start))
            use.samples_expected += -(-held.milligpu // MILLI_PER_GPU)
            known.add(owner)
        self._known = known

    def _observe(self, picture: Picture, started: float, uses: dict[tuple[JobKey, str, str], Use]) -> None:
        """What the readings say was done since the previous ones."""
        memory: dict[JobKey, float] = defaultdict(float)
        devices: dict[tuple[str, str, str], _Last] = {}
        for card in picture.cards:
            sample = card.sample
            if not sample.values:
                continue  # a card of which only the owner is told
            name = (card.machine, sample.uuid, sample.mig_instance)
            last = self._devices.get(name)
            if last is not None and picture.at < started:  # the clock was set back
                last = _Last(-math.inf, last.values, last.owners)
            owners = frozenset((c.job, c.unit) for c, _ in card.shares)
            if last is not None and sample.at <= last.at:  # the same reading again: its source was not read since
                devices[name] = last
            else:
                devices[name] = _Last(sample.at, sample.values, owners)
                weight = max(MILLI_PER_GPU, sum(m for _, m in card.shares))
                for claim, share in card.shares:
                    add(
                        uses[claim.job, claim.unit, card.machine], self._used(card, claim, share, weight, last, started)
                    )
            used = sample.values.get(Field.MEMORY_USED)
            if used is not None and card.shares:
                for claim, share in card.shares:
                    memory[claim.job] += used * share / sum(m for _, m in card.shares)
        self._devices = devices
        self.memory = dict(memory)

    def _used(self, card: CardUse, claim: Claim, share: int, weight: int, last: _Last | None, started: float) -> Use:
        """One owner's use of one device since its previous reading.

        What a card drew is shared by what of it is held, so that the free part of a card is nobody's. The reading of a
        whole card that MIG has cut tells only that; what was done is told by its instances.
        """
        sample, values = card.sample, card.sample.values
        since = max(last.at if last and last.at > -math.inf else started, claim.start)
        seconds = max(0.0, sample.at - since)
        whole_of_slices = claim.profile not in ("", TIME_SLICED) and not sample.mig_instance
        use = Use(samples_seen=0 if whole_of_slices else 1)
        if seconds <= self.gap and not whole_of_slices:
            use.observed_seconds = seconds * share / MILLI_PER_GPU
            for name, busy in (
                ("active_seconds", values.get(Field.ENGINE_ACTIVE, values.get(Field.UTILIZATION))),
                ("tensor_seconds", values.get(Field.TENSOR_ACTIVE)),
            ):
                if busy is not None:
                    setattr(use, name, busy * seconds * share / MILLI_PER_GPU)
                    use.measured.add(name)
        part = share / weight
        same = last is not None and (claim.job, claim.unit) in last.owners
        for counter, rate, name in (
            (Field.ENERGY, Field.POWER, "energy_joules"),
            (Field.NVLINK_TX, Field.NVLINK_TX_RATE, "nvlink_transmit_bytes"),
            (Field.NVLINK_RX, Field.NVLINK_RX_RATE, "nvlink_receive_bytes"),
        ):
            before = last.values.get(counter) if same and last else None
            after = values.get(counter)
            if before is not None and after is not None and after >= before:
                setattr(use, name, (after - before) * part)
            elif seconds <= self.gap and rate in values:
                setattr(use, name, values[rate] * seconds * part)
            elif after is None:
                continue
            use.measured.add(name)
        return use
