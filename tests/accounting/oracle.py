"""A naive second opinion on a node-day: it paints every card of every second, milliGPU by milliGPU.

It knows the rules and shares no code with `accounting.reconcile`, `exporters.join.links`, `exporters.join.nesting` or
`exporters.join.occupancy`: no intervals are cut, no parts are summed over stretches. It is slow, and meant to be read:

1. At each second, look who is there and what the machine has.
2. Follow every pod's key; it is believed when no streak of the pod's seconds outside the job is longer than the grace.
3. Give each believed pod its place in the youngest job (or lender) that has room, the oldest pod first; not in one
   on whose cards it is seen not to be (`tests.accounting.card_oracle`).
4. What a claim holds for itself is what it holds less what those inside it hold, and nothing below an ``inside``.
5. Paint: first those whose cards are known, on these; then by count: those who pay first, Slurm from the left,
   Kubernetes from the right; then, where no cell is free, over cells of strangers before those of the own family, of
   the other scheduler before the own one's, and where fewest are.
6. A cell with one owner is his, with several it is disputed, with none it is nobody's.
7. Where somebody ruled between a disputed cell's last owner and its first one (or on its only owner), it is the ruled
   one's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import gcd

from accounting.model import NodeDay
from exporters.model import Claim, JobKey, LinkKind, Scheduler
from tests.accounting.card_oracle import Known, is_elsewhere, is_number_in_pod, left_over, places, seen_at

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
Key = tuple[str, str, JobKey | None]
"""(account, GPU model, whose)."""

Cell = tuple[str, int | None, tuple[int, ...]]
"""(account, claim that it is posted with, claims that it is disputed with)."""


@dataclass
class Painting:
    """Quantities in milliGPU-seconds: per account, model and owner; and per model what there was in all.

    ``pods`` is the oldest pod that each external Slurm job is.
    """

    quantities: Counter[Key] = field(default_factory=Counter)
    capacity: Counter[str] = field(default_factory=Counter)
    held: Counter[JobKey] = field(default_factory=Counter)
    pods: dict[JobKey, JobKey] = field(default_factory=dict)
    seen: dict[object, Counter[Cell]] = field(default_factory=dict)

    def by_account(self) -> dict[tuple[str, str], int]:
        """Quantities per account and model."""
        sums: Counter[tuple[str, str]] = Counter()
        for (account, model, _), quantity in self.quantities.items():
            sums[account, model] += quantity
        return {k: v for k, v in sums.items() if v}


def paint(day: NodeDay, grace: int, moments: Iterable[tuple[int, int]] = ()) -> Painting:
    """Paint the whole day; or these seconds of it, each with the number of seconds that look like it."""
    claims: list[Claim] = sorted(day.claims, key=_oldest_first)
    horizon = max([day.end, *(c.start for c in claims), *(c.end or 0 for c in claims)]) + grace + 2
    known = {(scheduler, cluster): second for scheduler, cluster, second in day.known_until}
    last = [known.get((c.job.scheduler, c.job.cluster), horizon) if c.end is None else c.end for c in claims]
    believed = {i: _believed(i, claims, last[i], grace, horizon) for i in range(len(claims))}
    painting = Painting()
    for i, homes in believed.items():
        for kind, n in homes or ():
            if kind is LinkKind.SAME:
                painting.pods.setdefault(claims[n].job, claims[i].job)
    for second, alike in moments or ((s, 1) for s in range(day.start, day.end)):
        there = [i for i, c in enumerate(claims) if c.milligpu and c.start <= second < last[i]]
        _paint_second(painting, day, claims, believed, there, second, alike)
    return painting


def _oldest_first(claim: Claim) -> tuple[object, ...]:
    named = (claim.start, claim.job.scheduler, claim.native_id, claim.job, claim.unit, claim.model, claim.milligpu)
    return (*named, claim.node, 1 << 62 if claim.end is None else claim.end)


def _seconds(claim: Claim, horizon: int) -> set[int]:
    return set(range(claim.start, horizon if claim.end is None else claim.end))


def _carries(claim: Claim, kind: LinkKind) -> list[tuple[str, str]]:
    return [(k.cluster, k.value) for k in claim.keys if k.kind is kind]


def _believed(
    i: int, claims: Sequence[Claim], last: int, grace: int, horizon: int
) -> list[tuple[LinkKind, int]] | None:
    """The claims inside which claim ``i`` lives, by its key or theirs; None where a key may not be believed.

    ``last`` is the first second at which the claim is not known to be held.
    """
    claim = claims[i]
    seconds = _seconds(claim, horizon)
    if claim.job.scheduler is SLURM:
        at = [(claim.node.cluster, claim.node.name), ("", claim.node.name)]
        lenders = [n for n, c in enumerate(claims) if any(key in at for key in _carries(c, LinkKind.LENDS))]
        return [(LinkKind.LENDS, n) for n in lenders if seconds & _seconds(claims[n], horizon)]
    if _carries(claim, LinkKind.STAND_IN):
        return []
    said = [(kind, key) for kind in (LinkKind.SAME, LinkKind.INSIDE) for key in sorted(_carries(claim, kind))]
    jobs = [n for n, c in enumerate(claims) if c.job.scheduler is SLURM]
    if said:
        kind, (cluster, number) = said[0]
        runs = [n for n in jobs if claims[n].native_id == number and cluster in ("", claims[n].job.cluster)]
    else:
        kind = LinkKind.SAME
        runs = [n for n in jobs if ("", claim.native_id) in _carries(claims[n], LinkKind.SAME)]
    runs = [n for n in runs if seconds & _seconds(claims[n], horizon)]
    own_nodes = _carries(claim, LinkKind.LENDS)
    if not runs and not said:
        return []
    if not runs or any((claims[n].node.cluster, claims[n].node.name) in own_nodes for n in runs):
        return None
    outside = seconds.difference(*(_seconds(claims[n], horizon) for n in runs))
    streak = 0
    known = max(last, *(max(_seconds(claims[n], horizon)) + 1 for n in runs))  # after its last run only what is known
    for second in range(claim.start, known):
        streak = streak + 1 if second in outside else 0
        if streak > grace:
            return None
    return [(kind, n) for n in runs]


def _paint_second(
    painting: Painting,
    day: NodeDay,
    claims: Sequence[Claim],
    believed: dict[int, list[tuple[LinkKind, int]] | None],
    there: Sequence[int],
    second: int,
    alike: int,
) -> None:
    here = [s for s in day.capacity if s.start <= second < s.end]
    pools = _pools(day, second)
    if not pools:
        return
    for model, size in pools:
        painting.capacity[model] += size * alike
    for i in there:
        painting.held[claims[i].job] += claims[i].milligpu * alike
    readable = {(s.scheduler, s.cluster) for s in day.coverage if s.start <= second < s.end}
    with_cards = [s for s in here if s.milligpu]
    if any((s.scheduler, s.cluster) not in readable for s in with_cards):
        nobodys = "unknown"
    else:
        nobodys = "idle" if any(s.up for s in with_cards) else "down"
    capacity = sum(size for _, size in pools)
    own, word, family, cards = _own(there, claims, believed, capacity, *seen_at(day, claims, there, second))
    for i in own:
        for cluster, node in _carries(claims[i], LinkKind.LENDS):
            if word[i] == "charged":
                slurm = [s for s in here if s.scheduler is SLURM and cluster in ("", s.cluster)]
                word[i] = "reserved"
                if any(s.node == node and not s.up for s in slurm):
                    word[i] = "down"
                if any((SLURM, s.cluster) not in readable for s in slurm):
                    word[i] = "unknown"
    order = sorted(own, key=lambda i: (not cards[i], word[i] != "charged", i))
    if len(pools) > 1:  # of a claim that names no pool, which of its cards is of which model is not known
        names = {model for model, _ in pools}
        cards = {i: known if {claims[i].model.lower(), claims[i].profile} & names else {} for i, known in cards.items()}
    for (model, size), shares in zip(pools, _shares(pools, order, own, claims), strict=True):
        # two seconds with the same shares look the same: painting one of them is enough
        hands = tuple((word[i], family[i], tuple(sorted(cards[i].items(), key=str))) for i, _ in shares)
        look = (size, tuple(shares), hands, nobodys)
        if look not in painting.seen:
            shares.sort(key=lambda share: (not cards[share[0]], word[share[0]] != "charged", share[0]))
            painting.seen[look] = _cells(size, shares, word, family, claims, nobodys, cards)
        for cell, milligpu in painting.seen[look].items():
            account, owner = _ruled(cell, day, claims, word)
            painting.quantities[account, model, claims[owner].job if owner is not None else None] += milligpu * alike


def _ruled(cell: Cell, day: NodeDay, claims: Sequence[Claim], word: dict[int, str]) -> tuple[str, int | None]:
    """Under which word and whose a cell is, given what people ruled."""
    account, owner, opponents = cell
    if account != "disputed" or owner is None:
        return account, owner
    sides = [owner, *opponents]
    for ruling in day.rulings:
        if {claims[i].job for i in sides} == set(ruling.parties):
            winner = next(i for i in sides if claims[i].job == ruling.to)
            return ("charged" if word[winner] == "disputed" else word[winner]), winner
    return account, owner


def _pools(day: NodeDay, second: int) -> list[tuple[str, int]]:
    """Models and sizes. The view with more models (else Slurm's) names them; the larger total counts."""
    views: dict[tuple[Scheduler, str], Counter[str]] = {}
    for s in day.capacity:
        if s.start <= second < s.end and s.milligpu:
            views.setdefault((s.scheduler, s.cluster), Counter())[s.model.lower()] += s.milligpu
    if not views:
        return []
    slurm_first = sorted(views.items(), key=lambda item: item[0][0] is not SLURM)
    finest = max((view for _, view in slurm_first), key=len)
    largest = max(sum(view.values()) for view in views.values())
    pools = sorted(finest.items())
    if len(pools) == 1:
        name = next((n for _, view in slurm_first for n in view if n), "")
        return [(name, largest)]
    assert largest == sum(finest.values()), "two models and a larger other view: not painted here"
    return pools


def _own(
    there: Sequence[int],
    claims: Sequence[Claim],
    believed: dict[int, list[tuple[LinkKind, int]] | None],
    capacity: int,
    known: Known,
    numbers: set[int],
) -> tuple[dict[int, int], dict[int, str], dict[int, int], Known]:
    """What each claim holds for itself, under which word, to which outermost claim it belongs, and on which cards."""
    for i in numbers:
        lenders = [claims[n] for kind, n in believed[i] or () if kind is LinkKind.LENDS and n in there]
        if is_number_in_pod(i, lenders, known, numbers, capacity):
            del known[i]
    parent: dict[int, tuple[LinkKind, int]] = {}
    pods_in: Counter[int] = Counter()
    word = dict.fromkeys(there, "charged")
    for i in sorted(there, key=lambda i: (claims[i].start, claims[i].unit, i)):
        homes = believed[i]
        if homes is None:
            word[i] = "disputed"
            continue
        homes = [home for home in homes if home[1] in there]
        fitting = [
            (kind, n)
            for kind, n in homes
            if kind is LinkKind.SAME or not is_elsewhere(known.get(i, {}), known.get(n), claims[n].milligpu)
        ]
        if homes and not fitting:
            word[i] = "disputed"
            continue
        homes = fitting
        homes.sort(key=lambda home: (claims[home[1]].start, claims[home[1]].unit), reverse=True)
        for kind, n in homes:
            room = claims[n].milligpu - pods_in[n]
            if kind is LinkKind.LENDS or claims[i].milligpu <= room:
                parent[i] = (kind, n)
                pods_in[n] += 0 if kind is LinkKind.LENDS else claims[i].milligpu
                break
        else:
            word[i] = "disputed" if homes else "charged"
    own, family, cards = {}, {}, {}
    for i in there:
        above, up = [], i
        while up in parent and len(above) <= len(there):
            above.append(parent[up][0])
            up = parent[up][1]
        in_a_ring = len(above) > len(there)
        ring = {up}
        while in_a_ring and parent[up][1] not in ring:
            up = parent[up][1]
            ring.add(up)
        family[i] = min(ring)
        if _carries(claims[i], LinkKind.STAND_IN) or (LinkKind.INSIDE in above and not in_a_ring):
            continue
        inside = [n for n in there if parent.get(n, (None, -1)) in ((LinkKind.LENDS, i), (LinkKind.SAME, i))]
        own[i] = max(0, claims[i].milligpu - sum(claims[n].milligpu for n in inside))
        cards[i] = left_over(known.get(i, {}), [known.get(n, {}) for n in inside], own[i])
    return {i: size for i, size in own.items() if size}, word, family, cards


def _shares(
    pools: Sequence[tuple[str, int]], order: Sequence[int], own: dict[int, int], claims: Sequence[Claim]
) -> list[list[tuple[int, int]]]:
    """Per pool, what each claim (in painting order) has of it. A claim that names no pool takes what is left."""
    if len(pools) == 1:
        return [[(i, own[i]) for i in order]]
    names = [model for model, _ in pools]
    home = {i: names.index(t) for i in order for t in (claims[i].model.lower(), claims[i].profile) if t and t in names}
    left = [size - sum(own[i] for i in order if home.get(i) == n) for n, (_, size) in enumerate(pools)]
    largest_first = sorted(range(len(pools)), key=lambda n: (-pools[n][1], n))
    shares: list[dict[int, int]] = [{} for _ in pools]
    for i in order:
        if i in home:
            shares[home[i]][i] = own[i]
            continue
        need = own[i]
        for n in largest_first:  # where there is room
            shares[n][i] = max(0, min(need, left[n]))
            need -= shares[n][i]
            left[n] -= shares[n][i]
        for n in largest_first:  # else over what others have
            more = min(need, pools[n][1] - shares[n][i])
            shares[n][i] += more
            need -= more
        shares[largest_first[0]][i] += need
    return [[(i, share[i]) for i in order if share.get(i)] for share in shares]


def _cells(
    size: int,
    shares: Sequence[tuple[int, int]],
    word: dict[int, str],
    family: dict[int, int],
    claims: Sequence[Claim],
    nobodys: str,
    cards: Known,
) -> Counter[Cell]:
    """Paint one pool at one second: milliGPU per account, owner and opponent."""
    somewhere = places([cards[i] for i, _ in shares], size // 1000)
    grain = gcd(size, 1000 if somewhere else size, *(amount for _, amount in shares))
    grain = gcd(grain, *(amount for i, _ in shares for amount in cards[i].values()))
    cells: list[list[int]] = [[] for _ in range(size // grain)]
    left = {i: amount // grain for i, amount in shares}

    def brush(i: int, among: list[list[int]], most: int, *, free: bool) -> int:
        scheduler = claims[i].job.scheduler
        sides = among if scheduler is SLURM else among[::-1]
        if free:
            wanted = [c for c in sides if not c]
        else:
            wanted = [c for c in sides if c and i not in c]
            wanted.sort(
                key=lambda c: (
                    family[i] in {family[n] for n in c},
                    scheduler in {claims[n].job.scheduler for n in c},
                    len(c),
                )
            )
        for cell in wanted[:most]:
            cell.append(i)
        return min(most, len(wanted))

    for i, _ in shares:  # where cards are known
        for card, amount in sorted(cards[i].items(), key=lambda c: (isinstance(c[0], str), c[0])):
            if card in somewhere:
                low = somewhere[card] * 1000 // grain
                there = cells[low : low + 1000 // grain]
                most = amount // grain
                brush(i, there, most - brush(i, there, most, free=True), free=False)
                left[i] -= most
    for free in (True, False):
        for i, _ in shares:
            left[i] -= brush(i, cells, left[i], free=free)
    found: Counter[Cell] = Counter()
    for cell in cells:
        if not cell:
            found[nobodys, None, ()] += grain
        elif len(cell) == 1:
            found[word[cell[0]], cell[0], ()] += grain
        else:
            *opponents, owner = sorted(cell)
            found["disputed", owner, tuple(opponents)] += grain
    return found
