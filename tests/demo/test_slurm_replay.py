"""The replayed Slurm, read by the production sources."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from demo import slurm_replay
from demo.live_replay import LiveReplay
from exporters.model import NodeEvent, Record
from exporters.sources.base import SourceError
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.lab.demo_time import MONTH_END, MONTH_START

REPLAY = (sys.executable, "-I", "-S", slurm_replay.__file__)
WEEK = 7 * 86_400


def at(folder: Path, moment: float) -> None:
    (folder / "now").write_text(str(moment))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture
def sacct(folder: Path) -> Sacct:
    return Sacct(
        "hpc1",
        command=(*REPLAY, "sacct"),
        sacctmgr=(*REPLAY, "sacctmgr"),
        environment={slurm_replay.SITE: str(folder)},
        step=5 * WEEK,
    )


def read(sacct: Sacct, start: int, end: int) -> list[Record]:
    found = list(sacct.records(start, end))
    assert all(isinstance(item, Record) for item in found), "a reject"
    return [item for item in found if isinstance(item, Record)]


def test_the_month_holds_every_kind_of_run(folder: Path, sacct: Sacct) -> None:
    at(folder, MONTH_END)

    records = read(sacct, MONTH_START, MONTH_END)

    states = Counter(r.job.state for r in records)
    assert {
        "COMPLETED", "RUNNING", "PENDING", "REQUEUED", "PREEMPTED", "NODE_FAIL", "CANCELLED", "FAILED"
    } <= set(states)  # fmt: skip
    assert {"no gpu", "never started"} <= {r.excluded for r in records}
    assert any("_[" in r.job.display_id for r in records), "no tasks that never started"
    assert any("+" in r.job.display_id for r in records), "no heterogeneous job"
    assert {"1g.10gb", ""} == {c.profile for r in records for c in r.claims}
    assert sum(bool(c.keys) for r in records for c in r.claims) == 4, "external jobs name their pods"
    assert any("|" in r.job.name for r in records)
    assert any(r.job.name.startswith("=") for r in records)


def test_a_requeued_job_has_runs_that_follow_each_other(folder: Path, sacct: Sacct) -> None:
    at(folder, MONTH_END)

    runs = [r.job for r in read(sacct, MONTH_START, MONTH_END) if r.job.name == "varcall-wgs"]

    (first, second) = sorted(runs, key=lambda job: job.submit or 0)
    assert (first.state, first.native_id) == ("REQUEUED", second.native_id)
    assert first.end == second.submit
    assert second.start is not None
    assert second.submit is not None
    assert second.start > second.submit


@pytest.mark.parametrize("weeks", [0, 1, 2, 3, 4])
def test_nothing_is_told_before_it_happened(folder: Path, sacct: Sacct, weeks: int) -> None:
    now = MONTH_START + weeks * WEEK
    at(folder, now)

    records = read(sacct, MONTH_START - WEEK, now + 1)
    events = [e for e in sacct.events(MONTH_START - WEEK, now + 1) if isinstance(e, NodeEvent)]

    moments = [t for r in records for t in (r.job.submit, r.job.start, r.job.end) if t is not None]
    assert max(moments) <= now
    assert all(e.start <= now and (e.end is None or e.end <= now) for e in events)
    assert any(r.job.end is None and r.claims for r in records), "nothing runs"


def test_the_windows_of_a_month_add_up_to_the_month(folder: Path, sacct: Sacct) -> None:
    at(folder, MONTH_END)
    daily = Sacct("hpc1", command=(*REPLAY, "sacct"), environment={slurm_replay.SITE: str(folder)}, step=WEEK)

    whole, parts = (read(source, MONTH_START, MONTH_END) for source in (sacct, daily))

    assert sorted(r.raw for r in whole) == sorted(r.raw for r in parts)


def test_the_drained_and_the_failed_node_are_events(folder: Path, sacct: Sacct) -> None:
    at(folder, MONTH_END)

    events = [e for e in sacct.events(MONTH_START, MONTH_END) if isinstance(e, NodeEvent)]

    expected = [
        ("gn04", "DRAIN: bad fan, ticket 4711"),
        ("h100-03", "DOWN: slurm-operator: pod hpc1-worker-h100-t5vbn is gone"),
    ]
    assert expected == sorted((e.key.name, e.reason) for e in events)
    assert all(not e.up and e.milligpu == 8000 and e.end is not None for e in events)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sacct", "-Z", "5"), "-Z is not an option that was recorded"),
        (("sacct", "-P", "--format=JobID", "-S", "2026-10-01"), "only -P -X -D was recorded"),
        (("sacct", "-P", "-X", "-D", "--format=Nonsense", "-S", "2026-10-01"), "Invalid field requested: 'Nonsense'"),
        (("sacctmgr", "delete", "user", "alice"), "only 'sacctmgr -P show event' was recorded"),
        (("scancel", "5"), "'scancel'"),
    ],
)
def test_calls_that_were_not_recorded_are_refused(folder: Path, words: tuple[str, ...], said: str) -> None:
    at(folder, MONTH_END)
    env = {**os.environ, slurm_replay.SITE: str(folder)}

    done = subprocess.run([*REPLAY, *words], env=env, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_durations_are_what_slurm_computes_from_its_times(folder: Path) -> None:
    at(folder, MONTH_END)
    env = {**os.environ, slurm_replay.SITE: str(folder), "SLURM_TIME_FORMAT": "%s"}
    fields = "Start,End,ElapsedRaw,Suspended,CPUTimeRAW,AllocCPUS,Elapsed,JobName"
    command = [*REPLAY, "sacct", "-D", "-X", "-n", "-P", "-S", "2026-10-01", f"--format={fields}"]

    printed = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    rows = [line.split("|", 7) for line in printed.splitlines()]
    (suspended,) = [row for row in rows if row[3] != "00:00:00"]
    start, end, elapsed, _, cpu_time, cpus, text, name = suspended
    days, clock = suspended[3].split("-")
    paused = int(days) * 86_400 + sum(int(n) * f for n, f in zip(clock.split(":"), (3600, 60, 1), strict=True))
    assert name == "long-eval"
    assert int(elapsed) == int(end) - int(start) - paused
    assert int(cpu_time) == int(elapsed) * int(cpus)
    assert text.startswith(f"{int(elapsed) // 86_400}-")


@pytest.fixture(scope="module")
def live(folder: Path) -> LiveReplay:
    replay = LiveReplay(folder / "a folder with 'quotes'")
    replay.install()
    return replay


def test_the_queue_at_every_moment_gives_each_card_to_one_job(live: LiveReplay) -> None:
    source = Slurmctld("hpc1", squeue=live.command("squeue"), scontrol=live.command("scontrol"))
    seen: set[str] = set()
    for moment in live.moments[::12]:
        live.advance(moment)
        snapshot = source.poll(moment)
        cards = Counter((c.node.name, index) for c in snapshot.claims for index in c.indices)
        seen |= {c.native_id for c in snapshot.claims}

        assert not snapshot.rejects
        assert len(snapshot.nodes) == 12
        assert sum(n.milligpu for n in snapshot.nodes) == 12 * 8000
        assert not [place for place, count in cards.items() if count > 1], moment
        assert all(c.start <= moment for c in snapshot.claims)
    assert len(seen) > 100


def test_the_queue_and_accounting_tell_of_the_same_runs(folder: Path, sacct: Sacct, live: LiveReplay) -> None:
    at(folder, live.moments[-1])
    history = {r.job.key: r for r in read(sacct, MONTH_START - WEEK, live.moments[-1])}
    fresh = LiveReplay(folder / "fresh")
    fresh.install()
    source = Slurmctld("hpc1", squeue=fresh.command("squeue"), scontrol=fresh.command("scontrol"))
    for moment in fresh.moments[5:-5:20]:
        fresh.advance(moment)
        for claim in source.poll(moment).claims:
            record = history[claim.job]

            assert claim.start == record.job.start
            assert record.job.end is None or record.job.end > moment, claim
            assert claim.node in {c.node for c in record.claims}


def test_live_calls_that_were_not_recorded_are_refused(live: LiveReplay) -> None:
    live.advance(live.moments[0])
    source = Slurmctld("hpc1", squeue=(*live.command("squeue"), "--me"), scontrol=live.command("scontrol"))

    with pytest.raises(SourceError, match="this call was not recorded: --me -a"):
        source.poll(0)
