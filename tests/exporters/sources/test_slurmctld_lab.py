"""The live source on a real Slurm, looked at while one job of every kind was running (tests.lab.jobs)."""

from __future__ import annotations

import time

import pytest

from exporters.model import Claim, Job, Record, Snapshot
from exporters.sources.base import SourceError
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.lab.jobs import HOSTILE, Story

pytestmark = pytest.mark.server("slurm")


@pytest.fixture(params=["json", "text"])
def height(request: pytest.FixtureRequest, story: Story) -> Snapshot:
    """What slurmctld said while everything ran."""
    return story.snapshots[request.param]


def ours(story: Story, snapshot: Snapshot) -> dict[str, tuple[Job, list[Claim]]]:
    kinds = {job: kind for kind, job in story.ids.items()}
    found = {}
    for job in snapshot.jobs:
        kind = kinds.get(job.display_id.split("_")[0].split("+")[0])
        if kind and "[" not in job.display_id:
            found[f"{kind}{job.display_id.partition('+')[2]}"] = (job, [c for c in snapshot.claims if c.job == job.key])
    return found


def test_who_holds_how_many_cards_where(story: Story, height: Snapshot) -> None:
    held = {
        kind: sorted((c.node.name, c.milligpu, c.model, c.profile, len(c.indices)) for c in claims)
        for kind, (_, claims) in ours(story, height).items()
    }

    assert {
        "plain": [("gn01", 2000, "h100", "", 2)],
        "exclusive": [("gn02", 8000, "h100", "", 8)],
        "multi": [("gn03", 3000, "h100", "", 3), ("gn04", 3000, "h100", "", 3)],
        "het0": [("gn01", 1000, "h100", "", 1)],
        "het1": [("gn03", 2000, "h100", "", 2)],
        "unstarted": [("gn01", 1000, "h100", "", 1)],
        "twotypes": [("mx01", 285, "", "1g.10gb", 0), ("mx01", 1000, "a100", "", 1)],
        "hostile": [("gn01", 1000, "h100", "", 1)],
        "requeue": [("gn03", 2000, "h100", "", 2)],
        "suspend": [("gn04", 2000, "h100", "", 2)],
        "resize": [("gn03", 1000, "h100", "", 1)],
        "victim": [("mx01", 3000, "a100", "", 3)],
        "running": [("mx01", 142, "", "1g.10gb", 0)],
        "bridged": [("gn04", 2000, "h100", "", 2)],
        "waits": [],
    } == held
    assert not any(c.split_assumed for c in height.claims)


def test_each_card_is_where_slurm_itself_says_it_is_used(story: Story, height: Snapshot) -> None:
    cards = sorted((c.node.name, i) for _, claims in ours(story, height).values() for c in claims for i in c.indices)

    assert len(cards) == len(set(cards))
    assert [("gn02", i) for i in range(8)] == [card for card in cards if card[0] == "gn02"]
    assert [("mx01", i) for i in range(4)] == [card for card in cards if card[0] == "mx01"]


def test_states_and_demands(story: Story, height: Snapshot) -> None:
    jobs = {kind: job for kind, (job, _) in ours(story, height).items()}
    demands = {d.job: d.milligpu for d in height.demands}
    array = next(job for job in height.jobs if job.display_id.startswith(f"{story.ids['unstarted']}_["))

    assert ("SUSPENDED", "RUNNING", "PENDING") == tuple(jobs[k].state for k in ("suspend", "running", "waits"))
    assert (4000, 4000) == (demands[jobs["waits"].key], demands[array.key])
    assert jobs["waits"].start is None
    assert HOSTILE == jobs["hostile"].name


def test_both_forms_yield_the_same_nouns(story: Story) -> None:
    as_json, as_text = story.snapshots["json"], story.snapshots["text"]

    assert ((), ()) == (as_json.rejects, as_text.rejects)
    assert sorted(as_json.claims, key=repr) == sorted(as_text.claims, key=repr)
    assert sorted(as_json.jobs, key=repr) == sorted(as_text.jobs, key=repr)
    assert sorted(as_json.demands, key=repr) == sorted(as_text.demands, key=repr)
    assert as_json.nodes == as_text.nodes


