"""A node-day's claims -> postings that sum to zero. Pure: the same day gives the same postings, in any order of input.

The day is cut wherever something begins or ends. In each stretch the claims are nested (`exporters.links.nest`) and
each pool of cards is divided (`exporters.occupancy.divide`), the very functions the live side uses; the parts times the
stretch's seconds are summed into one posting per owner and reason.

What nobody holds is ``unknown`` unless every scheduler that has the machine was readable, then ``down`` if none of them
would have placed work on it, else ``idle``: missing evidence is never billed, and never called idle either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from accounting.model import CapacityStretch, NodeDay, NodeDayResult, Posting
from exporters.links import FOREVER, Link, Nest, find_links, nest
from exporters.machines import Pool, merge_pools, pool_of
from exporters.model import Claim, Disposition, JobKey, LinkKind, Scheduler
from exporters.occupancy import Part, divide
from exporters.projects import UNMAPPED

VERSION = 1
"""Version of these rules. Any change that may change a posting raises it, so that node-days are reconciled anew."""

CAPACITY = "capacity"
"""The account that every other posting of a node-day balances against."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What reconciling depends on besides a day's records; part of the key of every node-day.

    ``models`` maps spellings of GPU models to the site's names. ``grace`` is seconds of clock skew allowed to a link.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    grace: int = 120

    def text(self) -> str:
        """A canonical text of the rules, to be hashed."""
        return f"v{VERSION} grace={self.grace} models={sorted(self.models.items())}"


def reconcile(day: NodeDay, rules: Rules) -> NodeDayResult:
    """Divide one machine's capacity over one day. The postings of each GPU model sum to zero.

    Claims in a stretch for which no capacity is known are not posted: they come back as ``unplaced`` with the reason.
    """
    claims = sorted(day.claims, key=_order)
    links = find_links(claims, grace=rules.grace)
    work = _Work(day, claims, links, rules)
    borders = _borders(day, claims)
    for start, end in pairwise(borders):
        work.stretch(start, end)
    return NodeDayResult(day.machine, day.start, work.postings(), work.unplaced())


def _order(claim: Claim) -> tuple[int, Scheduler, str, JobKey, str, str, int]:
    """Oldest first: in a dispute the later claim is the one that has to explain itself."""
    return (claim.start, claim.job.scheduler, claim.native_id, claim.job, claim.unit, claim.model, claim.milligpu)


def _borders(day: NodeDay, claims: Sequence[Claim]) -> list[int]:
    moments = {day.start, day.end}
    for c in claims:
        moments.update((c.start, FOREVER if c.end is None else c.end))
    for s in (*day.capacity, *day.coverage):
        moments.update((s.start, s.end))
    return sorted(m for m in moments if day.start <= m <= day.end)


@dataclass(slots=True)
class _Sum:
    """What one posting adds up over the day's stretches."""

    quantity: int = 0
    held: int = 0
    start: int = FOREVER
    end: int = 0

    def add(self, quantity: int, held: int, start: int, end: int) -> None:
        self.quantity += quantity
        self.held += held
        self.start, self.end = min(self.start, start), max(self.end, end)


_Key = tuple[str, str, str, JobKey | None, str, LinkKind | None, JobKey | None, str]


