"""What a careful reader must believe of the model site after all that its sources said: the state machine's oracle.

It shares no code with the ledger: it keeps every sentence and, when asked about an hour, goes through them again. Time
is folded for `tests.accounting.oracle.paint`: an hour is two seconds, its first one and one that is like all others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, NodeDay, Ruling
from exporters.model import Claim, JobKey, LinkKind, NodeEvent, NodeKey, Record, Scheduler
from exporters.recorder import Holding, SourceReading
from tests.accounting.model_site import HOUR, KUBE, NODESET, SLURM, START, snode
from tests.accounting.oracle import paint

GAP = 2 * HOUR
GRACE = HOUR
FOLDED = 100_000
"""Where folded time begins."""

Pools = dict[str, tuple[int, bool, str]]
"""Model -> milliGPU, up, reason."""

Sums = Counter[tuple[object, ...]]


def fold(moment: int) -> int:
    """An hour's first second is even, all its others are the odd one."""
    hours, rest = divmod(moment - START, HOUR)
    return FOLDED + 2 * hours + (rest > 0)


def unfold(unit: int) -> int:
    hours, rest = divmod(unit - FOLDED, 2)
    return START + hours * HOUR + rest


@dataclass
class Belief:
    """Every sentence, and what follows from them."""

    accounts: dict[JobKey, str] = field(default_factory=dict)
    told: dict[object, list[tuple[int, int, tuple[Claim, ...]]]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[JobKey, list[tuple[int, dict[str, Claim]]]] = field(default_factory=lambda: defaultdict(list))
    polls: dict[Scheduler, list[tuple[int, dict[NodeKey, Pools]]]] = field(
        default_factory=lambda: {SLURM: [], KUBE: []}
    )
    held: dict[tuple[str, NodeKey], Claim] = field(default_factory=dict)
    shown: list[tuple[int, dict[JobKey, dict[str, Claim]]]] = field(default_factory=list)
    cards: list[tuple[int, Sequence[Holding]]] = field(default_factory=list)
    events: dict[tuple[NodeKey, int], dict[NodeEvent, int]] = field(default_factory=lambda: defaultdict(dict))
    read_until: int | None = None
    rulings: dict[tuple[str, tuple[JobKey, ...]], Ruling | None] = field(default_factory=dict)

    # hearing

    def hear_history(self, records: Sequence[Record], events: Sequence[NodeEvent], now: int) -> None:
        for r in records:
            final = 2 if not r.pending else 1 if r.claims else 0
            self.told[r.job.key].append((final, now, r.claims))
            self.accounts[r.job.key] = r.job.account
        for e in events:
            self.events[e.key, e.start][e] = now
        self.read_until = max(now, self.read_until or 0)

    def hear_reading(self, reading: SourceReading) -> None:
        at, slurm = int(reading.polled_at), reading.scheduler == "slurm"
        polls = self.polls[SLURM if slurm else KUBE]
        if polls and at <= polls[-1][0]:
            return
        last = polls[-1][0] if polls else at
        listing: dict[NodeKey, Pools] = defaultdict(dict)
        for n in reading.nodes:
            listing[n.key][n.model] = (n.milligpu, n.up, n.reason)
        polls.append((at, dict(listing)))
        if slurm:
            runs: dict[JobKey, dict[str, Claim]] = defaultdict(dict)
            for c in reading.claims:
                runs[c.job][c.node.name] = c
            for job, shares in runs.items():
                self.shares[job].append((at, shares))
            self.shown.append((at, runs))
            return
        self.accounts.update((j.key, j.account) for j in reading.jobs)
        held = {(c.unit, c.node): c for c in reading.claims}
        ended = {(c.unit, c.node): c for c in reading.ended}
        for unit, c in (held | ended).items():
            self.told[unit].append((1 if c.end is None else 2, at, (c,)))
        for unit, c in self.held.items():
            if unit not in held and unit not in ended:  # missed
                gone = replace(c, end=max(last, c.start), end_basis="vanished")
                self.told[unit].append((2, at, (gone,)))
        self.held = held

    def hear_holdings(self, at: int, holdings: Sequence[Holding]) -> None:
        if not self.cards or at > self.cards[-1][0]:
            self.cards.append((at, holdings))

    # believing

    def seen_on(self, machine: str, moment: int) -> Sequence[Holding]:
        """The cards of a machine as the last round told them, if the next one was not long in coming."""
        for (at, holdings), (following, _) in pairwise(self.cards):
            if at <= moment < following and following - at <= GAP:
                return [h for h in holdings if h.machine == machine]
        return ()

    def claims(self) -> list[Claim]:
        """The most final sentence about each run and pod, of several the last; with the shares that were seen."""
        found: list[Claim] = []
        for about, sentences in self.told.items():
            claims = max(sentences, key=lambda s: s[:2])[2]
            for _, seen in reversed(self.shares.get(about, ()) if isinstance(about, JobKey) else ()):
                fits = {c.node.name for c in claims} == set(seen)
                if fits and sum(c.milligpu for c in claims) == sum(c.milligpu for c in seen.values()):
                    claims = tuple(replace(c, milligpu=seen[c.node.name].milligpu) for c in claims)
                    break
            found += claims
        return found

    def project(self, job: JobKey) -> str:
        return self.accounts.get(job) or "unmapped"

    def believed_events(self, node: NodeKey) -> list[tuple[NodeEvent, int]]:
        """The current version of each event, and when it was last told."""
        found = []
        for (key, _), versions in sorted(self.events.items(), key=lambda item: item[0][1]):
            if key == node:
                found.append(max(versions.items(), key=lambda v: (v[0].end is not None, v[1])))
        return found

    def covered(self, scheduler: Scheduler, moment: int) -> bool:
        if scheduler is SLURM:
            return self.read_until is not None and START <= moment < self.read_until
        times = [at for at, _ in self.polls[KUBE]]
        return any(a <= moment < b and b - a <= GAP for a, b in pairwise(times))

    def holes(self) -> dict[NodeKey, list[tuple[int, int]]]:
        """When somebody may have had cards of a node of whom no claim tells: a run that slurmctld showed and no record
        tells, until it was missed; a pod that vanished, from its last sighting until then.
        """
        found: dict[NodeKey, list[tuple[int, int]]] = defaultdict(list)
        recorded = {job for job in self.shares if any(claims for _, _, claims in self.told.get(job, ()))}
        for (_, runs), (following, _) in pairwise([*self.shown, (1 << 62, {})]):
            for job, shares in runs.items():
                if job not in recorded:
                    first = min(c.start for c in shares.values())
                    for name in shares:
                        found[snode(name)].append((first, following))
        for sentences in self.told.values():
            _, at, claims = max(sentences, key=lambda s: s[:2])
            for c in claims:
                if c.end_basis == "vanished" and c.end is not None:
                    found[c.node].append((c.end, at))
        return found

    def pools(self, node: NodeKey, moment: int, born: int) -> Pools:
        """What the node has at a moment, by the rules of docs/links.md and of `accounting.evidence.capacity`."""
        polls = self.polls[node.scheduler]
        before = [n for n, (at, _) in enumerate(polls) if at <= moment]
        listed = [n for n, (_, nodes) in enumerate(polls) if node in nodes]
        if moment < born:
            return {}
        last = before[-1] if before else None
        seen = False
        if last is not None and node in polls[last][1]:
            at, nodes = polls[last]
            goes_on = last + 1 < len(polls) and polls[last + 1][0] - at <= GAP
            follows = last > 0 and at - polls[last - 1][0] <= GAP
            fresh = not follows or polls[last - 1][1].get(node) != nodes[node]
            seen = goes_on or (moment == at and fresh)
        if last is not None and any(n <= last for n in listed):
            pools = dict(polls[last][1].get(node, {}))
        elif listed:
            pools = dict(polls[listed[0]][1][node])
        else:
            counted = [e for e, _ in self.believed_events(node) if e.milligpu is not None]
            earlier = [e for e in counted if e.start <= moment]
            at_last = earlier[-1] if earlier else counted[0] if counted else None
            pools = {"": (at_last.milligpu or 0, True, "")} if at_last is not None else {}
        here = [
            (e, told)
            for e, told in self.believed_events(node)
            if e.start <= moment
            and (e.end is None or moment < e.end)
            and (e.end is not None or not seen or moment < told)
        ]
        down = [e for e, _ in here if not e.up]
        counts = [e.milligpu for e, _ in here if e.milligpu is not None]
        if not seen and counts and len(pools) == 1:
            pools = {m: (counts[-1], up, why) for m, (_, up, why) in pools.items()}
        if down:
            return {m: (size, False, down[-1].reason or why) for m, (size, _, why) in pools.items()}
        if not seen and node.scheduler is SLURM and self.covered(SLURM, moment):
            return {m: (size, True, "") for m, (size, _, _) in pools.items()}
        return pools

    def born(self, node: NodeKey, claims: Sequence[Claim]) -> int:
        """When anything first mentioned a node."""
        seen = [at for at, nodes in self.polls[node.scheduler] if node in nodes]
        mentioned = [e.start for (key, _), versions in self.events.items() if key == node for e in versions]
        held = [c.start for c in claims if c.node == node]
        return min([*seen, *mentioned, *held], default=1 << 62)

    # what the books must say

    def books(self, now: int, days: Sequence[tuple[int, int]], *, cards: bool = True) -> dict[tuple[str, int], Sums]:
        """Per machine and node-day: milliGPU-seconds by account, model, project and job, and what each job held.

        Without ``cards`` as if nobody had ever told a card.
        """
        claims, holes = self.claims(), self.holes()
        places = Places(claims)
        nodes = {c.node for c in claims} | {n for polls in self.polls.values() for _, at in polls for n in at}
        nodes |= {key for key, _ in self.events}
        born = {n: self.born(n, claims) for n in nodes}
        found: dict[tuple[str, int], Sums] = {}
        for a, whole in days:
            b = min(whole, now)
            units = range(fold(a), fold(b))
            capacity: dict[str, list[CapacityStretch]] = defaultdict(list)
            for node in nodes:
                for u in units:
                    moment = unfold(u)
                    machine = places.present(node, moment)
                    for model, (size, up, why) in self.pools(node, moment, born[node]).items() if machine else ():
                        stretch = CapacityStretch(
                            u, u + 1, node.scheduler, node.cluster, node.name, model, size, up, why
                        )
                        capacity[machine or ""].append(stretch)
            pieces: dict[str, list[Claim]] = defaultdict(list)
            there: dict[str, set[NodeKey]] = defaultdict(set)
            for c in claims:
                for machine, piece in places.pieces(c, b):
                    pieces[machine].append(_folded(piece))
                    if piece.start < b and (piece.end is None or piece.end > max(a, piece.start)):
                        there[machine].add(c.node)
            for machine, stretches in capacity.items():
                there[machine] |= {NodeKey(s.scheduler, s.cluster, s.node) for s in stretches}
            for machine in capacity.keys() | pieces.keys():
                seen = [
                    HoldingStretch(u, u + 1, h.job, h.unit, h.index, h.uuid, h.milligpu)
                    for u in units if cards and pieces[machine]
                    for h in self.seen_on(machine, unfold(u))
                ]  # fmt: skip
                unsure = [(node.scheduler, hole) for node in there[machine] for hole in holes.get(node, ())]
                day = self._node_day(machine, a, b, pieces[machine], capacity[machine], seen, unsure)
                if sums := self._sums(day):
                    found[machine, a] = sums
        return found

    def _node_day(
        self,
        machine: str,
        a: int,
        b: int,
        claims: Sequence[Claim],
        capacity: Sequence[CapacityStretch],
        seen: Sequence[HoldingStretch],
        unsure: Sequence[tuple[Scheduler, tuple[int, int]]],
    ) -> NodeDay:
        coverage = [
            CoverageStretch(u, u + 1, s, "lab" if s is SLURM else "kube")
            for s in (SLURM, KUBE)
            for u in range(fold(a), fold(b))
            if self.covered(s, unfold(u)) and not any(whose is s and x <= unfold(u) < y for whose, (x, y) in unsure)
        ]
        until: list[tuple[Scheduler, str, int]] = []
        if self.read_until is not None:
            until.append((SLURM, "lab", fold(min(b, self.read_until))))
        if self.polls[KUBE]:
            until.append((KUBE, "kube", fold(min(b, self.polls[KUBE][-1][0]))))
        rulings = [r for (where, _), r in self.rulings.items() if r is not None and where == machine]
        return NodeDay(
            machine, fold(a), fold(b), tuple(claims), tuple(capacity), tuple(coverage), (), tuple(until),
            tuple(rulings), tuple(seen),
        )  # fmt: skip

    def _sums(self, day: NodeDay) -> Sums:
        weighted = [(u, 1 if u % 2 == 0 else HOUR - 1) for u in range(day.start, day.end)]
        painting = paint(day, 2 * GRACE // HOUR, weighted)
        sums: Sums = Counter()
        for (account, model, job), quantity in painting.quantities.items():
            project = (
                self.project(painting.pods.get(job, job)) if job else ""
            )  # a remainder is paid by the pods' project
            sums[account, model, project, job] += quantity
        for model, size in painting.capacity.items():
            sums["capacity", model, "", None] -= size
        for job, quantity in painting.held.items():
            sums["held", job] += quantity
        return Counter({k: v for k, v in sums.items() if v})


def _folded(claim: Claim) -> Claim:
    return replace(claim, start=fold(claim.start), end=None if claim.end is None else fold(claim.end))


class Places:
    """Where a node was: Slurm node ws0 is where its NodeSet pod runs, between two pods where the last one ran."""

    def __init__(self, claims: Sequence[Claim]) -> None:
        self.lenders = sorted(
            (c.start, 1 << 62 if c.end is None else c.end, c.node.name)
            for c in claims
            if any(k.kind is LinkKind.LENDS and k.value == NODESET for k in c.keys)
        )

    def machine(self, node: NodeKey, moment: int) -> str:
        if node != snode(NODESET) or not self.lenders:
            return node.name
        return next((m for start, _, m in reversed(self.lenders) if start <= moment), self.lenders[0][2])

    def present(self, node: NodeKey, moment: int) -> str | None:
        """The machine at which the node is there with cards."""
        if node != snode(NODESET) or not self.lenders:
            return node.name
        last = next((lender for lender in reversed(self.lenders) if lender[0] <= moment), None)
        return last[2] if last is not None and moment < last[1] else None

    def pieces(self, claim: Claim, until: int) -> Iterator[tuple[str, Claim]]:
        """The claim, cut where its node moved; an open end stays open."""
        end = max(until, claim.start + 1) if claim.end is None else max(claim.end, claim.start + 1)
        cuts = [claim.start, *(s for s, _, _ in self.lenders if claim.start < s < end), end]
        found: list[tuple[str, int, int]] = []
        for a, b in pairwise(cuts):
            machine = self.machine(claim.node, a)
            if found and found[-1][0] == machine:
                found[-1] = (machine, found[-1][1], b)
            elif a < b:
                found.append((machine, a, b))
        for n, (machine, a, b) in enumerate(found):
            last = n + 1 == len(found)
            yield machine, replace(claim, start=a, end=claim.end if last else b)
