"""What cards did for their owners between two readings, in arrays: one row per device, one per share of a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_

import numpy as np
from numpy.typing import NDArray

from exporters.join.cards import TIME_SLICED
from exporters.join.site_picture import CardUse, Device, Picture
from exporters.meters.use import NUMBER, NUMBERS, TELEMETRY, Floats, Truths, Uses, Whole
from exporters.model import MILLI_PER_GPU, Claim, Field
from exporters.sources.devices.field_table import COLUMN

_COUNTERS = (
    (Field.ENERGY, Field.POWER, "energy_joules"),
    (Field.NVLINK_TX, Field.NVLINK_TX_RATE, "nvlink_transmit_bytes"),
    (Field.NVLINK_RX, Field.NVLINK_RX_RATE, "nvlink_receive_bytes"),
)
"""A counter, the rate that stands in for it, and what they are of a use."""
_KEPT = [COLUMN[counter] for counter, _, _ in _COUNTERS]
_OWNER_BITS = 40
_ALIGNED = 4
"""Low bits in which no two addresses differ: as keys of a dict they would all fall into one place of sixteen."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Whose devices are: row ``device[i]`` is in the hands of ``claims[claim[i]]`` for ``milligpu[i]``."""

    device: Whole
    claim: Whole
    milligpu: Floats
    claims: tuple[tuple[Claim, str], ...]
    """Each claim with its machine."""


class ShareTable:
    """Remembers the shares of the last round: whose a device is changes seldom."""

    def __init__(self) -> None:
        self._of: list[tuple[tuple[Claim, int], ...]] = []
        self._machines: list[str] = []
        self._shares = shares_of(())

    def step(self, cards: Sequence[CardUse]) -> Shares:
        """The shares of devices, in their order; the same object for as long as they are the same."""
        of, machines = [card.shares for card in cards], [card.machine for card in cards]
        if len(of) != len(self._of) or not all(map(is_, of, self._of)) or machines != self._machines:
            self._of, self._machines, self._shares = of, machines, shares_of(cards)
        return self._shares


def shares_of(cards: Sequence[CardUse]) -> Shares:
    """The shares of devices, in their order."""
    positions: dict[int, int] = {}
    claims: list[tuple[Claim, str]] = []
    device: list[int] = []
    which: list[int] = []
    milligpu: list[int] = []
    for n, card in enumerate(cards):
        for claim, share in card.shares:
            position = positions.setdefault(id(claim) >> _ALIGNED, len(claims))
            if position == len(claims):
                claims.append((claim, card.machine))
            device.append(n)
            which.append(position)
            milligpu.append(share)
    return Shares(np.array(device, np.int64), np.array(which, np.int64), np.array(milligpu, np.float64), tuple(claims))


@dataclass(frozen=True, slots=True)
class Observed:
    """What readings tell: ``uses`` by share, for those shares (``rows``) whose device was read since the last step.

    ``memory`` is the memory in use, by share of every device; NaN where it is not told.
    """

    rows: Whole
    uses: Uses
    memory: Floats


