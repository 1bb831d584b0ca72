"""A node-day's claims -> postings that sum to zero. Pure: the same day gives the same postings, in any order of input.

The day is cut wherever something begins or ends. In each stretch the claims are nested (`exporters.join.nesting`) and
each pool of cards is divided (`exporters.join.occupancy.divide`), card by card as far as cards are known
(`accounting.evidence.known_cards`) and by count where they are not: the very functions the live side uses. The parts
times the stretch's seconds are summed into one posting per owner and reason.

What a machine has at a moment, and what the cards are that nobody holds, `accounting.reconcile.moment` says.

A dispute on which somebody has ruled is not one any more: the cards are the ruled job's, as if nobody else had asked,
and the other party is shown beside it. A ruling on what is not in dispute (any more) has no effect.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from accounting.evidence.known_cards import Hands
from accounting.model import ALSO, CAPACITY, NodeDay, NodeDayResult, Posting, Ruling
from accounting.reconcile.moment import Evidence, evidence_of, why_free
from exporters.join.links import FOREVER, Link, end_of, find_links
from exporters.join.nesting import Nest, Nesting, rest_of_lender
from exporters.join.occupancy import Part, divide
from exporters.join.pools import allot, pool_of
from exporters.join.projects import UNMAPPED
from exporters.model import Claim, Disposition, JobKey, LinkKind

VERSION = 3
"""Version of these rules. Any change that may change a posting raises it, so that node-days are reconciled anew."""

REMAINDER = "remainder of the external job beyond its pods"
"""Why an external Slurm job pays for cards itself."""


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

    def hash(self) -> bytes:
        """SHA-256 of `text`: by which rules a node-day was booked."""
        return hashlib.sha256(self.text().encode()).digest()


def reconcile(day: NodeDay, rules: Rules) -> NodeDayResult:
    """Divide one machine's capacity over one day. The postings of each GPU model sum to zero.

    Claims in a stretch for which no capacity is known are not posted, nor is what one claim holds beyond the capacity:
    they come back as ``unplaced`` with the reason.
    """
    claims: list[Claim] = sorted(day.claims, key=claim_order)
    until = {(scheduler, cluster): second for scheduler, cluster, second in day.known_until}
    ends = [until.get((c.job.scheduler, c.job.cluster), FOREVER) if c.end is None else c.end for c in claims]
    work = _Work(day, claims, ends, find_links(claims, grace=rules.grace, until=until), rules)
    for start, end in pairwise(_borders(day, claims, ends, work.hands.borders())):
        work.stretch(start, end)
    return NodeDayResult(day.machine, day.start, work.postings(), work.unplaced())


def claim_order(claim: Claim) -> tuple[object, ...]:
    """Oldest first: in a dispute the later claim is the one that has to explain itself. Total, but for equal claims."""
    head = (claim.start, claim.job.scheduler, claim.native_id, claim.job, claim.unit, claim.model, claim.milligpu)
    cards = (claim.profile, claim.indices, claim.uuids, claim.split_assumed)
    return (*head, claim.node, end_of(claim), claim.end_basis, *cards, claim.keys)


def _borders(day: NodeDay, claims: Sequence[Claim], ends: Sequence[int], seen: Iterable[int]) -> list[int]:
    moments = {day.start, day.end, *ends, *seen}
    moments.update(c.start for c in claims)
    moments.update(*((s.start, s.end) for s in day.capacity), *((s.start, s.end) for s in day.coverage))
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


@dataclass(slots=True)
class _Moment:
    """One stretch, throughout which nothing changes."""

    start: int
    end: int
    evidence: Evidence
    nested: Nest


class _Work:
    """One node-day being reconciled: sums per posting key, and the claims that found no capacity."""

    def __init__(
        self, day: NodeDay, claims: Sequence[Claim], ends: Sequence[int], links: Sequence[Link], rules: Rules
    ) -> None:
        self.day, self.claims, self.ends, self.rules = day, claims, ends, rules
        self.nesting = Nesting(claims, links)
        self.hands = Hands(claims, day.holdings)
        self.sums: dict[_Key, _Sum] = defaultdict(_Sum)
        self.lost: dict[int, str] = {}
        self.evidence: dict[object, Evidence] = {}
        self.projects = dict(sorted(day.projects))
        self.rulings = {ruling.parties: ruling for ruling in day.rulings}
        # the remainder of an external job stays with the project that its pods pay for
        self.payers = {
            claims[n.outer].job: self.projects.get(claims[n.inner].job, UNMAPPED)
            for n in reversed(links)
            if n.kind is LinkKind.SAME and n.verified
        }

    def stretch(self, start: int, end: int) -> None:
        """Divide every pool over ``[start, end)``, in which nothing changes."""
        evidence = self._evidence(start)
        active = [i for i, c in enumerate(self.claims) if c.start <= start < self.ends[i] and c.milligpu > 0]
        if not evidence.pools:
            for i in active:
                if i not in self.nesting.stand_ins:
                    self.lost.setdefault(i, f"{self.day.machine} {evidence.missing} at that time")
            return
        known, capacity = self.hands.at(active, start), sum(pool.milligpu for pool in evidence.pools)
        nested = self.nesting.at(active, known, capacity=capacity, down=evidence.down, unread=evidence.unread)
        moment = _Moment(start, end, evidence, nested)
        counted: dict[int, int] = defaultdict(int)
        owned: list[tuple[str, Part]] = []
        models = self.rules.models
        for pool, leaves in zip(evidence.pools, allot(evidence.pools, nested.leaves, self.claims, models), strict=True):
            self._add((CAPACITY, pool.model, "", None, "", None, None, ""), -pool.milligpu, 0, moment)
            for part in self._decided(divide(pool.milligpu, leaves, evidence.rest), nested):
                if part.owner < 0:
                    key = (part.disposition.value, pool.model, "", None, "", None, None, evidence.why)
                    self._add(key, part.milligpu, 0, moment)
                else:
                    owned.append((pool.model, part))
                    counted[part.owner] += part.milligpu
            for leaf in leaves:
                if leaf.milligpu > pool.milligpu:
                    more = f"holds {leaf.milligpu} milliGPU of {pool.model or 'its model'}, {self.day.machine} has"
                    self.lost.setdefault(leaf.owner, f"{more} {pool.milligpu}")
        for model, part in sorted(owned, key=lambda found: found[1].opponent >= 0):
            # what the claim holds besides its own parts (cards of the jobs inside, a dispute counted on its opponent)
            # is told once, on its first part
            beside = self.claims[part.owner].milligpu - counted[part.owner]
            counted[part.owner] += beside
            self._post(part, model, part.milligpu + beside, moment)
        for i in nested.shown:
            self._show(i, moment)

    def _evidence(self, moment: int) -> Evidence:
        here = tuple(n for n, s in enumerate(self.day.capacity) if s.start <= moment < s.end)
        covered = frozenset((s.scheduler, s.cluster) for s in self.day.coverage if s.start <= moment < s.end)
        if (here, covered) not in self.evidence:
            self.evidence[here, covered] = evidence_of([self.day.capacity[n] for n in here], covered, self.rules.models)
        return self.evidence[here, covered]

    def _decided(self, parts: Iterable[Part], nested: Nest) -> Iterator[Part]:
        """The parts of a pool, those on which somebody ruled handed to the ruled job; the other party has no cards."""
        if not self.rulings:
            yield from parts
            return
        words = {leaf.owner: leaf.disposition for leaf in nested.leaves}
        for part in parts:
            ruling = self._ruling(part, nested)
            if ruling is None:
                yield part
                continue
            sides = (part.owner, part.opponent, *part.others)
            winner = next(i for i in sides if i >= 0 and self.claims[i].job == ruling.to)
            keeps = winner == part.owner
            loser, *others = [i for i in sides if i != winner]
            # the rest of a lender that wins its cards is still nobody's job; a key in doubt is believed no more
            word = Disposition.CHARGED if words[winner] is Disposition.DISPUTED else words[winner]
            if keeps or part.milligpu:
                yield Part(word, winner, part.milligpu, loser, tuple(others))
            if not keeps:
                yield replace(part, milligpu=0)

    def _ruling(self, part: Part, nested: Nest) -> Ruling | None:
        """The ruling on a part disputed with another claim or for its own key, before and after it is applied."""
        if not self.rulings or (part.opponent < 0 and part.owner not in nested.reasons):
            return None
        sides = (part.owner, part.opponent, *part.others)
        return self.rulings.get(parties(*(self.claims[i].job for i in sides if i >= 0)))

    def _post(self, part: Part, model: str, held: int, moment: _Moment) -> None:
        claim, nested = self.claims[part.owner], moment.nested
        link = nested.within.get(part.owner)
        account, reason = part.disposition.value, nested.reasons.get(part.owner, "")
        kind, linked = link.kind if link else None, self._job(link)
        if part.opponent >= 0:
            kind, linked = LinkKind.OBSERVED, self.claims[part.opponent].job
            reason = reason or f"same cards as {linked}, and no link between them"
        elif part.disposition is Disposition.CHARGED and claim.job in self.payers and link is None:
            kind, reason = LinkKind.SAME, REMAINDER
        elif rest_of_lender(claim, moment.evidence.down, moment.evidence.unread) is part.disposition:
            reason = why_free(claim, part.disposition, moment.evidence)
        ruling = self._ruling(part, nested)
        if ruling is not None:
            account = account if claim.job == ruling.to else ""
            reason = ruling.reason
        if more := {self.claims[i].job for i in part.others} - {claim.job, linked}:
            reason += ALSO + ", ".join(map(str, sorted(more)))
        key = (account, model, self._project(claim.job), claim.job, claim.unit, kind, linked, reason)
        self._add(key, part.milligpu, held, moment)

    def _show(self, i: int, moment: _Moment) -> None:
        """A claim with nothing of its own: quantity 0, so that people find it beside the record that has its cards."""
        claim, link, within = self.claims[i], moment.nested.within.get(i), moment.nested.within
        pools = moment.evidence.pools
        model = pools[pool_of(claim, pools, self.rules.models)].model
        account, kind, linked, reason = "", link.kind if link else None, self._job(link), ""
        pods = [k for k, n in within.items() if n.outer == i and n.kind is LinkKind.SAME]
        lent = rest_of_lender(claim, moment.evidence.down, moment.evidence.unread)
        if i in self.nesting.stand_ins:
            kind = LinkKind.STAND_IN
        elif pods:
            kind, linked = LinkKind.SAME, self.claims[min(pods)].job
        elif lent is not None and (link is None or link.kind is not LinkKind.INSIDE):
            account, reason = lent.value, why_free(claim, lent, moment.evidence)
        key = (account, model, self._project(claim.job), claim.job, claim.unit, kind, linked, reason)
        self._add(key, 0, claim.milligpu, moment)

    def _job(self, link: Link | None) -> JobKey | None:
        return self.claims[link.outer].job if link else None

    def _project(self, job: JobKey) -> str:
        return self.payers.get(job) or self.projects.get(job, UNMAPPED)

    def _add(self, key: _Key, milligpu: int, held: int, moment: _Moment) -> None:
        seconds = moment.end - moment.start
        self.sums[key].add(milligpu * seconds, held * seconds, moment.start, moment.end)

    def postings(self) -> list[Posting]:
        """One posting per key, in a stable order."""
        found = []
        for key in sorted(self.sums, key=lambda k: (*k[:3], str(k[3]), k[4], k[5] or "", str(k[6]), k[7])):
            account, model, project, job, unit, kind, linked, reason = key
            s = self.sums[key]
            found.append(
                Posting(account, model, s.quantity, project, job, unit, s.start, s.end, s.held, kind, linked, reason)
            )
        return found

    def unplaced(self) -> list[tuple[Claim, str]]:
        """Claims that found no cards, or not enough, in some stretch, with the first reason."""
        return [(self.claims[i], reason) for i, reason in sorted(self.lost.items())]


def parties(*jobs: JobKey) -> tuple[JobKey, ...]:
    """The parties of a dispute, by which rulings find it again: sorted, each once."""
    return tuple(sorted(set(jobs)))