def test_the_same_run_has_the_same_key_and_start_in_history(story: Story, height: Snapshot) -> None:
    source = Sacct(story.lab.cluster, environment=story.lab.environment)
    history = {r.job.key: r for r in source.records(story.start, story.end) if isinstance(r, Record)}
    live = [(job, claims) for job, claims in ours(story, height).values() if claims]

    assert {job.key for job, _ in live} <= set(history)
    for job, claims in live:
        record = history[job.key]
        assert (record.job.start, record.job.submit) == (job.start, job.submit)
        told = claims if record.job.end != record.job.start else ()  # a run that ended in its first second held nothing
        assert {(c.unit, c.node, c.milligpu, c.model, c.profile, c.start, c.keys) for c in told} == {
            (c.unit, c.node, c.milligpu, c.model, c.profile, c.start, c.keys if job.name != "running" else ())
            for c in record.claims
        }


def test_the_second_run_after_a_requeue_has_the_key_of_the_second_row(story: Story) -> None:
    source = Sacct(story.lab.cluster, environment=story.lab.environment)
    rows = [r.job for r in source.records(story.start, story.end) if isinstance(r, Record)]
    first, second = sorted((j for j in rows if j.native_id == story.ids["requeue"]), key=lambda j: j.submit or 0)
    assert story.failed is not None
    waiting = next(job for job in story.failed.jobs if job.native_id == story.ids["requeue"])
    running = next(job for job in story.snapshots["json"].jobs if job.native_id == story.ids["requeue"])

    assert (first.key, second.key) == (running.key, waiting.key)


def test_a_name_that_imitates_another_job_moves_no_cards(story: Story) -> None:
    as_json, as_text = story.forged["json"], story.forged["text"]
    [(_, [true])] = [v for k, v in ours(story, as_json).items() if k == "plain"]
    [(_, [seen])] = [v for k, v in ours(story, as_text).items() if k == "plain"]

    assert (0, 1) == true.indices
    assert (2000, ()) == (seen.milligpu, seen.indices)
    assert ["several different stories" in r.reason for r in as_text.rejects] == [True]


def test_a_dead_node_is_down_with_its_reason(story: Story) -> None:
    assert story.failed is not None
    down = {n.key.name: n for n in story.failed.nodes if not n.up}

    assert {"gn02"} == set(down)
    assert "DOWN" in down["gn02"].reason
    assert "lab: bad | fan" in down["gn02"].reason


def test_a_drained_node_is_not_up_and_names_its_machine_and_pod(story: Story) -> None:
    comment = '{"namespace":"slurm","podName":"worker-0","node":"k8s-7","nodeSetName":"w","nodeSetUID":"u"}'
    lab = story.lab
    lab.run("scontrol", "update", "nodename=cn01", "state=drain", "reason=ticket 5, State=IDLE", f"comment={comment}")
    try:
        node = next(n for n in story.live("json").nodes if n.key.name == "cn01")
    finally:
        lab.run("scontrol", "update", "nodename=cn01", "state=resume", "comment=")

    assert (False, 0, (lab.layout.host, "k8s-7")) == (node.up, node.milligpu, node.hostnames)
    assert node.reason.startswith("IDLE+DRAIN: ticket 5, State=IDLE [root@")


def test_a_controller_that_does_not_answer_is_an_error_in_time(story: Story) -> None:
    """The client commands wait for a stopped slurmctld for longer than a poll may take."""
    lab = story.lab
    source = Slurmctld(lab.cluster, environment=lab.environment, timeout=1.0)
    lab.stop_controller()
    began = time.monotonic()
    try:
        with pytest.raises(SourceError, match=r"squeue.*slurmctld answers"):
            source.poll(time.time())
    finally:
        took = time.monotonic() - began
        lab.start_controller()

    assert took < 5
    assert source.poll(time.time() + 15).nodes  # it was left alone for an interval
