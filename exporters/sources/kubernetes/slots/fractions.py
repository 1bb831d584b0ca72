"""Fractions of a card by annotation: KAI and Run:ai. Pure.

Their scheduler lets a pod of its own keep a whole card (the reservation pod, in a namespace of the scheduler's), and
the team's pods use it: each says in an annotation how much of it, and the label ``runai-gpu-group`` says which
reservation it is in. So the reservation pod holds nothing, and each of the team's pods its part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from exporters.model import MILLI_PER_GPU
from exporters.sources.kubernetes.raw import number

GROUP = "runai-gpu-group"
FRACTION, MEMORY, DEVICES = "gpu-fraction", "gpu-memory", "gpu-fraction-num-devices"
_KEEPERS = ("kai-resource-reservation", "runai-reservation")
"""Namespaces of reservation pods: only the scheduler makes pods there."""

_CARD = "run.ai/reserve_for_gpu_index"
_PART = re.compile(r"0?\.\d{1,6}|1(\.0{1,6})?")
_MAX_DEVICES = 64
_LONGEST = 64


@dataclass(frozen=True, slots=True)
class Fractional:
    """What a pod has of cards that are shared by fractions, in the reservations ``groups``.

    ``keeps``: it is a reservation pod, of the card ``uuid`` where that is told. Else it uses ``milligpu`` of one card,
    or ``memory`` MiB of it, of each of ``devices``.
    """

    groups: tuple[str, ...]
    keeps: bool = False
    uuid: str = ""
    milligpu: int = 0
    memory: int = 0
    devices: int = 1

    def worth(self, memory_gib: float) -> int:
        """MilliGPU that it holds, on cards of this memory. Raises ValueError where that is asked for and not known."""
        if self.milligpu:
            return self.devices * self.milligpu
        if not memory_gib:
            raise ValueError(f"has no label nvidia.com/gpu.memory, and {MEMORY} is a part of it")
        return self.devices * min(MILLI_PER_GPU, int(self.memory * MILLI_PER_GPU / (memory_gib * 1024)))


def fractional(
    namespace: str, labels: Mapping[str, str], annotations: Mapping[str, str], *, whole: bool = False
) -> Fractional | None:
    """What a pod's labels and annotations say of it; None for all other pods.

    ``whole``: it is given cards of its own, so that its annotations say nothing, unless it is a reservation pod.
    Raises ValueError for a fraction that is none.
    """
    groups = tuple(sorted({v for k, v in labels.items() if k == GROUP} | _named(labels)))
    if namespace in _KEEPERS and groups:
        card = annotations.get(_CARD, "")
        return Fractional(groups, keeps=True, uuid=card if card.startswith("GPU-") and len(card) < _LONGEST else "")
    fraction, memory = annotations.get(FRACTION, ""), annotations.get(MEMORY, "")
    if whole or not (fraction or memory):
        return None
    milligpu = int(Decimal(fraction) * MILLI_PER_GPU) if _PART.fullmatch(fraction) else 0
    if fraction and not milligpu:
        raise ValueError(f"its annotation {FRACTION}={fraction[:40]!r} is no part of a card, such as 0.5")
    if not fraction and not number(memory):
        raise ValueError(f"its annotation {MEMORY}={memory[:40]!r} is no number of MiB")
    devices = number(annotations.get(DEVICES, "1"), _MAX_DEVICES)
    if not devices:
        raise ValueError(f"its annotation {DEVICES}={annotations[DEVICES][:40]!r} is no number of cards")
    return Fractional(groups, milligpu=milligpu, memory=0 if fraction else number(memory), devices=devices)


def _named(labels: Mapping[str, str]) -> set[str]:
    """The groups of a pod on several cards: one label each, ``runai-gpu-group/<group>``."""
    return {k.partition("/")[2] for k in labels if k.startswith(f"{GROUP}/")}
