"""What the demo's cards do: invented readings that follow who held which card.

Every kind of work has a character of its own (training is busy and talks over NVLink, serving swings with the day,
notebooks sleep on their cards), so that utilization, energy and coverage have something to tell. Loads are smooth in
time and can be integrated exactly, so the joules of a card only ever grow and fit the watts beside them.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demo.dcgm_text import CardState, InstanceState, Pod
from demo.fleet import card_at_work, noise

DATA = Path(__file__).parent / "data" / "holders.csv.gz"
CARDS = 8
SLICED: Mapping[str, tuple[int, ...]] = {"k09": (6, 7), "mx01": (7,)}
"""Cards that are cut into seven 1g.10gb instances, numbered from 7 as NVIDIA's driver does."""

INSTANCES = range(7, 14)
PROFILE = "1g.10gb"
H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"
A100_MACHINES = ("k09", "mx01")
GIB = 1 << 30
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Character:
    """How a kind of work loads its cards: ``mean`` plus ``swing`` times a daily wave; ``tensor`` is a part of it."""

    mean: float
    swing: float = 0.0
    tensor: float = 0.0
    linked: bool = False

    def load(self, at: float) -> float:
        """The load at one moment, 0..1."""
        return self.mean + self.swing * math.sin(2 * math.pi * (at / DAY - 0.375))

    def busy(self, start: float, end: float) -> float:
        """The load integrated over an interval, in seconds."""
        wave = DAY / (2 * math.pi)
        a, b = (2 * math.pi * (t / DAY - 0.375) for t in (start, end))
        return self.mean * (end - start) + self.swing * wave * (math.cos(a) - math.cos(b))


IDLE = Character(0.0)
CHARACTERS: tuple[tuple[tuple[str, ...], Character], ...] = (
    (("jupyter", "hpc1-worker"), IDLE),  # cards that are held and not used
    (("notebook", "mig-notebook", "try-flash"), Character(0.06, 0.05, 0.01)),
    (("granite", "vllm", "clip-embed", "rag-index", "label-assist", "anonymize"), Character(0.42, 0.33, 0.18)),
    (("pretrain", "sft", "rlhf", "distill", "hotfix"), Character(0.94, 0.0, 0.58, linked=True)),
    (("vit", "det", "seg", "clip", "nerf", "hyb-detect", "flow-match", "ablation"), Character(0.83, 0.04, 0.41)),
    (("burn-in", "nccl"), Character(0.97, 0.0, 0.85, linked=True)),
    (("varcall", "basecall", "align", "phylo", "fold", "qc", "imputation"), Character(0.58, 0.06, 0.12)),
)
DEFAULT = Character(0.7, 0.05, 0.3)


def character(name: str) -> Character:
    """The character of a piece of work by its name."""
    return next((c for names, c in CHARACTERS if name.startswith(names)), DEFAULT)


