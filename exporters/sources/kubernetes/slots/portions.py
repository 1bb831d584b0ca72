"""What a bound pod holds: slots of its node's resources, fractions of kept cards, devices of its claims. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from exporters.model import MILLI_PER_GPU
from exporters.sources.kubernetes.nodes import NodeFacts
from exporters.sources.kubernetes.pod_facts import Asked, PodFacts
from exporters.sources.kubernetes.slots.fractions import GROUP, Fractional
from exporters.sources.kubernetes.slots.hami import Given
from exporters.sources.kubernetes.slots.resource_claims import Devices
from exporters.sources.kubernetes.slots.resources import WHOLE
from exporters.sources.kubernetes.slots.schemes import SlotPool
from exporters.sources.shares import SHARED


@dataclass(frozen=True, slots=True)
class Portion:
    """Part of what a pod holds. ``shared`` is the UID of the ResourceClaim other pods may use too, else empty."""

    milligpu: int
    model: str
    profile: str
    uuids: tuple[str, ...] = ()
    shared: str = ""


Reserved = Mapping[tuple[str, str], str]
"""(Node, group) of the reservation pods that keep a card for fractions -> the card's UUID, empty where not told."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a bound pod holds (its own portion first, then one per shareable ResourceClaim).

    ``missing`` is what is not known yet; ``refused`` is why what it asks for cannot be held, unless something changes.
    """

    held: tuple[Portion, ...] = ()
    missing: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def portions(
    pod: PodFacts, node: NodeFacts | None, devices: Devices | None, reserved: Reserved, *, final: bool = False
) -> Findings:
    """What a bound pod holds.

    ``devices`` None: there is no DRA. ``final``: nothing more will be learned, so a node that is gone is taken to have
    had whole cards.
    """
    own: list[Portion] = []
    shared: list[Portion] = []
    missing: list[str] = []
    refused: list[str] = []
    for resource, count in pod.requests.items():
        pool = node.pools.get(resource) if node is not None else None
        if pool is not None and count > pool.slots and pod.started is None:
            refused.append(f"asks for {count} {resource}, and its node {pod.node} has {pool.slots}")
            continue
        found = _counted(pod, node, resource, count, final=final)
        if isinstance(found, Portion):
            own.append(found)
        else:
            missing.append(f"node {pod.node} {found}")
    if pod.part is not None and not pod.part.keeps:
        _fraction(pod, pod.part, node, reserved, own, missing, refused)
    for ref in pod.claims:
        given = devices.given(pod.namespace, ref.name, pod.uid) if devices is not None else None
        if devices is None or given is None:
            why = "cannot be read" if devices is None else "shows no allocation"
            missing.append(f"ResourceClaim {pod.namespace}/{ref.name} {why}")
            continue
        parts: list[Portion] = []
        for key, consumed in given.devices:
            device = devices.device(key)
            if device is None:
                missing.append(f"no ResourceSlice describes device {'/'.join(key)}")
                continue
            milligpu = device.worth(consumed)
            profile = device.profile or (SHARED if milligpu < device.milligpu else "")
            parts.append(Portion(milligpu, device.model, profile, (device.uuid,) if device.uuid else ()))
        if parts:
            (own if ref.own else shared).append(_together(parts, "" if ref.own else given.uid))
    held = ([_together(own)] if own else []) + shared
    return Findings(tuple(held), tuple(missing), tuple(refused))


def _counted(pod: PodFacts, node: NodeFacts | None, resource: str, count: int, *, final: bool) -> Portion | str:
    """What slots of a device plugin's resource are worth, or what is wrong with the node."""
    if node is None:
        return Portion(count * MILLI_PER_GPU, "", "") if final and resource in WHOLE else "is not known"
    if node.virtual:
        return Portion(count * MILLI_PER_GPU, "", "")
    pool = node.pools.get(resource)
    if pool is not None and pool.milligpu:
        if pool.memory and len(pod.given) == count and {g.uuid for g in pod.given} <= dict(pool.memory).keys():
            return _given(pool, pod.given, node.model)
        worth = by_part(pool, pod.asked, count, node.memory_gib) if pool.by_part else pool.worth(count)
        return Portion(worth, pool.model or node.model, pool.profile)
    if pool is None and resource in WHOLE and not node.shares:  # the plugin is away, the cards are still held
        return Portion(count * MILLI_PER_GPU, node.model, "")
    return f"does not tell how many cards are behind {resource}"


def _given(pool: SlotPool, given: Sequence[Given], model: str) -> Portion:
    """What HAMi's scheduler says that it gave, and on which cards, where all have the same part of theirs."""
    memory = dict(pool.memory)
    parts = [g.worth(memory[g.uuid]) for g in given]
    uuids = tuple(g.uuid for g in given) if len(set(parts)) == 1 and len({g.uuid for g in given}) == len(given) else ()
    return Portion(min(sum(parts), pool.milligpu), pool.model or model, pool.profile, uuids)


def by_part(pool: SlotPool, asked: Sequence[Asked], count: int, memory_gib: float) -> int:
    """MilliGPU of ``count`` slots of which containers ask for parts: the larger of its memory and its cores (HAMi).

    A slot of which no part is asked for is what the pool says of one; a part never exceeds its card.
    """
    total, left = 0, count
    for container in asked:
        slots = min(container.count, left)
        left -= slots
        percent = max(container.memory_percent, container.cores)
        part = Fraction(percent, 100)
        if memory_gib:
            part = max(part, Fraction(container.memory) / Fraction(memory_gib * 1024))
        elif container.memory and not percent:
            part = Fraction(pool.worth(1), MILLI_PER_GPU)
        if part:
            total += slots * int(min(part, Fraction(1)) * MILLI_PER_GPU)
        else:
            left += slots
    return min(total + (left * pool.alone if pool.alone else pool.worth(left)), pool.milligpu)


def _fraction(
    pod: PodFacts,
    part: Fractional,
    node: NodeFacts | None,
    reserved: Reserved,
    own: list[Portion],
    missing: list[str],
    refused: list[str],
) -> None:
    """A fraction of cards that reservation pods keep: it counts only while these are there."""
    if node is None:
        missing.append(f"node {pod.node} is not known")
        return
    unknown = [group for group in part.groups if (pod.node, group) not in reserved]
    if unknown or not part.groups:
        refused.append(
            f"asks for a fraction of a card, and no reservation pod of {GROUP}={', '.join(unknown) or '(no label)'} "
            f"is on its node {pod.node}"
        )
        return
    try:
        worth = part.worth(node.memory_gib)
    except ValueError as e:
        missing.append(f"node {pod.node} {e}")
        return
    cards = tuple(filter(None, (reserved[pod.node, group] for group in part.groups)))
    own.append(Portion(worth, node.model, SHARED, cards if len(cards) == part.devices else ()))


def _together(parts: Sequence[Portion], shared: str = "") -> Portion:
    """One portion out of several; the model is that of the largest, the profiles are joined with ``+``.

    Of parts of which some are whole cards and others are not, no card is told: which is whole would be lost.
    """
    largest = max(parts, key=lambda p: p.milligpu)
    profiles = dict.fromkeys(p.profile for p in parts if p.profile)
    alike = len({p.profile for p in parts}) == 1
    uuids = tuple(dict.fromkeys(u for p in parts for u in p.uuids)) if alike else ()
    return Portion(sum(p.milligpu for p in parts), largest.model, "+".join(profiles), uuids, shared)