class CardMeter:
    """Remembers each device's previous reading and whose it was. Call `step` once per join, in time order."""

    def __init__(self, gap: float) -> None:
        """``gap``: seconds after which a missing reading is a gap, and rates are no longer believed."""
        self._gap = gap
        self._names: Sequence[Device] = ()
        self._at: Floats = np.empty(0)
        self._values: Floats = np.empty((0, len(_KEPT)))
        self._owned: tuple[Whole, Whole] = (np.empty(0, np.int64), np.empty(0, np.int64))

    def owners(self) -> set[int]:
        """The owners that are remembered."""
        return set(self._owned[1].tolist())

    def step(self, picture: Picture, shares: Shares, owner: Whole, started: float) -> Observed:
        """What was done since each device's previous reading, or since ``started``; ``owner`` is a number per claim."""
        table = picture.table
        names = picture.devices.names
        before = self._before(names)
        known = before >= 0
        last_at, last = np.full(len(names), np.nan), np.full((len(names), len(_KEPT)), np.nan)
        last_at[known], last[known] = self._at[before[known]], self._values[before[known]]
        if picture.at < started:  # the clock was set back: times of earlier readings say nothing, their counters do
            last_at[:] = np.nan
        told: Truths = np.asarray(~np.isnan(table.values).all(axis=1))  # of the others only the owner is told
        repeated = told & known & (table.at <= last_at)  # the same reading: its source was not read since
        fresh = told & ~repeated
        rows = np.flatnonzero(fresh[shares.device])
        device, claim = shares.device[rows], shares.claim[rows]
        same = self._same(before, shares, owner)[rows]
        weight: Floats = np.bincount(shares.device, shares.milligpu, len(names)).astype(np.float64)
        begun = np.where(np.isnan(last_at), started, last_at)[device]
        starts = np.fromiter((c.start for c, _ in shares.claims), np.float64, len(shares.claims))
        seconds = np.maximum(0.0, table.at[device] - np.maximum(begun, starts[claim]))
        whole = self._whole_of_slices(picture.cards, shares)[rows]
        uses = self._uses(
            table.values[device], last[device], seconds, shares.milligpu[rows], weight[device], same, whole
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            used = table.column(Field.MEMORY_USED)[shares.device] * shares.milligpu / weight[shares.device]
        self._remember(names, before, told, repeated, last_at, last, table.at, table.values[:, _KEPT], shares, owner)
        return Observed(rows, uses, used)

    def _before(self, names: Sequence[Device]) -> Whole:
        """The row of each device at the previous step, -1 where there is none."""
        if names is self._names:
            return np.arange(len(names))
        index = {name[:3]: n for n, name in enumerate(self._names)}  # a card's index may change, it is the same card
        return np.fromiter((index.get(name[:3], -1) for name in names), np.int64, len(names))

    def _same(self, before: Whole, shares: Shares, owner: Whole) -> Truths:
        """Whether a share's owner had the device at its previous reading."""
        had = (self._owned[0] << _OWNER_BITS) | self._owned[1]
        has = (before[shares.device] << _OWNER_BITS) | owner[shares.claim]
        return np.isin(has, had) & (before[shares.device] >= 0)

    @staticmethod
    def _whole_of_slices(cards: Sequence[CardUse], shares: Shares) -> Truths:
        """Whether it is a reading of a whole card that MIG has cut: it tells what was drawn, not what was done."""
        sliced = np.fromiter((c.profile not in ("", TIME_SLICED) for c, _ in shares.claims), bool, len(shares.claims))
        if not sliced.any():
            return np.zeros(len(shares.device), dtype=bool)
        instance = np.fromiter((bool(c.sample.mig_instance) for c in cards), bool, len(cards))
        found: Truths = sliced[shares.claim] & ~instance[shares.device]
        return found

    def _uses(
        self,
        values: Floats,
        last: Floats,
        seconds: Floats,
        milligpu: Floats,
        weight: Floats,
        same: Truths,
        whole_of_slices: Truths,
    ) -> Uses:
        """Uses by share. What a card drew is shared by what of it is held: the free part of a card is nobody's."""
        amounts = np.zeros((len(seconds), len(NUMBERS)))
        told = np.zeros((len(seconds), len(TELEMETRY)), dtype=bool)
        near = seconds <= self._gap
        counted = near & ~whole_of_slices
        held = np.where(counted, seconds * milligpu / MILLI_PER_GPU, 0.0)
        amounts[:, NUMBER["observed_seconds"]] = held
        amounts[:, NUMBER["samples_seen"]] = ~whole_of_slices
        engine = values[:, COLUMN[Field.ENGINE_ACTIVE]]
        engine = np.where(np.isnan(engine), values[:, COLUMN[Field.UTILIZATION]], engine)
        for name, busy in (("active_seconds", engine), ("tensor_seconds", values[:, COLUMN[Field.TENSOR_ACTIVE]])):
            known = counted & ~np.isnan(busy)
            amounts[:, NUMBER[name]] = np.where(known, busy * held, 0.0)
            told[:, TELEMETRY.index(name)] = known
        part = milligpu / np.maximum(MILLI_PER_GPU, weight)
        for n, (counter, rate, name) in enumerate(_COUNTERS):
            after, pace = values[:, COLUMN[counter]], values[:, COLUMN[rate]]
            grew = same & (after >= last[:, n])  # false where either is not told
            paced = ~grew & near & ~np.isnan(pace)
            amounts[:, NUMBER[name]] = np.where(
                grew, (after - last[:, n]) * part, np.where(paced, pace * seconds * part, 0.0)
            )
            told[:, TELEMETRY.index(name)] = grew | paced | ~np.isnan(after)
        return Uses(amounts, told)

    def _remember(
        self,
        names: Sequence[Device],
        before: Whole,
        told: Truths,
        repeated: Truths,
        last_at: Floats,
        last: Floats,
        at: Floats,
        values: Floats,
        shares: Shares,
        owner: Whole,
    ) -> None:
        """Keep the latest reading of each device with its owners; of one that was not read anew the last one."""
        device, owned = shares.device, owner[shares.claim]
        if repeated.any():
            after = np.full(len(self._names), -1, np.int64)
            after[before[repeated]] = np.flatnonzero(repeated)
            stay = after[self._owned[0]] >= 0
            anew = ~repeated[device]
            device = np.concatenate([device[anew], after[self._owned[0][stay]]])
            owned = np.concatenate([owned[anew], self._owned[1][stay]])
        self._owned = device, owned
        self._at = np.where(repeated, last_at, at)
        self._values = np.where(repeated[:, None], last, values)
        self._names = names
        if not told.all():
            self._forget(told)

    def _forget(self, told: Truths) -> None:
        """Drop devices of which only the owner was told: nothing was read of them."""
        after = np.cumsum(told) - 1
        stay = told[self._owned[0]]
        self._owned = after[self._owned[0][stay]], self._owned[1][stay]
        self._at, self._values = self._at[told], self._values[told]
        self._names = [name for name, keep in zip(self._names, told.tolist(), strict=True) if keep]


def sums_by(index: Whole, uses: Uses, size: int) -> Uses:
    """Uses added up by ``index`` (one number per row of ``uses``, below ``size``)."""
    amounts = np.empty((size, uses.amounts.shape[1]))
    for n in range(uses.amounts.shape[1]):
        amounts[:, n] = np.bincount(index, uses.amounts[:, n], size)
    told: NDArray[np.bool_] = np.empty((size, uses.told.shape[1]), dtype=bool)
    for n in range(uses.told.shape[1]):
        told[:, n] = np.bincount(index, uses.told[:, n], size) > 0
    return Uses(amounts, told)
