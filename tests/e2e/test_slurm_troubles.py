"""A real Slurm in trouble: what its history tells late, wrongly or twice, and the books are the truth to the second."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest

from accounting.model import CAPACITY
from exporters.model import Disposition
from tests.e2e.slurm_truth import ALICE, Meter, ended, facts, hands, learn
from tests.hostile.truth import Truth, slurm_key
from tests.hostile.verdict import Books, amount, faults
from tests.lab.daemons import wait_for
from tests.lab.slurm import SlurmLab
from tests.lab.slurm_config import NodeGroup

pytestmark = [pytest.mark.server("slurm", "mariadb"), pytest.mark.timeout(900)]


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="troubles-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture
def lab(folder: Path) -> Iterator[SlurmLab]:
    with SlurmLab(folder / "slurm", nodes=2, gpus=4) as found:
        found.seed({"vision": ["alice"]})
        yield found


@contextmanager
def database(lab: SlurmLab) -> Iterator[Any]:
    """A cursor of slurmdbd's database."""
    d = lab.database
    connection = pymysql.connect(
        host="127.0.0.1", port=d.port, user=d.user, password=d.password, database=d.database, autocommit=True
    )
    with connection, connection.cursor() as cursor:
        yield cursor


def true_of(lab: SlurmLab) -> Truth:
    """A truth in which nobody has had anything yet."""
    return Truth(machines=dict(lab.capacity))


def agrees(truth: Truth, books: Books) -> None:
    """The books are the truth: every job has what it had, and what nobody had is idle."""
    assert [] == faults(truth, books)
    assert [] == [wrong for job in sorted(truth.known) for wrong in _differs(truth, books, job)]
    assert 0 == amount(books, Disposition.DISPUTED)


def _differs(truth: Truth, books: Books, job: Any) -> list[str]:
    charged = sum(said.get((Disposition.CHARGED.value, job), 0) for said in books.booked().values())
    had = truth.total(job, truth.now)
    return [] if charged == had else [f"{job} is charged {charged}, and had {float(had)}"]


def test_jobs_that_end_while_slurmdbd_is_stopped_are_charged_to_the_second(lab: SlurmLab, folder: Path) -> None:
    meter, truth = Meter(folder, [lab]), true_of(lab)
    ending = lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:2", **ALICE)
    staying = lab.submit("sleep 600", "-w", "gn02", "--gres=gpu:3", **ALICE)
    for job in (ending, staying):
        lab.wait_state(job, "RUNNING")
    given = {job: hands(lab, job) for job in (ending, staying)}
    meter.round()
    meter.books(truth)
    lab.stop_accounting()
    lab.run("scancel", ending)
    ended(lab, ending)
    born = lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:4", **ALICE)
    lab.wait_state(born, "RUNNING")
    given[born] = hands(lab, born)
    meter.round()
    time.sleep(1.1)
    lab.run("scancel", born)
    ended(lab, born)
    meter.round()
    said = meter.command("ingest", code=3)
    lab.start_accounting()
    lab.run("scancel", staying)
    lab.finish(ending, staying, born, timeout=120)
    learn(truth, lab, given)
    meter.round()

    assert "slurmdbd" in said
    agrees(truth, meter.books(truth))
    meter.close()


@pytest.fixture
def forgetful(folder: Path) -> Iterator[SlurmLab]:
    """A Slurm that forgets a job soon after its end: one that it remembers is no runaway to ``sacctmgr``."""
    with SlurmLab(folder / "slurm", nodes=2, gpus=4, extra=["MinJobAge=2"]) as found:
        found.seed({"vision": ["alice"]})
        yield found


def test_a_row_made_running_by_hand_is_a_runaway_and_its_correction_is_followed(
    forgetful: SlurmLab, folder: Path
) -> None:
    lab = forgetful
    meter, truth = Meter(folder, [lab]), true_of(lab)
    job = lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:2", **ALICE)
    lab.wait_state(job, "RUNNING")
    given = {job: hands(lab, job)}
    meter.round()
    time.sleep(1.1)
    lab.run("scancel", job)
    lab.finish(job)
    learn(truth, lab, given)
    wait_for(lambda: not lab.run("squeue", "-h", "-t", "all").strip(), 180, "a controller that has forgotten the job")
    wait_for(lambda: time.time() > truth.held[0].start + 61, 90, "the minute that a run may take to show")
    meter.round()
    with database(lab) as cursor:
        assert 1 == cursor.execute(f"update {lab.cluster}_job_table set state=1, time_end=0 where id_job={int(job)}")
    told = meter.command("ingest")
    held = meter.books(truth)

    assert f"job {job} " in told
    assert "runawayjobs" in told
    assert [] == faults(truth, held)
    assert job in lab.run("sacctmgr", "-n", "-P", "show", "runawayjobs", stdin="n\n")

    lab.run("sacctmgr", "-i", "show", "runawayjobs", stdin="y\n")
    mended = lab.run("sacct", "-n", "-X", "-P", "-j", job, "-o", "Start,End", environment={"SLURM_TIME_FORMAT": "%s"})
    start, end = map(int, mended.strip().split("|"))
    [run] = truth.held
    run.start, run.end = start, end
    said = meter.command("ingest")
    books = meter.books(truth)

    assert "runawayjobs" not in said
    assert [] == _differs(truth, books, run.job)
    meter.close()


