"""Whose ports a machine's ports are: every job that holds cards on the machine has all of them. Pure.

Which of a machine's ports a job's traffic takes nobody records, so none is given to a part of the jobs: ports of a
machine with several jobs are shared, and marked so.
"""

from __future__ import annotations

from collections import defaultdict

from exporters.join.site_picture import Picture
from exporters.model import Disposition, JobKey, LinkKind


def jobs_by_machine(picture: Picture) -> dict[str, tuple[JobKey, ...]]:
    """The jobs that hold cards on each machine, in order.

    A pod that lends its cards on is no job. An external job and the pods that it is are one: where the pods hold cards
    it is not counted again for the rest of the machine. A disputed holder is there as well.
    """
    found: dict[str, set[JobKey]] = defaultdict(set)
    stood_for: dict[str, set[JobKey]] = defaultdict(set)
    for h in picture.held:
        if h.disposition in (Disposition.CHARGED, Disposition.DISPUTED):
            found[h.machine].add(h.claim.job)
        if h.link is not None and h.outer is not None and h.link.kind is LinkKind.SAME:
            stood_for[h.machine].add(h.outer.job)
    for machine, claim in picture.unplaced:
        if not any(key.kind is LinkKind.LENDS for key in claim.keys):
            found[machine].add(claim.job)
    return {machine: tuple(sorted(jobs - stood_for[machine] or jobs)) for machine, jobs in found.items()}


def machines_by_job(jobs: dict[str, tuple[JobKey, ...]]) -> dict[JobKey, frozenset[str]]:
    """The same the other way round."""
    found: dict[JobKey, set[str]] = defaultdict(set)
    for machine, keys in jobs.items():
        for key in keys:
            found[key].add(machine)
    return {key: frozenset(machines) for key, machines in found.items()}


class Presence:
    """Who has been on each machine, and since which step: what a port counted is a job's if it was there all along.

    Call `step` once per join.
    """

    def __init__(self, keep: int) -> None:
        """``keep``: steps for which one that left is remembered."""
        self._keep = keep
        self._since: dict[str, dict[JobKey, int]] = {}
        self._left: dict[str, dict[JobKey, int]] = {}

    def step(self, step: int, jobs: dict[str, tuple[JobKey, ...]]) -> None:
        """Take note of who is where now."""
        for machine in {*self._since, *jobs}:
            before, now = self._since.get(machine, {}), jobs.get(machine, ())
            left = self._left.setdefault(machine, {})
            left.update(dict.fromkeys(before.keys() - set(now), step))
            self._left[machine] = {k: s for k, s in left.items() if k not in now and step - s <= self._keep}
            self._since[machine] = {key: before.get(key, step) for key in now}
        self._since = {m: keys for m, keys in self._since.items() if keys}
        self._left = {m: keys for m, keys in self._left.items() if keys}

    def owners(self, machine: str, since: int) -> tuple[list[JobKey], list[JobKey]]:
        """Who was on a machine all along from the step ``since``, and everybody who was there at some time in it."""
        here = self._since.get(machine, {})
        gone = [key for key, step in self._left.get(machine, {}).items() if step > since]
        return [key for key, step in here.items() if step <= since], [*here, *gone]