@dataclass(frozen=True, slots=True)
class _Holder:
    start: int
    end: int
    pod: Pod | None
    job: str
    name: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A card or instance while its holders do not change; ``busy`` is the load integrated until its start."""

    start: int
    character: Character
    pods: tuple[Pod, ...]
    jobs: tuple[str, ...]
    busy: float

    def busy_until(self, at: float) -> float:
        """The load integrated until ``at``, which lies in the stretch."""
        return self.busy + self.character.busy(self.start, at)


@dataclass(frozen=True)
class Gap:
    """An exporter that did not answer over ``[start, end)``."""

    machine: str
    start: float
    end: float


class Devices:
    """All cards of the site. ``readings`` is what `demo.fleet.Fleet` asks for."""

    def __init__(self, gaps: Sequence[Gap] = ()) -> None:
        self._gaps = tuple(gaps)
        self._timelines: dict[tuple[str, int, str], list[_Stretch]] = {
            place: list(_stretches(holders)) for place, holders in _read().items()
        }
        self._starts = {place: [s.start for s in line] for place, line in self._timelines.items()}

    def readings(self, machine: str, at: float) -> list[CardState]:
        """The state of a machine's cards. Raises LookupError while its exporter is out of order."""
        for gap in self._gaps:
            if gap.machine == machine and gap.start <= at < gap.end:
                raise LookupError(f"the exporter of {machine} is out of order")
        return [self._card(machine, index, at) for index in range(CARDS)]

    def busy_seconds(self, machine: str, index: int, at: float) -> float:
        """The load of a card (not of its slices), integrated from the beginning until ``at``."""
        now = self._at((machine, index, ""), at)
        return now.busy_until(at) if now else 0.0

    def _at(self, place: tuple[str, int, str], at: float) -> _Stretch | None:
        line = self._timelines.get(place)
        n = bisect_right(self._starts[place], at) - 1 if line else -1
        return line[n] if line and n >= 0 else None

    def _card(self, machine: str, index: int, at: float) -> CardState:
        model = A100 if machine in A100_MACHINES else H100
        if index in SLICED.get(machine, ()):
            return self._sliced(machine, index, at, model)
        now = self._at((machine, index, ""), at)
        if now is None:
            return card_at_work(machine, index, at, 0.0, model=model)
        does = now.character
        load = does.load(at)
        card = card_at_work(
            machine, index, at, load, does.tensor, now.busy_until(at), model, 80 * GIB, linked=does.linked
        )
        return replace(card, pods=now.pods, hpc_jobs=now.jobs)

    def _sliced(self, machine: str, index: int, at: float, model: str) -> CardState:
        instances, load, busy = [], 0.0, 0.0
        for number in INSTANCES:
            now = self._at((machine, index, str(number)), at)
            share = now.character.load(at) if now else 0.0
            wobble = 0.94 + 0.12 * noise(machine, index, number, int(at) // 5)
            load += share / len(INSTANCES)
            busy += now.busy_until(at) / len(INSTANCES) if now else 0.0
            instances.append(
                InstanceState(
                    number,
                    PROFILE,
                    engine=min(1.0, share * wobble),
                    tensor=min(1.0, (now.character.tensor if now else 0.0) * wobble),
                    dram=0.5 * share,
                    memory_used=int(9.5 * GIB * share),
                    memory_total=int(9.75 * GIB),
                    pods=now.pods if now else (),
                    hpc_jobs=now.jobs if now else (),
                )
            )
        card = card_at_work(machine, index, at, load, 0.0, busy, model, 80 * GIB)
        return replace(card, instances=tuple(instances))


def _read() -> dict[tuple[str, int, str], list[_Holder]]:
    found: dict[tuple[str, int, str], list[_Holder]] = defaultdict(list)
    text = gzip.decompress(DATA.read_bytes()).decode()
    for row in csv.DictReader(io.StringIO(text)):
        pod = None
        if row["uid"]:
            namespace, _, name = row["job"].partition("/")
            pod = Pod(namespace, name, row["container"], row["uid"])
        holder = _Holder(int(row["start"]), int(row["end"]), pod, "" if pod else row["job"], row["name"])
        found[row["machine"], int(row["card"]), row["instance"]].append(holder)
    return found


def _stretches(holders: Iterable[_Holder]) -> Iterable[_Stretch]:
    """A device's timeline. Of several holders the innermost says what it does: pod in job, job in slurmd pod."""
    held = list(holders)
    moments = sorted({t for h in held for t in (h.start, h.end)})
    busy = 0.0
    previous: _Stretch | None = None
    for moment in moments:
        if previous is not None:
            busy = previous.busy_until(moment)
        here = [h for h in held if h.start <= moment < h.end]
        here.sort(key=lambda h: (h.name.startswith("hpc1-worker"), h.pod is None, h.start))
        pods = tuple(h.pod for h in reversed(here) if h.pod)[-1:]
        jobs = tuple(h.job for h in here if h.job)
        previous = _Stretch(moment, character(here[0].name) if here else IDLE, pods, jobs, busy)
        yield previous