def test_a_federation_of_two_clusters_has_each_job_once(lab: SlurmLab, folder: Path) -> None:
    west = SlurmLab(folder / "west", nodes=1, gpus=2, cluster="west", beside=lab,
                    extra=["FederationParameters=fed_display"])  # fmt: skip
    with west:
        west.seed({"vision": ["alice"]})
        lab.run("sacctmgr", "-i", "add", "federation", "both", f"clusters={lab.cluster},west")
        wait_for(lambda: "both" in west.run("scontrol", "show", "federation"), 60, "federation")
        meter = Meter(folder, [lab, west])
        truth = Truth(machines={**lab.capacity, "west/gn01": 2})
        here = lab.submit("sleep 600", "-M", lab.cluster, "--gres=gpu:2", **ALICE)
        there = west.submit("sleep 600", "-M", "west", "--gres=gpu:1", **ALICE)
        for where, job in ((lab, here), (west, there)):
            wait_for(lambda: facts(where, job)["JobState"] == "RUNNING", 60, f"{job} runs")  # noqa: B023
        shown = west.run("squeue", "-h", "-o", "%i")
        meter.round()
        given_here, given_there = hands(lab, here), hands(west, there)
        time.sleep(1.1)
        meter.round()
        lab.run("scancel", "-M", lab.cluster, here)
        west.run("scancel", "-M", "west", there)
        for where, job in ((lab, here), (west, there)):
            ended(where, job)
            where.finish(job)
        learn(truth, lab, {here: given_here})
        learn(truth, west, {there: {f"west/{node}": cards for node, cards in given_there.items()}})
        meter.round()
        books = meter.books(truth)

        assert here in shown
        assert {*lab.capacity, "west/gn01"} >= {machine for machine, _ in books.booked()}
        agrees(truth, books)
        meter.close()


def test_uneven_jobs_that_no_poll_sees_are_charged_their_sum_and_dispute_nothing(lab: SlurmLab, folder: Path) -> None:
    meter, truth = Meter(folder, [lab]), true_of(lab)
    meter.round()
    whole = lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:3", **ALICE)
    lab.wait_state(whole, "RUNNING")
    uneven = lab.submit("sleep 2", "-N2", "-n2", "--ntasks-per-node=1", "--gpus=4", **ALICE)
    lab.wait_state(uneven, "RUNNING")
    given = {job: hands(lab, job) for job in (whole, uneven)}
    ended(lab, uneven)
    lab.run("scancel", whole)
    lab.finish(whole, uneven)
    learn(truth, lab, given)
    truth.shown = {slurm_key(lab.cluster, int(whole), int(facts(lab, whole)["SubmitTime"]))}
    meter.round()
    books = meter.books(truth)

    assert {1, 3} == {len(cards) for cards in given[uneven].values()}
    agrees(truth, books)
    meter.close()


def _powered_down(lab: SlurmLab, node: str) -> bool:
    """22.05 shows nobody a cloud node that is powered down (without PrivateData=cloud), 24.11 all with its state."""
    found = [
        line for line in lab.run("scontrol", "-a", "-o", "show", "node").splitlines() if f"NodeName={node} " in line
    ]
    return all("POWERED_DOWN" in line for line in found)


def test_cloud_nodes_have_cards_while_they_are_there(folder: Path) -> None:
    asked = folder / "asked"
    programs = {}
    for name in ("Suspend", "Resume"):
        script = folder / name.lower()
        script.write_text(f"#!/bin/sh\necho {name} $1 >> {asked}\n")
        script.chmod(0o755)
        programs[f"{name}Program"] = script
    extra = [f"{name}={path}" for name, path in programs.items()]
    extra += ["SuspendTime=3600", "ResumeTimeout=60", "SuspendTimeout=1", "TreeWidth=65533"]
    groups = (NodeGroup(1, {"h100": 4}), NodeGroup(1, {"h100": 2}, prefix="cl", state="CLOUD"))
    with SlurmLab(folder / "slurm", groups=groups, extra=extra) as lab:
        lab.seed({"vision": ["alice"]})
        meter, truth = Meter(folder, [lab]), true_of(lab)
        meter.round()
        before = int(time.time())
        job = lab.submit("sleep 600", "-w", "cl01", "--gres=gpu:2", **ALICE)
        wait_for(lambda: asked.exists() and "Resume" in asked.read_text(), 60, "a node that is wanted")
        lab.start_node("cl01", wait=False, booted=True)
        lab.wait_state(job, "RUNNING", timeout=90)
        wait_for(lambda: hands(lab, job), 60, "the job's cards")
        given = {job: hands(lab, job)}
        meter.round()
        time.sleep(1.1)
        lab.run("scancel", job)
        lab.finish(job)
        lab.run("scontrol", "update", "nodename=cl01", "state=power_down")
        wait_for(lambda: "Suspend" in asked.read_text(), 60, "a node that is not wanted any more")
        lab.stop_node("cl01")
        wait_for(lambda: _powered_down(lab, "cl01"), 90, "a node that is gone")
        gone = int(time.time())
        meter.round()
        time.sleep(2.1)
        meter.round()
        learn(truth, lab, given)
        truth.absent["cl01"] = [(0, before)]
        books = meter.books(truth)

        assert [] == faults(truth, books)
        assert [] == [wrong for key in truth.known for wrong in _differs(truth, books, key)]
        assert 0 == amount(books, Disposition.DISPUTED)
        has = [-q for (machine, _), said in books.booked().items() if machine == "cl01"
               for (account, _), q in said.items() if account == CAPACITY]  # fmt: skip
        assert sum(has) <= 2000 * (gone + 2 - before)
        meter.close()
