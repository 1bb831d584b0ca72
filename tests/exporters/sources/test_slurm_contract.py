"""One contract for every source of one Slurm site: the same jobs, claims, nodes and events.

On this machine's Slurm, and under ``make test-matrix`` (METERBRIDGE_SLURM_MATRIX=1) on those of newer suites too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporters.model import Record
from exporters.node import cgroups
from exporters.sources.slurm import dbd_rows, runs
from tests.exporters.sources.slurm_contract import HISTORIES, LIVES, Site, drained, nouns, opened
from tests.lab.fixtures import SLURM_GROUPS
from tests.lab.jobs import Story, play
from tests.lab.slurm import SlurmLab
from tests.lab.suites import NEWER, Suite

pytestmark = pytest.mark.server("slurm")

SUITES = (None, *NEWER) if os.environ.get("METERBRIDGE_SLURM_MATRIX") else (None,)


@pytest.fixture(scope="module", params=SUITES, ids=lambda suite: suite.release if suite else "here")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster with everything that can be read."""
    folder = tmp_path_factory.mktemp("contract")
    suite: Suite | None = request.param
    if suite is None:
        story: Story = request.getfixturevalue("story")
        with opened(story, folder) as site:
            yield site
        return
    assert suite.there, f"Slurm {suite.release} is missing: python -m tests.lab.suites"
    with SlurmLab(Path(tempfile.mkdtemp(prefix="slurm-lab-")), groups=SLURM_GROUPS, suite=suite) as lab:
        lab.seed({}, {"urgent": ["Priority=1000", "Preempt=normal"]})
        with opened(play(lab), folder) as site:
            yield site


@pytest.mark.parametrize("way", HISTORIES[1:])
def test_every_history_tells_the_same_runs(site: Site, way: str) -> None:
    expected = site.records("sacct")

    assert expected == site.records(way)
    assert {"REQUEUED", "RESIZING", "PREEMPTED", "NODE_FAIL", "RUNNING"} <= {r.job.state for r in expected.values()}


@pytest.mark.parametrize("way", ["slurmrestd by socket", "slurmdbd"])
def test_small_windows_tell_every_run_once(site: Site, way: str) -> None:
    whole = {key: r.claims for key, r in site.records(way).items() if r.job.start is not None}
    pieces = {key: r.claims for key, r in site.records(way, step=5).items() if r.job.start is not None}

    assert whole == pieces


@pytest.mark.parametrize("way", LIVES[1:])
def test_every_live_source_tells_the_same_present(site: Site, way: str) -> None:
    assert nouns(site.snapshot("json")) == nouns(site.snapshot(way))


def test_a_drained_node_reads_the_same_in_every_source(site: Site) -> None:
    def look() -> None:
        told = {way: [n for n in site.snapshot(way).nodes if n.key.name == "cn01"] for way in LIVES}
        [node] = told["json"]

        assert [(way, [node]) for way in LIVES] == list(told.items())
        assert (False, (site.story.lab.layout.host, "k8s-7")) == (node.up, node.hostnames)
        assert "bad | fan [root@" in node.reason

    drained(site, look)


def test_the_database_tells_the_same_events_and_slurmrestd_none(site: Site) -> None:
    expected = site.events("sacct")

    assert expected == site.events("slurmdbd")
    assert ["gn02"] == [event.key.name for event in expected if "bad | fan" in event.reason]
    assert [] == site.events("slurmrestd by socket")


def test_what_runs_is_named_alike_live_and_in_every_history(site: Site) -> None:
    live = {str(claim.job) for way in LIVES for claim in site.snapshot(way).claims}

    assert 1 == len(live)
    for way in HISTORIES:
        assert live <= set(site.records(way))


def test_runs_are_sluids_from_the_release_on_in_which_both_sides_have_them(site: Site) -> None:
    named = {key.rpartition("/")[2].partition("@")[0] for way in HISTORIES for key in site.records(way)}
    sluids = {name for name in named if name.startswith("s")}

    assert (named if site.story.lab.release >= runs.SLUID_RELEASE else set()) == sluids
    assert sluids == {cgroups.job_name(sluid) for sluid in sluids}  # which is how 26.05 names a job's cgroup


def test_the_database_keeps_suspensions_and_the_index_of_a_row_as_text(site: Site) -> None:
    records = site.history("slurmdbd").records(site.story.start, site.story.end)
    [suspended] = [r for r in records if isinstance(r, Record) and r.job.name == "suspend"]
    index, stretches = suspended.raw.split("\x1f")[18:20]
    begun, ended = (int(moment) for moment in stretches.split("-"))

    assert (suspended.job.start or 0) < begun <= ended < (suspended.job.end or 0)
    assert index.isdigit()
    if site.story.lab.release >= runs.SLUID_RELEASE:
        assert suspended.job.key.id == dbd_rows.sluid(int(index))
