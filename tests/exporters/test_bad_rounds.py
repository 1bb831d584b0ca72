"""Rounds with bad input in them: bounded time and memory, a sentence that says what it was, nothing else disturbed."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from demo.dcgm_text import CardState, render
from exporters.join.projects import ProjectMap
from exporters.model import Field, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.devices.dcgm import Dcgm
from tests.exporters import world as w
from tests.lab.endpoints import Answer, says, serving

MIB = 1 << 20


def page(host: str, cards: int = 8, energy: float = 1e6) -> bytes:
    return render(host, [CardState(n, f"GPU-{host}-{n}", energy=energy) for n in range(cards)]).encode()


def changing(*bodies: bytes) -> Answer:
    """Each body in turn, the last one for ever."""
    left = list(bodies)

    async def answer(writer: object) -> None:
        await says(left.pop(0) if len(left) > 1 else left[0])(writer)  # type: ignore[arg-type]

    return answer


def rounds(answer: Answer, count: int, **settings: int) -> Iterator[Snapshot]:
    """Rounds of an endpoint beside a good one."""
    with serving({"/good": says(page("good")), "/bad": answer}) as endpoints:
        source = Dcgm(targets=[endpoints.at("/good"), endpoints.at("/bad")], **settings)
        for n in range(count):
            yield source.poll(1000.0 + 15 * n)
        source.close()


def hosts(snapshot: Snapshot) -> dict[str, int]:
    found: dict[str, int] = {}
    for sample in snapshot.samples:
        found[sample.host] = found.get(sample.host, 0) + 1
    return found


def test_a_bomb_in_gzip_is_refused_unopened() -> None:
    bomb = gzip.compress(b"DCGM_FI_DEV_POWER_USAGE 1\n" * (8 * MIB))
    tracemalloc.start()
    (snapshot,) = rounds(says(bomb, headers="Content-Encoding: gzip\r\n"), 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert {"good": 8} == hosts(snapshot)
    assert "gzip, which was not asked for" in snapshot.problems[0]
    assert peak < 16 * MIB


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"x 1\n" * 1_000_001, "more than 1000000 lines"),
        (b"x 1\n" * 1_000_000, "no reading of any card"),
        (b"".join(b'DCGM_FI_DEV_XID_ERRORS{a="%d"} 0\n' % n for n in range(400_000)), "50000 wanted series"),
    ],
    ids=["over the limit", "of nobody", "without a card"],
)
def test_a_million_series_are_refused_in_bounded_time_and_memory(body: bytes, words: str) -> None:
    begun = time.thread_time()
    (snapshot,) = rounds(says(body), 1)

    assert {"good": 8} == hosts(snapshot)
    assert words in " ".join(snapshot.problems)
    assert time.thread_time() - begun < 5


def test_a_page_ten_times_as_large_is_read_and_then_the_small_one_again() -> None:
    answer = changing(page("bad"), page("bad", 80), page("bad"))

    found = [hosts(snapshot).get("bad") for snapshot in rounds(answer, 3)]

    assert [8, 80, 8] == found


def test_a_page_that_grows_beyond_the_limit_is_that_endpoints_error_and_it_comes_back() -> None:
    answer = changing(page("bad"), page("bad", 80), page("bad"))

    found = list(rounds(answer, 3, max_bytes=2 * len(page("bad"))))

    assert [8, None, 8] == [hosts(snapshot).get("bad") for snapshot in found]
    assert "the limit" in found[1].problems[0]


def test_what_is_served_twice_or_is_no_number_is_one_reading_or_none() -> None:
    text = page("bad", 1)
    power = next(line for line in text.splitlines() if line.startswith(b"DCGM_FI_DEV_POWER_USAGE{"))
    doubled = text + power.rpartition(b" ")[0] + b" 80.000000\n" + power.rpartition(b" ")[0] + b" NaN\n"

    (snapshot,) = rounds(says(doubled), 1)

    assert [80.0] == [s.values[Field.POWER] for s in snapshot.samples if s.host == "bad"]


class Clock:
    """A site whose clock jumps; its cards draw 300 W."""

    def __init__(self) -> None:
        self.now, self.joules = 100_000.0, 5e6
        slurm, self.dcgm = w.StubSource("slurmctld", "lab", w.SLURM), w.StubSource("dcgm", "", None)
        job = w.slurm_job(1)
        claim = w.slurm_claim(job, "gn01", 1000, (0,), start=50_000)
        slurm.says = Snapshot(0, jobs=(job,), claims=(claim,), nodes=(w.slurm_node("gn01"),))
        self.collector = Collector([slurm, self.dcgm], JoinSettings(ProjectMap.of([])), clock=lambda: self.now)
        self.key = job.key

    def step(self, jump: float = 0.0) -> tuple[float, float]:
        """Fifteen true seconds, and a jump of the clock; held seconds and joules of the job."""
        self.now += 15 + jump
        self.joules += 15 * 300.0
        values = {Field.ENERGY: self.joules, Field.POWER: 300.0}
        self.dcgm.says = Snapshot(0, samples=w.samples("gn01", self.now, values, count=1))
        self.collector.poll_all()
        self.collector.join()
        use = self.collector.meter.jobs[self.key]
        return use.gpu_seconds, use.energy_joules


@pytest.mark.parametrize("jump", [-3600.0, -20.0, -15.0, 40.0, 86_400.0])
def test_when_the_clock_is_set_counters_do_not_fall_and_energy_is_what_the_cards_counted(jump: float) -> None:
    site = Clock()
    told = [site.step() for _ in range(3)]
    told += [site.step(jump)]
    told += [site.step() for _ in range(3)]

    assert sorted(told) == told
    assert pytest.approx(6 * 15 * 300.0, abs=15 * 300.0) == told[-1][1] - told[0][1]
    assert 45 == told[-1][0] - told[3][0]
