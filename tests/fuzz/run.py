"""Feeds a target, and says what is wrong with it."""

from __future__ import annotations

import json
import random
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import SECONDS, TARGETS

CORPUS = Path(__file__).with_name("corpus")


@dataclass(frozen=True, slots=True)
class Fault:
    """An input that a parser took wrongly, and how."""

    target: str
    data: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.target}: {self.what}\nadd to tests/fuzz/corpus/{self.target}.json: {json.dumps(text(self.data))}"


def text(data: bytes) -> str:
    """Bytes as a corpus has them: one character for each."""
    return data.decode("latin-1")


def seeds(target: str) -> list[bytes]:
    """The corpus of a target: what is right, and everything that ever was a fault."""
    told: list[str] = json.loads((CORPUS / f"{target}.json").read_text(encoding="utf-8"))
    return [one.encode("latin-1") for one in told]


def tried(target: str, data: bytes) -> Fault | None:
    """What is wrong with how a target takes ``data``; None where nothing is."""
    one = TARGETS[target]
    begun = time.process_time()
    try:
        one.run(data)
    except one.errors:
        pass
    except Exception:  # noqa: BLE001 - that is what we look for
        return Fault(target, data, traceback.format_exc(limit=-3))
    took = time.process_time() - begun
    return Fault(target, data, f"it took {took:.1f} s") if took > SECONDS else None


def fuzz(target: str, runs: int, seed: int) -> Fault | None:
    """Try the corpus and ``runs`` relatives of it; the first fault. The same ``seed`` tries the same."""
    known, chance = seeds(target), random.Random(seed)
    for data in known:
        if (fault := tried(target, data)) is not None:
            return fault
    for _ in range(runs):
        if (fault := tried(target, mutated(known, chance))) is not None:
            return fault
    return None
