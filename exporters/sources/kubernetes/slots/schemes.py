"""What the slots of a node's resources are worth: every way in which cards are shared, how it is told. Pure.

A slot of a device plugin is not a card. How a node shares its cards is read from its labels and annotations, the first
that applies (docs/sharing.md has the same table for people):

=========================  ====================================================  =================================
scheme                     told by                                               a slot is
=========================  ====================================================  =================================
a rule of the site         ``devices.resources``                                 what the setting says
MIG mixed                  ``nvidia.com/mig-<profile>``                          its weight (`exporters.sources.shares`)
MIG single                 ``nvidia.com/gpu.product`` ends in ``-MIG-<profile>`` 1 / instances of a card
MIG on GKE                 ``cloud.google.com/gke-gpu-partition-size``           1 / instances of a card
time-sharing, MPS on GKE   ``cloud.google.com/gke-max-shared-clients-per-gpu``   1 / clients, of a card or a slice
time-slicing, MPS          ``nvidia.com/gpu.replicas``; ``.shared`` in the name  1 / replicas
HAMi                       annotation ``hami.io/node-nvidia-register``           what the container asks of it
AMD partitions, single     a label says ``cpx_nps4`` or the like                 1 / partitions of a card
AMD partitions, mixed      ``amd.com/cpx_nps4`` or the like                      1 / partitions of a card
passed to a machine whole  ``nvidia.com/<chip>_<model>``                         one card
=========================  ====================================================  =================================

Where more slots are offered than another label tells cards, and none of these says why, the cards are what the label
tells, and a sentence says so: slots are never silently taken for cards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from exporters.model import MILLI_PER_GPU
from exporters.sources.kubernetes.raw import number
from exporters.sources.kubernetes.slots import hami
from exporters.sources.kubernetes.slots.resources import Resources, partition_of, passed_model
from exporters.sources.mig_profiles import Parts
from exporters.sources.shares import SHARED, by_count, cards_needed, divide_cards, most_on_card, parts_of

MAX_CARDS = 1024
"""More cards than any machine has."""

_GKE = "cloud.google.com/gke-"
_PARTITIONS = {"spx": 1, "dpx": 2, "tpx": 3, "qpx": 4, "cpx": 8}
"""Compute partitions of an AMD card; a MI300A has six dies, so its CPX are six."""

_PARTITION_LABELS = (
    "amd.com/compute-memory-partition",
    "amd.com/gpu.compute-memory-partition",
    "amd.com/compute-partitioning",
    "dcm.amd.com/gpu-config-profile",
)
_PARTITION = re.compile(r"(?i)\b([sdtqc]px)(?=\b|_)")


@dataclass(frozen=True, slots=True)
class SlotPool:
    """``slots`` equal slots of one resource that share ``milligpu`` (0: nothing tells of the cards behind).

    ``model`` where the resource itself tells it. ``by_part``: a container may ask for a part of each slot's card
    (HAMi), and holds that; ``alone`` is what a slot is of which it asks for no part, 0: its share of the pool.
    ``memory`` are the cards behind, as far as they are told: UUID and MiB.
    """

    slots: int
    milligpu: int
    profile: str = ""
    model: str = ""
    by_part: bool = False
    alone: int = 0
    memory: tuple[tuple[str, int], ...] = ()

    def worth(self, count: int) -> int:
        """MilliGPU of ``count`` slots."""
        return by_count(self.milligpu, self.slots, count)


@dataclass(frozen=True, slots=True)
class Offer:
    """What decides the worth of a node's slots: its name for people, the product label, labels and annotations."""

    node: str
    product: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def cards(self) -> int:
        """How many cards the node has, as GPU Feature Discovery or HAMi tells, 0 where neither does.

        Under MIG's strategy *single* GPU Feature Discovery counts instances instead.
        """
        if single_profile(self.product):
            return 0
        return number(self.labels.get("nvidia.com/gpu.count"), MAX_CARDS) or min(
            len(hami.registered(self.annotations.get(hami.REGISTER, ""))), MAX_CARDS
        )

    @property
    def replicas(self) -> int:
        """How often each card (or MIG instance) is offered."""
        gke = number(self.labels.get(f"{_GKE}max-shared-clients-per-gpu")) or 1
        return max(number(self.labels.get("nvidia.com/gpu.replicas")), gke)

    @property
    def memory_gib(self) -> float:
        """The memory of one card, 0 where no label tells."""
        return number(self.labels.get("nvidia.com/gpu.memory")) / 1024

    @property
    def one_profile(self) -> str:
        """The MIG profile that every card of the node is cut in, where plain ``nvidia.com/gpu`` counts instances."""
        return single_profile(self.product) or self.labels.get(f"{_GKE}gpu-partition-size", "")

    @property
    def shares(self) -> bool:
        """Whether a slot of the plain resource is less than a card, whatever the node offers right now."""
        by_labels = bool(self.one_profile) or self.replicas > 1 or self.mode not in ("", "spx")
        return by_labels or hami.REGISTER in self.annotations

    @property
    def mode(self) -> str:
        """How each AMD card is partitioned (``cpx``), empty where no label tells."""
        return next(filter(None, (partition_mode(self.labels.get(name, "")) for name in _PARTITION_LABELS)), "")


def plain_model(product: str) -> str:
    """The card's model without what GPU Feature Discovery appends for sharing and for MIG's single strategy."""
    return product.partition("-MIG-")[0].removesuffix("-SHARED").replace(" ", "-")


