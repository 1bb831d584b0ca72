"""Per-job and per-project counters, integrated from successive pictures of the site.

A scrape sees gauges at moments; what a job used is an integral. This room adds up, between one round and the next, the
card-seconds each owner held and what the cards' readings say was done in them: counter differences where a counter
exists and the card did not change hands, else rate times time (`exporters.meters.card_meter`). A gap is not zero: after
more than ``gap`` seconds without a reading only what the record proves is counted (cards held), and the missing
readings show as expected but not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import compress

import numpy as np

from exporters.join.site_picture import Held, Picture
from exporters.meters.card_meter import CardMeter, Observed, Shares, ShareTable, sums_by
from exporters.meters.roster import other
from exporters.meters.use import NUMBER, Floats, Ordered, Totals, Uses
from exporters.model import MILLI_PER_GPU, Disposition, JobKey
from exporters.recorder import Later, Telemetry

Owner = tuple[JobKey, str, str]
"""Job, unit and machine: what a claim is of."""
Project = tuple[str, str, str]
"""Scheduler, cluster and project."""

_REMEMBERED = 1000
"""Owners that may be remembered beside twice those that are there, before those that are gone are forgotten."""


class Meter:
    """The running totals of one exporter. Call `step` once per join, in time order."""

    def __init__(self, gap: float, linger: float) -> None:
        """``gap``: seconds after which a missing reading is a gap. ``linger``: how long an ended job stays."""
        self.linger = linger
        self.jobs: Totals[JobKey] = Totals()
        self.projects: Totals[Project] = Totals()
        self.memory: dict[JobKey, float] = {}
        self._at: float | None = None
        self._cards = CardMeter(gap)
        self._shares = ShareTable()
        self._numbers: dict[Owner, int] = {}
        self._owners: dict[int, Owner] = {}
        self._next = 0
        self._known: set[int] = set()
        self._holding: tuple[Ordered[JobKey] | None, float | None, Sequence[JobKey]] = None, None, ()

    def step(
        self, picture: Picture, projects: Mapping[JobKey, str], folded: Collection[JobKey] = ()
    ) -> Sequence[Telemetry]:
        """Add the time since the previous picture to the totals; return the same per claim, for the recorder.

        Of ``folded`` jobs that are dropped the totals stay, as those of `exporters.meters.roster.other`.
        """
        started = picture.at if self._at is None else self._at
        shares = self._shares.step(picture.cards)
        users = np.array([self._number((c.job, c.unit, machine)) for c, machine in shares.claims], np.int64)
        observed = self._cards.step(picture, shares, users, started)
        held = [h for h in picture.held if h.disposition is Disposition.CHARGED]
        holders = np.array([self._number((h.claim.job, h.claim.unit, h.machine)) for h in held], np.int64)
        seconds = self._held_seconds(held, holders.tolist(), picture.at)
        both = np.concatenate([holders, users[shares.claim[observed.rows]]])
        active, place = np.unique(both, return_inverse=True)
        uses = sums_by(place[len(held) :], observed.uses, len(active))
        cards = np.array([-(-h.milligpu // MILLI_PER_GPU) for h in held], np.float64)
        expected, seen = NUMBER["samples_expected"], NUMBER["samples_seen"]
        uses.amounts[:, NUMBER["gpu_seconds"]] = np.bincount(place[: len(held)], seconds, len(active))
        uses.amounts[:, expected] = np.bincount(place[: len(held)], cards, len(active))
        # Several MIG instances make up one share.
        uses.amounts[:, seen] = np.minimum(uses.amounts[:, seen], uses.amounts[:, expected])
        owners = [self._owners[number] for number in active.tolist()]
        self._add(owners, uses, picture.at, projects)
        self._drop(picture.at, folded)
        self.memory = _memory(shares, observed)
        self._at, at = picture.at, picture.at
        self._forget({*active.tolist(), *self._cards.owners()})
        return Later(lambda: _telemetry(owners, uses, started, at))

    def final(self) -> Sequence[JobKey]:
        """The jobs that are shown and held nothing at the last step: their totals stay as they are. In order."""
        jobs = self.jobs.in_order()
        seen = self.jobs.seen(jobs.rows)
        return list(compress(jobs.keys, (~np.isnan(seen) & (seen != self._at)).tolist()))

    def holding(self) -> Sequence[JobKey]:
        """The jobs that held something at the last step, in order; the same object for as long as they are the same."""
        jobs = self.jobs.in_order()
        if self._holding[0] is not jobs or self._holding[1] != self._at:
            now = self.jobs.seen(jobs.rows) == self._at
            self._holding = jobs, self._at, jobs.keys if now.all() else list(compress(jobs.keys, now.tolist()))
        return self._holding[2]

    def _number(self, owner: Owner) -> int:
        number = self._numbers.get(owner)
        if number is None:
            number = self._numbers[owner] = self._next
            self._owners[number] = owner
            self._next += 1
        return number

    def _held_seconds(self, held: Sequence[Held], holders: Sequence[int], at: float) -> Floats:
        """Card-seconds held: from the record, so the first sight of a claim counts from its start."""
        starts = np.array([h.claim.start for h in held], np.float64)
        if self._at is not None:
            known = np.fromiter((number in self._known for number in holders), bool, len(holders))
            starts = np.where(known, np.maximum(self._at, starts), starts)
        self._known = set(holders)
        milligpu = np.array([h.milligpu for h in held], np.float64)
        seconds: Floats = milligpu / MILLI_PER_GPU * np.maximum(0.0, at - starts)
        return seconds

    def _add(self, owners: Sequence[Owner], uses: Uses, at: float, projects: Mapping[JobKey, str]) -> None:
        """Add a round's uses to jobs and projects."""
        jobs = [job for job, _, _ in owners]
        rows = self.jobs.rows(jobs)
        self.jobs.add(rows, uses)
        self.jobs.see(rows, at)
        payers = [(job.scheduler, job.cluster, projects[job]) for job in jobs]
        self.projects.add(self.projects.rows(payers), uses)

    def _drop(self, at: float, folded: Collection[JobKey]) -> None:
        """Drop jobs that ended long enough ago."""
        ended = self.jobs.unseen(at, self.linger)
        for key in ended:
            if key in folded:
                self.jobs.move(key, other(key))
        self.jobs.forget(key for key in ended if key not in folded)

    def _forget(self, live: set[int]) -> None:
        """Drop owners that are gone, so that job churn does not grow the memory."""
        if len(self._owners) > 2 * len(live) + _REMEMBERED:
            self._owners = {number: self._owners[number] for number in live}
            self._numbers = {owner: number for number, owner in self._owners.items()}


def _memory(shares: Shares, observed: Observed) -> dict[JobKey, float]:
    """Memory in use on the cards of each job, where it is told."""
    told = np.flatnonzero(~np.isnan(observed.memory))
    claim = shares.claim[told]
    sums = np.bincount(claim, observed.memory[told], len(shares.claims))
    which = np.unique(claim)
    found: dict[JobKey, float] = {}
    for n, used in zip(which.tolist(), sums[which].tolist(), strict=True):
        job = shares.claims[n][0].job
        found[job] = found.get(job, 0.0) + used
    return found


def _telemetry(owners: Sequence[Owner], uses: Uses, start: float, end: float) -> list[Telemetry]:
    """Each claim's use since the previous round, of those that hold cards."""
    told = []
    for n, (job, unit, machine) in sorted(enumerate(owners), key=lambda item: item[1]):
        use = uses.use(n)
        if use.samples_expected:
            told.append(
                Telemetry(
                    job,
                    unit,
                    machine,
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
            )
    return told
