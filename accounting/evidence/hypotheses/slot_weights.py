"""What slots of Slurm's (``gres/shard``, ``gres/mps``) weigh: a record tells how many, only the node what they share.

A claim on slots has what the live side saw of its node when it began; before the first sighting, what was seen first
(`exporters.sources.slurm.gres.shares_for`). Of a node that nobody saw with such slots it is not known what they weigh:
the claim holds nothing that could be counted, and of what nobody else holds on the node meanwhile nothing is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from accounting.evidence.capacity import NodeFacts
from accounting.evidence.claim_reader import Reader
from accounting.evidence.claim_rows import Rows
from exporters.model import Claim, NodeKey
from exporters.sources.shares import SHARED, by_count
from exporters.sources.slurm.gres import shares_for, slots_of

Holes = Mapping[NodeKey, Sequence[tuple[int, int]]]


def weighed(reader: Reader, rows: Rows, nodes: Mapping[NodeKey, NodeFacts]) -> tuple[Rows, Holes]:
    """The claims with what their slots weigh, without those of which that is not known, and when these were."""
    slots = [n for n, (_, profile) in enumerate(reader.kinds.items) if slots_of(profile)]
    which = np.flatnonzero(np.isin(reader.kind(rows), slots))
    if not len(which):
        return rows, {}
    changed: dict[int, Claim] = {}
    holes: dict[NodeKey, list[tuple[int, int]]] = defaultdict(list)
    kept = np.ones(len(rows), dtype=bool)
    for row in which.tolist():
        claim = reader.claim(rows, row)
        found = weigh(claim, nodes.get(claim.node))
        if found is None:
            kept[row] = False
            holes[claim.node].append((int(rows.start[row]), int(rows.end[row])))
        else:
            changed[row] = found
    return reader.replaced(rows, changed, ()).keep(kept), {node: sorted(some) for node, some in holes.items()}


def weigh(claim: Claim, node: NodeFacts | None) -> Claim | None:
    """A claim on slots with what they weigh, None where nobody knows."""
    told = slots_of(claim.profile)
    if told is None:
        return claim
    kind, count = told
    seen = node.sightings if node is not None else ()
    before = [s for s in seen if s.start <= claim.start and shares_for(kind, s.slots)]
    last = max((s.start for s in before), default=min((s.start for s in seen), default=0))
    there = [slots for s in (before or seen) if s.start == last for slots in s.slots]
    shares = shares_for(kind, dict.fromkeys(there))
    return None if shares is None else replace(claim, milligpu=by_count(*shares, count), profile=SHARED)
