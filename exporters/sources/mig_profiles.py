"""MIG profiles by card, as NVIDIA publishes them. Pure data, and how it is asked.

Source: NVIDIA's MIG user guide (docs.nvidia.com/datacenter/tesla/mig-user-guide, "Supported MIG Profiles") and the
configurations of NVIDIA/mig-parted (deployments/gpu-operator). A profile's name does not tell its part of the card:
1g.10gb is one memory slice of eight on an 80 GB card and two on one of 40 GB, and 3g.71gb is half of an H200's memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

Parts = tuple[Fraction, Fraction]
"""What an instance takes of its card: of the compute slices, and of the memory."""


@dataclass(frozen=True, slots=True)
class MigCard:
    """One card. ``memory`` is GB in the names of its profiles: of seven slices 1g, 1g with more memory, 2g, 3g, 4g, 7g;
    of four slices 1g, 2g, 4g. ``model`` matches its name as Slurm, Kubernetes or DCGM spell it, in lower case.
    """

    model: str
    memory: tuple[int, ...]

    @property
    def gigabytes(self) -> int:
        """The whole card's memory, as its largest profile names it."""
        return self.memory[-1]

    def parts(self, compute: int, memory: int) -> Parts | None:
        """What ``<compute>g.<memory>gb`` takes of this card; None where the card has no such profile."""
        for slices, eighths, named in zip(*_SHAPES[len(self.memory)], self.memory, strict=True):
            if (slices, named) == (compute, memory):
                whole = 7 if len(self.memory) == 6 else 4
                return Fraction(slices, whole), eighths
        return None


_EIGHTH = Fraction(1, 8)
_SHAPES = {
    6: ((1, 1, 2, 3, 4, 7), tuple(n * _EIGHTH for n in (1, 2, 2, 4, 4, 8))),
    3: ((1, 2, 4), (Fraction(1, 4), Fraction(1, 2), Fraction(1))),
}
"""By how many profiles a card has: their compute slices, and their parts of the memory."""

CARDS = (
    MigCard(r"a100", (5, 10, 10, 20, 20, 40)),
    MigCard(r"a100|a800|h100|h800", (10, 20, 20, 40, 40, 80)),
    MigCard(r"h100|h800", (12, 24, 24, 47, 47, 94)),
    MigCard(r"h100|gh200|h20(?!\d)", (12, 24, 24, 48, 48, 96)),
    MigCard(r"gh200", (18, 36, 36, 72, 72, 144)),
    MigCard(r"(?<!g)h200|gh200", (18, 35, 35, 71, 71, 141)),
    MigCard(r"b200", (23, 45, 45, 90, 90, 180)),
    MigCard(r"b200", (23, 47, 47, 93, 93, 186)),
    MigCard(r"b200", (24, 47, 47, 95, 95, 189)),
    MigCard(r"b300", (34, 67, 67, 135, 135, 269)),
    MigCard(r"b300", (35, 70, 70, 139, 139, 278)),
    MigCard(r"a30(?!\d)", (6, 12, 24)),
    MigCard(r"rtx.*pro.*5000", (12, 24, 48)),
    MigCard(r"rtx.*pro.*6000", (24, 48, 96)),
)


def published(model: str, compute: int, memory: int, gigabytes: float = 0.0) -> Parts | None:
    """What a profile takes of a card of this model; None where no published card of it has the profile.

    ``gigabytes`` is the card's memory where it is known. Where several cards fit (no model, or one sold with more than
    one size of memory) the smallest part: instances that are counted too small never exceed their card.
    """
    named = model.lower()
    fitting = [card for card in CARDS if not named or re.search(card.model, named)]
    sized = [card for card in fitting if gigabytes and abs(card.gigabytes - gigabytes) <= 0.05 * gigabytes]
    found = [parts for card in sized or fitting if (parts := card.parts(compute, memory))]
    return min(found, key=max) if found else None
