"""What a machine has at a moment, claims aside, and what the cards are that nobody holds. Pure.

Missing evidence is never billed, and never called idle: what nobody holds is ``unknown`` unless every scheduler that
has the cards was readable, then ``down`` if none of them would have placed work on them, else ``idle``; but ``unknown``
where nobody saw the cards, and only claims and events prove them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accounting.evidence.hypotheses.proven_cards import total
from accounting.model import CapacityStretch
from exporters.join.pools import Pool, merge_pools
from exporters.model import Claim, Disposition, LinkKind, Scheduler


@dataclass(slots=True)
class Evidence:
    """What a machine has at some moment, and what is known about what nobody holds."""

    pools: Sequence[Pool]
    missing: str  # why there are no pools
    rest: Disposition
    why: str
    down: Mapping[tuple[str, str], str]  # Slurm nodes that are not available, with their reasons
    unread: frozenset[str]  # Slurm clusters that could not be read


PROVEN = "nobody saw the machine: only records prove its cards"
"""Why it is unknown what cards are that nobody holds."""


def evidence_of(
    here: Sequence[CapacityStretch], covered: frozenset[tuple[Scheduler, str]], models: Mapping[str, str]
) -> Evidence:
    """What is so where these stretches of capacity meet, and these clusters (scheduler, name) could be read.

    ``models`` maps spellings of GPU models to the site's names.
    """
    seen = [s for s in here if not s.proven]
    told = seen or here  # what somebody saw of a machine says more than what records prove of another of its nodes
    slurm = [s for s in told if s.scheduler is Scheduler.SLURM]
    rest, why = _rest([s for s in told if s.milligpu > 0], covered)
    return Evidence(
        pools=merge_pools(_views(here if total(here) > total(told) else told), models),
        missing="has no cards" if here else "has no known capacity",
        rest=rest,
        why=why,
        down={(s.cluster, s.node): s.reason for s in sorted(slurm) if not s.up},
        unread=frozenset(s.cluster for s in slurm if (s.scheduler, s.cluster) not in covered),
    )


def _views(here: Sequence[CapacityStretch]) -> dict[tuple[Scheduler, str], list[Pool]]:
    """What each scheduler says the machine has. A node told twice is told once, in its larger version."""
    told: dict[tuple[Scheduler, str, str, str], int] = defaultdict(int)
    for s in here:
        key = (s.scheduler, s.cluster, s.node, s.model)
        told[key] = max(told[key], s.milligpu)
    views: dict[tuple[Scheduler, str], list[Pool]] = defaultdict(list)
    for (scheduler, cluster, _, model), milligpu in told.items():
        views[scheduler, cluster].append(Pool(model, milligpu))
    return views


def _rest(having: Sequence[CapacityStretch], covered: frozenset[tuple[Scheduler, str]]) -> tuple[Disposition, str]:
    """What the cards are that nobody holds, and why, given who has cards here."""
    unread = sorted({f"{s.scheduler.value} {s.cluster}" for s in having if (s.scheduler, s.cluster) not in covered})
    if unread:
        return Disposition.UNKNOWN, f"no records of {', '.join(unread)}"
    if not any(s.up for s in having):
        return Disposition.DOWN, "; ".join(sorted({s.reason for s in having if s.reason}))
    if all(s.proven for s in having):
        return Disposition.UNKNOWN, PROVEN
    return Disposition.IDLE, ""


def why_free(lender: Claim, disposition: Disposition, evidence: Evidence) -> str:
    """Why the rest of a lender is not simply reserved."""
    names = {(k.cluster, k.value) for k in lender.keys if k.kind is LinkKind.LENDS}
    if disposition is Disposition.UNKNOWN:
        return f"no records of {', '.join(f'slurm {c}' for c in sorted(evidence.unread))}"
    if disposition is Disposition.DOWN:
        return "; ".join(sorted({why for (c, n), why in evidence.down.items() if {(c, n), ("", n)} & names and why}))
    return ""
