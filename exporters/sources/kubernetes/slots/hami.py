"""HAMi's own words: what cards a node registers, and which card, and how much of it, its scheduler gave a pod. Pure.

    node  hami.io/node-nvidia-register    GPU-1,10,32768,100,NVIDIA-V100,0,true:   or a JSON list of {id, devmem, ...}
    pod   hami.io/vgpu-devices-allocated  GPU-1,NVIDIA,3000,30:GPU-2,NVIDIA,3000,30:;   containers end in a semicolon

(HAMi, pkg/device and pkg/util/client.) A site may register more memory than a card has (deviceMemoryScaling): the part
of a card is that of what is registered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from exporters.model import MILLI_PER_GPU

REGISTER = "hami.io/node-nvidia-register"
ALLOCATED = "hami.io/vgpu-devices-allocated"


@dataclass(frozen=True, slots=True)
class Given:
    """A part of a card: MiB of its memory, and percent of its cores (0: as many as it likes)."""

    uuid: str
    memory: int
    cores: int

    def worth(self, memory: int) -> int:
        """MilliGPU of a card with so many MiB: the larger of both parts, the card where there is neither."""
        part = max(Fraction(self.memory, memory) if memory > 0 else Fraction(0), Fraction(self.cores, 100))
        return int(min(part or Fraction(1), Fraction(1)) * MILLI_PER_GPU)


def registered(register: str) -> dict[str, int]:
    """The memory, in MiB, of each card in a node's register, by UUID.

    >>> registered("GPU-1,10,32768,100,NVIDIA-V100,0,true:GPU-2,10,32768,100,NVIDIA-V100,0,true:")
    {'GPU-1': 32768, 'GPU-2': 32768}
    >>> registered('[{"id":"GPU-1","count":10,"devmem":32768}]'), registered(""), registered("[")
    ({'GPU-1': 32768}, {}, {})
    """
    if register.lstrip().startswith("["):
        try:
            told = json.loads(register)
        except (ValueError, RecursionError):
            return {}
        entries = [(str(c.get("id") or ""), c.get("devmem")) for c in told if isinstance(c, dict)]
        return {uuid: memory for uuid, memory in entries if uuid and isinstance(memory, int)}
    rows = [entry.strip().split(",") for entry in register.split(":")]
    return {row[0]: int(row[2]) for row in rows if len(row) > 3 and row[2].isdecimal() and len(row[2]) < 10}


def allocated(annotations: Mapping[str, str]) -> tuple[Given, ...]:
    """What a pod was given, card by card; nothing where the annotation is missing or does not read.

    >>> allocated({ALLOCATED: "GPU-1,NVIDIA,3000,30:;"})
    (Given(uuid='GPU-1', memory=3000, cores=30),)
    """
    found = []
    for entry in annotations.get(ALLOCATED, "").replace(";", ":").split(":"):
        if not entry.strip():
            continue
        words = entry.strip().split(",")
        numbers = [word for word in words[2:4] if word.isdecimal() and len(word) < 10]
        if len(words) < 4 or len(numbers) < 2:
            return ()
        found.append(Given(words[0], int(numbers[0]), int(numbers[1])))
    return tuple(found)