def single_profile(product: str) -> str:
    """The MIG profile of a node whose every card is cut the same way (strategy *single*), else empty."""
    return product.partition("-MIG-")[2].removesuffix("-SHARED")


def partition_mode(profile: str) -> str:
    """AMD's compute partitioning in a profile's name, else empty.

    >>> partition_mode("cpx_nps4"), partition_mode("DPX-NPS1"), partition_mode("1g.10gb")
    ('cpx', 'dpx', '')
    """
    found = _PARTITION.search(profile)
    return found[1].lower() if found else ""


def partitions(mode: str, product: str) -> int:
    """Compute partitions of an AMD card in a mode.

    >>> partitions("cpx", "AMD_Instinct_MI300X_OAM"), partitions("cpx", "AMD_Instinct_MI300A"), partitions("spx", "")
    (8, 6, 1)
    """
    return 6 if mode == "cpx" and "MI300A" in product.upper() else _PARTITIONS[mode]


def pools_of(offer: Offer, counts: Mapping[str, int], rules: Resources) -> tuple[dict[str, SlotPool], list[str]]:
    """The slots of each resource with their worth, and sentences about what could not be told or contradicts itself."""
    pools: dict[str, SlotPool] = {}
    problems: list[str] = []
    mig: list[str] = []
    for resource, slots in sorted(counts.items()):
        vendor, _, kind = resource.partition("/")
        if own := rules.own.get(resource):
            profile = SHARED if own.milligpu % MILLI_PER_GPU else ""
            pools[resource] = SlotPool(slots, slots * own.milligpu, profile, own.model)
        elif kind.startswith("mig-"):
            mig.append(resource)
        elif vendor == "amd.com":
            pools[resource] = _amd(offer, resource, slots, problems)
        elif model := passed_model(resource):
            pools[resource] = SlotPool(slots, slots * MILLI_PER_GPU, model=model)
        else:
            pools[resource] = _nvidia(offer, resource, slots, problems)
    used = sum(pool.milligpu for name, pool in pools.items() if name.startswith("nvidia.com/")) // MILLI_PER_GPU
    pools.update(_mig(offer, {name: counts[name] for name in mig}, used))
    return pools, problems


def _nvidia(offer: Offer, resource: str, slots: int, problems: list[str]) -> SlotPool:
    """``nvidia.com/gpu`` and ``.shared``: whole cards, or instances, or replicas of either."""
    replicas, cards = offer.replicas, offer.cards
    if profile := offer.one_profile:
        on_one = most_on_card(profile, plain_model(offer.product))
        instances = max(1, slots // replicas)
        return SlotPool(slots, -(-instances // on_one) * MILLI_PER_GPU, profile)
    if hami.REGISTER in offer.annotations and cards:
        memory = tuple(sorted(hami.registered(offer.annotations[hami.REGISTER]).items()))
        return SlotPool(slots, cards * MILLI_PER_GPU, SHARED, by_part=True, alone=MILLI_PER_GPU, memory=memory)
    if replicas > 1 or resource.endswith(".shared"):
        physical = slots // replicas if replicas > 1 else cards
        if not physical:
            problems.append(
                f"node {offer.node} offers {slots} {resource} and has no nvidia.com/gpu.replicas or "
                "nvidia.com/gpu.count label: run GPU Feature Discovery, or its shares cannot be told"
            )
        if not cards or physical <= cards:
            return SlotPool(slots, physical * MILLI_PER_GPU, SHARED)
    elif not cards or slots <= cards:
        return SlotPool(slots, slots * MILLI_PER_GPU)
    problems.append(
        f"node {offer.node} offers {slots} {resource}, but its label nvidia.com/gpu.count says {cards} cards: each "
        "slot is counted as its part of these; say how the cards are shared by the labels of GPU Feature Discovery, "
        "or by devices.resources in the settings"
    )
    return SlotPool(slots, cards * MILLI_PER_GPU, SHARED, by_part=replicas == 1)


def _amd(offer: Offer, resource: str, slots: int, problems: list[str]) -> SlotPool:
    """Partitions of AMD's cards, by the resource's own name or by the node's labels."""
    mode = partition_of(resource) or offer.mode
    on_one = partitions(mode, offer.product) if mode else 1
    if on_one == 1:
        return SlotPool(slots, slots * MILLI_PER_GPU)
    if slots % on_one:
        problems.append(
            f"node {offer.node} offers {slots} {resource}, which are no whole cards of {on_one} partitions each: do "
            "its labels still say how its cards are partitioned?"
        )
    return SlotPool(slots, -(-slots // on_one) * MILLI_PER_GPU, mode)


def _mig(offer: Offer, counts: Mapping[str, int], used: int) -> dict[str, SlotPool]:
    """MIG strategy *mixed*: the cards that are not whole are shared by all slices on them, by weight."""
    if not counts:
        return {}
    model = plain_model(offer.product)
    found: list[tuple[Parts, int]] = []
    profiles: list[str] = []
    for resource, slots in counts.items():
        base = resource.removesuffix(".shared")
        profiles.append(base.partition("/mig-")[2])
        replicas = max(1, number(offer.labels.get(f"{base}.replicas")))
        found.append((parts_of(profiles[-1], model, offer.memory_gib), max(1, slots // replicas)))
    cards = offer.cards - used
    if cards <= 0:
        cards = cards_needed(found)
    shares = divide_cards(cards, [max(parts) for parts, _ in found], [n for _, n in found])
    return {
        resource: SlotPool(slots, share, profile)
        for (resource, slots), share, profile in zip(counts.items(), shares, profiles, strict=True)
    }
