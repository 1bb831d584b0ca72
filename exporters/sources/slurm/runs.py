"""Runs of Slurm jobs: who they are, what state they are in, and what they hold. Pure.

**Identity.** A requeue, a resize and a preemption each begin a new row under the same job id, and ids are recycled.
Every release keeps (job id, submit time) unique in its database, and both sides know both: ``<JobIDRaw>@<Submit>``.
From 26.05 on a run is named by its SLUID instead. Earlier ones will not do: accounting has SLUIDs since 24.11, but
slurmctld shows them since 25.11 only, and which row a resize began (OriginalSLUID) accounting tells since 26.05.

**Resize.** The new row's Submit is the time of the resize, which slurmctld tells as ResizeTime. In 22.05 it keeps the
run's first Start, so rows overlap: what was held since then begins at ``max(Start, Submit)``. Under SLUIDs slurmctld
goes on naming the first row, so a later one is ``<first SLUID>@<Submit>`` on both sides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from exporters.model import Claim, JobKey, LinkKey, LinkKind, NodeKey, Scheduler
from exporters.sources.slurm.gres import MOST_ON_NODE, Cards
from exporters.thawed import thawed

SLUID_RELEASE = (26, 5)

IDENTITIES = frozenset({"auto", "sluid", "submit"})
"""What may name a run: ``auto`` follows the release, ``submit`` never uses SLUIDs."""

NO_SLUID = frozenset({"", "s0000000000000"})
"""The OriginalSLUID of a row from before the release that has them: such a run keeps its job id and submit time."""


class Phase(Enum):
    """What a state means for cards."""

    WAITS = "waits"
    HOLDS = "holds"
    ENDED = "ended"


PHASES: Mapping[str, Phase] = {
    **dict.fromkeys(
        ("PENDING", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
        Phase.WAITS,
    ),
    **dict.fromkeys(
        ("RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "SIGNALING", "STAGE_OUT", "STOPPED", "UPDATE_DB"),
        Phase.HOLDS,
    ),
    **dict.fromkeys(
        (
            "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE",
            "OUT_OF_MEMORY", "REQUEUED", "RESIZING", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL",
        ),
        Phase.ENDED,
    ),
}  # fmt: skip
"""Every state word of accounting. In a row of accounting REQUEUED and RESIZING are how the row ended."""


def by_sluid(identity: str) -> bool:
    """Whether runs may be named by SLUID. Raises ValueError for what is not one of `IDENTITIES`."""
    if identity not in IDENTITIES:
        raise ValueError(f"identity must be auto, sluid or submit, not {identity!r}")
    return identity != "submit"


def release_of(version: str) -> tuple[int, int]:
    """``slurm-wlm 22.05.8`` -> (22, 5). Raises ValueError for what has no release in it."""
    found = re.search(r"(\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"{version.strip()!r} does not name a Slurm release")
    return int(found[1]), int(found[2])


def run_id(native_id: str, submit: int, *, sluid: str = "", resized: bool = False) -> str:
    """A run's identity; ``sluid`` is that of the first row (OriginalSLUID), empty where the release has none.

    ``resized`` says that a resize began this row, at ``submit``.
    """
    if not sluid:
        return f"{native_id}@{submit}"
    return f"{sluid}@{submit}" if resized else sluid


def bridge_keys(admin_comment: str) -> tuple[LinkKey, ...]:
    """The pods that an external job of slurm-bridge is, from its AdminComment ``{"pods": ["ns/name"]}``.

    The comment must be an object whose ``pods`` is a non-empty list of names: other tools write there too. It does not
    say which Kubernetes cluster they are of.
    """
    if '"pods"' not in admin_comment:
        return ()
    try:
        pods = json.loads(admin_comment).get("pods")
    except (ValueError, AttributeError, RecursionError):
        return ()
    if not isinstance(pods, list) or not pods or not all(isinstance(pod, str) and pod for pod in pods):
        return ()
    return tuple(LinkKey(LinkKind.SAME, "", pod, f"AdminComment names pod {pod}") for pod in dict.fromkeys(pods))


def deal(cards: Sequence[Cards], nodes: int) -> list[list[Cards]]:
    """Share cards out over nodes when only the total is known: equal parts, the remainder to the first nodes.

    Each node's part is of one number of units; where there are several types they are dealt out in order. Raises
    ValueError for more than nodes have.
    """
    queue = [(item.type, item.count) for item in cards]
    base, rest = divmod(sum(count for _, count in queue), nodes)
    if base >= MOST_ON_NODE:
        raise ValueError(f"{base} cards on each node: none has more than {MOST_ON_NODE}")
    hands = []
    for n in range(nodes):
        wanted = base + (n < rest)
        hand = []
        while wanted:
            kind, count = queue[0]
            taken = min(wanted, count)
            hand.append(Cards(kind, taken))
            wanted -= taken
            queue[0] = (kind, count - taken)
            if count == taken:
                queue.pop(0)
        hands.append(hand)
    return hands


class Part(NamedTuple):
    """What a run holds of one type on one node. ``type`` only where it holds several of them."""

    node: NodeKey
    milligpu: int
    model: str
    profile: str
    indices: tuple[int, ...]
    type: str = ""


def parts_on(cluster: str, hands: Sequence[tuple[str, Sequence[Cards]]]) -> tuple[Part, ...]:
    """One part per node and card type. ``hands`` are (node name, its cards).

    Slices have no index: Slurm numbers its GRES, and a slice's number there is not a card's.
    """
    several = len({item.type for _, cards in hands for item in cards}) > 1
    return tuple(
        Part(
            NodeKey(Scheduler.SLURM, cluster, node),
            item.milligpu,
            item.model,
            item.profile,
            () if item.profile else item.indices,
            item.type if several else "",
        )
        for node, cards in hands
        for item in cards
    )


def slots_on(cluster: str, nodes: Sequence[str], slots: Mapping[str, int]) -> tuple[Part, ...]:
    """The slots of a run dealt out to its nodes, in equal parts. What they weigh, the nodes tell."""
    found = []
    for kind, count in sorted(slots.items()):
        base, rest = divmod(count, len(nodes))
        for n, node in enumerate(nodes):
            told, model = f"{kind}={base + (n < rest)}", kind.partition(":")[2]
            found.append(Part(NodeKey(Scheduler.SLURM, cluster, node), 0, model, told, (), kind))
    return tuple(found)


_claim = thawed(Claim)


def claims_of(
    job: JobKey,
    native_id: str,
    parts: Sequence[Part],
    start: int,
    end: int | None,
    keys: tuple[LinkKey, ...] = (),
    *,
    split_assumed: bool = False,
) -> tuple[Claim, ...]:
    """One claim for each part.

    The unit is the run, or ``<run>/<type>`` where the run holds several types: a claim is known by job, unit and node.
    """
    run, basis = job.id, "" if end is None else "finished"
    return tuple(
        [
            _claim(
                job,
                f"{run}/{kind}" if kind else run,
                node,
                milligpu,
                start,
                end,
                model,
                profile,
                indices,
                (),  # its cards' UUIDs
                keys,
                split_assumed,
                basis,
                native_id,
            )
            for node, milligpu, model, profile, indices, kind in parts
        ]
    )
