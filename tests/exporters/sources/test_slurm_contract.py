"""One contract for every source of one Slurm site: the same jobs, claims, nodes and events.

On this machine's Slurm, and under ``make test-matrix`` (METERBRIDGE_SLURM_MATRIX=1) on those of newer suites too.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest

from exporters.model import Record
from exporters.node import cgroups
from exporters.sources.slurm import runs
from exporters.sources.slurm.history import dbd_rows
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd
from tests.exporters.sources.slurm_contract import HISTORIES, LIVES, Site, drained, nouns, opened
from tests.lab.daemons import wait_for
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


def jobs_answered(client: RestClient) -> list[int]:
    """The bytes of each list of jobs that the client will get from now on; 0 for one that it is not sent."""
    sizes: list[int] = []
    get = client.get

    def listening(path: str) -> bytes:
        if "/jobs" in path:
            sizes.append(0)
        body = get(path)
        if "/jobs" in path:
            sizes[-1] = len(body)
        return body

    client.get = listening  # type: ignore[method-assign]
    return sizes


@pytest.mark.parametrize("way", HISTORIES[1:])
def test_every_history_tells_the_same_runs(site: Site, way: str) -> None:
    with suppress(TimeoutError):  # runs that were requeued reach the database by and by; the difference is shown below
        wait_for(lambda: site.records("sacct") == site.records(way), 20, "accounting to come to rest")
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


def test_slurmrestd_sends_the_jobs_again_when_one_of_them_changed(site: Site) -> None:
    """22.05 always sends them: its answers do not say as of when they are."""
    lab, client = site.story.lab, site.client("slurmrestd by socket")
    source, sizes = Slurmrestd(lab.cluster, client), jobs_answered(client)

    def tells_all() -> set[str]:
        """The jobs that it tells, once they are those that somebody is told who asks for the first time."""
        told: list[list[str]] = []

        def same() -> bool:
            told[:] = [nouns(s)["jobs"] for s in (source.poll(time.time()), site.snapshot("slurmrestd by socket"))]
            return told[0] == told[1]

        wait_for(same, 60, "the same jobs", poll=0.2)
        return {job for job in told[0] if "sent-again" in job}

    assert set() == tells_all()
    if lab.release > (22, 5):
        wait_for(lambda: not tells_all() and sizes[-1] < sizes[0] / 2, 60, "jobs that did not change", poll=0.2)
    assert lab.release > (22, 5) or sizes[-1] >= sizes[0] / 2
    number = lab.submit("sleep 60", "--gres=gpu:1", "--hold", name="sent-again")
    assert 1 == len(tells_all())

    lab.run("scancel", number)
    assert set() == tells_all()


def test_the_database_tells_the_same_events_and_slurmrestd_none(site: Site) -> None:
    expected = site.events("sacct")

    assert expected == site.events("slurmdbd")
    assert ["gn02"] == [event.key.name for event in expected if "bad | fan" in event.reason]
    assert [] == site.events("slurmrestd by socket")


@pytest.mark.parametrize("way", HISTORIES)
def test_every_history_tells_jobs_by_their_ids(site: Site, way: str) -> None:
    """Every run of a requeued job, a task of an array by its own number, what still runs, and nothing of no job."""
    whole = site.records("sacct")
    wanted = {r.job.native_id for r in whole.values() if r.job.name in {"requeue", "plain", "running"}}
    wanted |= {next(r.job.native_id for r in whole.values() if r.job.display_id.endswith("_2"))}
    found = {str(r.job.key): r for r in site.history(way).again([*wanted, "99999999"]) if isinstance(r, Record)}

    assert 5 <= len(found)
    assert {k: r.claims for k, r in whole.items() if r.job.native_id in wanted} == {
        k: r.claims for k, r in found.items() if r.job.native_id in wanted
    }


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


def test_runs_are_named_by_job_and_submit_time_where_the_site_says_so(site: Site) -> None:
    live = {str(c.job) for way in LIVES for c in site.live(way, "submit").poll(time.time()).claims}
    told = [set(site.records(way, identity="submit")) for way in HISTORIES]

    assert 1 == len(live)
    assert all(live <= names for names in told)
    assert all(re.fullmatch(r"slurm/lab/\d+@\d+", name) for names in told for name in names)


def test_a_run_from_before_sluids_keeps_its_name_in_every_history(site: Site) -> None:
    """Its row has 0 for its first SLUID; a small DBIndex, as until 24.11."""
    table, row, d = f"{site.story.lab.cluster}_job_table", site.story.ids["plain"], site.story.lab.database
    with pymysql.connect(
        host="127.0.0.1", port=d.port, user=d.user, password=d.password, database=d.database, autocommit=True
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")
        own = {"job_db_inx": "987654", "id_job": "987654", "sluid": "0"}
        columns = [str(column[0]) for column in cursor.description]
        copied = ", ".join(own.get(column, f"`{column}`") for column in columns)
        cursor.execute(f"INSERT INTO {table} SELECT {copied} FROM {table} WHERE id_job = {row} LIMIT 1")
        try:
            found = [
                {r.job.key.id for r in site.records(way).values() if r.job.native_id == "987654"} for way in HISTORIES
            ]
        finally:
            cursor.execute(f"DELETE FROM {table} WHERE id_job = 987654")

    assert 1 == len(set().union(*found)), found
    assert all(re.fullmatch(r"987654@\d+", name) for names in found for name in names)
    assert [1] * len(HISTORIES) == [len(names) for names in found]


def test_the_database_keeps_suspensions_and_the_index_of_a_row_as_text(site: Site) -> None:
    records = site.history("slurmdbd").records(site.story.start, site.story.end)
    [suspended] = [r for r in records if isinstance(r, Record) and r.job.name == "suspend"]
    index, stretches = suspended.raw.split("\x1f")[18:20]
    begun, ended = (int(moment) for moment in stretches.split("-"))

    assert (suspended.job.start or 0) < begun <= ended < (suspended.job.end or 0)
    assert index.isdigit()
    if site.story.lab.release >= runs.SLUID_RELEASE:
        assert suspended.job.key.id == dbd_rows.sluid(int(index))
