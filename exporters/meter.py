"""Per-job and per-project counters, integrated from successive pictures of the site.

A scrape sees gauges at moments; what a job used is an integral. This room adds up, between one round and the next, the
card-seconds each owner held and what the cards' readings say was done in them: counter differences where a counter
exists and the card did not change hands, else rate times time. A gap is not zero: after more than ``gap`` seconds
without a reading only what the record proves is counted (cards held), and the missing readings show as expected but
not seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from exporters.attribution import CardUse, Picture
from exporters.cards import TIME_SLICED, Card
from exporters.model import MILLI_PER_GPU, Claim, Disposition, Field, JobKey
from exporters.recorder import Holding, Telemetry
from exporters.shares import split


@dataclass(slots=True)
class Use:
    """What was used, in base units. Counters only: each grows or stays.

    ``gpu_seconds`` is held time from the record; ``observed_seconds`` the part of it that readings cover, against which
    ``active_seconds`` and ``tensor_seconds`` make ratios. ``measured`` names the fields that some reading told: a field
    that no reading told is unknown, not zero, and is not served.
    """

    gpu_seconds: float = 0.0
    observed_seconds: float = 0.0
    active_seconds: float = 0.0
    tensor_seconds: float = 0.0
    energy_joules: float = 0.0
    nvlink_transmit_bytes: float = 0.0
    nvlink_receive_bytes: float = 0.0
    samples_seen: int = 0
    samples_expected: int = 0
    measured: set[str] = field(default_factory=set)

    def add(self, other: Use) -> None:
        """Add another use to this one."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.measured |= other.measured


NUMBERS = tuple(f.name for f in fields(Use) if f.name != "measured")
TELEMETRY = ("active_seconds", "tensor_seconds", "energy_joules", "nvlink_transmit_bytes", "nvlink_receive_bytes")
"""The fields of `Use` that only readings can tell."""


@dataclass(slots=True)
class Total:
    """A job's counters and when it was last seen."""

    use: Use
    project: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class _Last:
    """A device's previous reading and whose it was."""

    at: float
    values: Mapping[Field, float]
    owners: frozenset[tuple[JobKey, str]]


class Meter:
    """The running totals of one exporter. Call `step` once per join, in time order."""

    def __init__(self, gap: float, linger: float) -> None:
        """``gap``: seconds after which a missing reading is a gap. ``linger``: how long an ended job stays."""
        self.gap = gap
        self.linger = linger
        self.jobs: dict[JobKey, Total] = {}
        self.projects: dict[tuple[str, str, str], Use] = defaultdict(Use)
        self.memory: dict[JobKey, float] = {}
        self._at: float | None = None
        self._devices: dict[tuple[str, str, str], _Last] = {}
        self._known: set[tuple[JobKey, str, str]] = set()

    def step(self, picture: Picture, projects: Mapping[JobKey, str]) -> list[Telemetry]:
        """Add the time since the previous picture to the totals; return the same per claim, for the recorder."""
        started = picture.at if self._at is None else self._at
        uses: dict[tuple[JobKey, str, str], Use] = defaultdict(Use)
        self._hold(picture, uses)
        self._observe(picture, started, uses)
        for (key, _, _), use in uses.items():
            use.samples_seen = min(use.samples_seen, use.samples_expected)  # several MIG instances make up one share
            project = projects[key]
            total = self.jobs.setdefault(key, Total(Use(), project, picture.at))
            total.use.add(use)
            total.project, total.seen_at = project, picture.at
            self.projects[key.scheduler.value, key.cluster, project].add(use)
        for key in [k for k, t in self.jobs.items() if picture.at - t.seen_at > self.linger]:
            del self.jobs[key]
        self._at = picture.at
        return [
            _telemetry(owner, use, started, picture.at) for owner, use in sorted(uses.items()) if use.samples_expected
        ]

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
            owners = frozenset((c.job, c.unit) for c, _ in card.shares)
            if last is not None and sample.at <= last.at:  # the same reading again: its source was not read since
                devices[name] = last
            else:
                devices[name] = _Last(sample.at, sample.values, owners)
                weight = max(MILLI_PER_GPU, sum(m for _, m in card.shares))
                for claim, share in card.shares:
                    uses[claim.job, claim.unit, card.machine].add(self._used(card, claim, share, weight, last, started))
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
        since = max(last.at if last else started, claim.start)
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


def _telemetry(owner: tuple[JobKey, str, str], use: Use, start: float, end: float) -> Telemetry:
    """A claim's use since the previous round, for the recorder."""
    return Telemetry(
        owner[0],
        owner[1],
        owner[2],
        start,
        end,
        use.observed_seconds,
        use.active_seconds,
        use.tensor_seconds,
        use.energy_joules,
        use.nvlink_transmit_bytes,
        use.nvlink_receive_bytes,
        use.samples_seen,
        use.samples_expected,
    )


def holdings(picture: Picture) -> list[Holding]:
    """Which card is in whose hands, for the recorder: the one fact that neither scheduler keeps.

    Parts of one claim under several words are one holding of each card. A claim on slices or replicas holds its part of
    each card that its readings name, the remainder of the division on the lowest index.
    """
    uuids = {(c.machine, c.sample.index): c.sample.uuid for c in picture.cards if not c.sample.mig_instance}
    found = {
        Holding(h.machine, *_named(uuids, h.machine, card), h.claim.job, h.claim.unit, MILLI_PER_GPU)
        for h in (*picture.held, *picture.shown)
        for card in h.cards
    }
    return [*sorted(found, key=_place), *_shares(picture)]


def _named(uuids: Mapping[tuple[str, int], str], machine: str, card: Card) -> tuple[int, str]:
    """Index (-1: not known) and UUID (empty: not known) of a card."""
    return (-1, card) if isinstance(card, str) else (card, uuids.get((machine, card), ""))


def _place(holding: Holding) -> tuple[object, ...]:
    return (holding.machine, holding.index, holding.uuid, holding.job, holding.unit)


def _shares(picture: Picture) -> list[Holding]:
    """Parts of cards, in proportion to what readings tell: those of whole cards where there are, else of instances."""
    parts: dict[tuple[str, int], tuple[str, Claim, dict[tuple[int, str], list[int]]]] = {}
    for use in picture.cards:
        for claim, milligpu in use.shares:
            if claim.profile and milligpu > 0:
                _, _, cards = parts.setdefault((use.machine, id(claim)), (use.machine, claim, {}))
                told = cards.setdefault((use.sample.index, use.sample.uuid), [0, 0])
                told[bool(use.sample.mig_instance)] += milligpu
    found = []
    for machine, claim, cards in parts.values():
        weights = [whole or instances for _, (whole, instances) in sorted(cards.items())]
        for (index, uuid), milligpu in zip(sorted(cards), split(claim.milligpu, weights), strict=True):
            found.append(Holding(machine, index, uuid, claim.job, claim.unit, min(milligpu, MILLI_PER_GPU)))
    return sorted(found, key=_place)