class _Work:
    """One node-day being reconciled: sums per posting key, and the claims that found no capacity."""

    def __init__(self, day: NodeDay, claims: Sequence[Claim], links: Sequence[Link], rules: Rules) -> None:
        self.day, self.claims, self.links, self.rules = day, claims, links, rules
        self.sums: dict[_Key, _Sum] = defaultdict(_Sum)
        self.lost: dict[int, str] = {}
        self.reasons = {n.inner: n.reason for n in links if not n.verified}
        self.projects = dict(day.projects)
        # the remainder of an external job stays with the project that its pods pay for
        self.payers = {
            claims[n.outer].job: self.projects.get(claims[n.inner].job, UNMAPPED)
            for n in reversed(links)
            if n.kind is LinkKind.SAME and n.verified
        }

    def stretch(self, start: int, end: int) -> None:
        """Divide every pool over ``[start, end)``, in which nothing changes."""
        here = [s for s in self.day.capacity if s.start <= start < s.end]
        active = [i for i, c in enumerate(self.claims) if c.start <= start and (c.end is None or c.end > start)]
        views: dict[tuple[Scheduler, str], list[Pool]] = defaultdict(list)
        for s in here:
            views[s.scheduler, s.cluster].append(Pool(s.model, s.milligpu))
        pools = merge_pools(views, self.rules.models)
        if not pools:
            for i in active:
                if self.claims[i].milligpu > 0:
                    self.lost.setdefault(i, f"no capacity of {self.day.machine} is known at that time")
            return
        slurm_down = _all_down([s for s in here if s.scheduler is Scheduler.SLURM])
        nested = nest(active, self.claims, self.links, pool_down=slurm_down)
        rest, why = self._rest(here, start)
        for n, pool in enumerate(pools):
            leaves = [f for f in nested.leaves if pool_of(self.claims[f.owner], pools, self.rules.models) == n]
            for part in divide(pool.milligpu, leaves, rest):
                self._post(part, pool.model, nested, start, end, why)
            self._add((CAPACITY, pool.model, "", None, "", None, None, ""), -pool.milligpu, 0, start, end)
        for i in nested.shown:
            self._show(i, nested, pools, start, end)

    def _rest(self, here: Sequence[CapacityStretch], moment: int) -> tuple[Disposition, str]:
        """What the cards are that nobody holds, and why."""
        covered = {(s.scheduler, s.cluster) for s in self.day.coverage if s.start <= moment < s.end}
        unread = sorted({f"{s.scheduler.value} {s.cluster}" for s in here if (s.scheduler, s.cluster) not in covered})
        if unread:
            return Disposition.UNKNOWN, f"no records of {', '.join(unread)}"
        if _all_down(here):
            return Disposition.DOWN, "; ".join(sorted({s.reason for s in here if s.reason}))
        return Disposition.IDLE, ""

    def _post(self, part: Part, model: str, nested: Nest, start: int, end: int, why: str) -> None:
        amount = part.milligpu * (end - start)
        if part.owner < 0:
            self._add((part.disposition.value, model, "", None, "", None, None, why), amount, 0, start, end)
            return
        claim = self.claims[part.owner]
        link = nested.within.get(part.owner)
        linked, reason, project = None, self.reasons.get(part.owner, ""), self._project(claim.job)
        if part.opponent >= 0:
            linked = self.claims[part.opponent].job
            reason = reason or f"same cards as {linked}, and no link between them"
            kind: LinkKind | None = LinkKind.OBSERVED
        else:
            kind = link.kind if link else None
            linked = self.claims[link.outer].job if link else None
        if kind is None and part.disposition is Disposition.CHARGED and claim.job in self.payers:
            reason, kind = "remainder of the external job beyond its pods", LinkKind.SAME
        held = amount if part.opponent >= 0 else claim.milligpu * (end - start)
        self._add(
            (part.disposition.value, model, project, claim.job, claim.unit, kind, linked, reason),
            amount,
            held,
            start,
            end,
        )

    def _show(self, i: int, nested: Nest, pools: Sequence[Pool], start: int, end: int) -> None:
        """A claim with nothing of its own: quantity 0, so that people find it under the record that pays."""
        claim, link = self.claims[i], nested.within.get(i)
        if link is None or claim.milligpu <= 0:
            return
        model = pools[pool_of(claim, pools, self.rules.models)].model
        key: _Key = (
            "",
            model,
            self._project(claim.job),
            claim.job,
            claim.unit,
            link.kind,
            self.claims[link.outer].job,
            "",
        )
        self._add(key, 0, claim.milligpu * (end - start), start, end)

    def _project(self, job: JobKey) -> str:
        return self.payers.get(job) or self.projects.get(job, UNMAPPED)

    def _add(self, key: _Key, quantity: int, held: int, start: int, end: int) -> None:
        self.sums[key].add(quantity, held, start, end)

    def postings(self) -> list[Posting]:
        """One posting per key, in a stable order."""
        found = []
        for key, s in self.sums.items():
            account, model, project, job, unit, kind, linked, reason = key
            found.append(
                Posting(account, model, s.quantity, project, job, unit, s.start, s.end, s.held, kind, linked, reason)
            )
        return sorted(found, key=lambda p: (p.account, p.model, p.project, str(p.job), p.unit, str(p.linked), p.reason))

    def unplaced(self) -> list[tuple[Claim, str]]:
        """Claims that found no capacity in some stretch, with the reason."""
        return [(self.claims[i], reason) for i, reason in sorted(self.lost.items())]


def _all_down(stretches: Sequence[CapacityStretch]) -> bool:
    return bool(stretches) and not any(s.up for s in stretches)
