"""Both Slurm sources on what three releases really printed while the same story was played (tests/testdata/slurm)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from exporters.model import Claim, LinkKind, Record, Reject
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.lab import fake_slurm
from tests.lab.fake_slurm import script
from tests.lab.jobs import HOSTILE

RELEASES = ("22.05", "24.11", "26.05")
NOW = 1_800_000_000.0


@pytest.fixture(params=RELEASES)
def folder(request: pytest.FixtureRequest, testdata: Path) -> Path:
    return testdata / "slurm" / request.param


def live(folder: Path, tmp_path: Path, moment: str, form: str) -> Slurmctld:
    commands = fake_slurm.commands(folder, moment, tmp_path)
    return Slurmctld("lab", scontrol=commands["scontrol"], squeue=commands["squeue"], form=form)


def history(folder: Path, tmp_path: Path, identity: str = "auto") -> list[Record]:
    commands = fake_slurm.commands(folder, "end", tmp_path)
    items = list(Sacct("lab", commands["sacct"], identity=identity).records(0, 86_400))
    assert [] == [item for item in items if isinstance(item, Reject)]
    return [item for item in items if isinstance(item, Record)]


def by_name(records: list[Record]) -> dict[str, list[Record]]:
    found = defaultdict(list)
    for record in records:
        found[record.job.name].append(record)
    return found


def held(claims: tuple[Claim, ...]) -> dict[str, int]:
    return {claim.node.name: claim.milligpu for claim in claims}


def test_json_and_text_yield_the_same_nouns(folder: Path, tmp_path: Path) -> None:
    as_json = live(folder, tmp_path, "height", "json").poll(NOW)
    as_text = live(folder, tmp_path, "height", "text").poll(NOW)

    assert ((), ()) == (as_json.rejects, as_text.rejects)
    assert sorted(as_json.jobs, key=repr) == sorted(as_text.jobs, key=repr)
    assert sorted(as_json.claims, key=repr) == sorted(as_text.claims, key=repr)
    assert sorted(as_json.demands, key=repr) == sorted(as_text.demands, key=repr)
    assert as_json.nodes == as_text.nodes
    running = [{j.key: j.limit for j in told.jobs if j.start is not None} for told in (as_json, as_text)]
    assert running[0] == running[1]
    assert any(running[0].values())


def test_a_site_may_name_runs_by_job_and_submit_time_in_every_release(folder: Path, tmp_path: Path) -> None:
    commands = fake_slurm.commands(folder, "height", tmp_path)
    squeue = script(tmp_path / "older", f'{" ".join(commands["squeue"])} "$@" | sed \'s/"step_id"/"gone"/\'')
    pinned = Slurmctld("lab", commands["scontrol"], (squeue,), form="json", identity="submit").poll(NOW)
    told = {r.job.key for r in history(folder, tmp_path, "submit")}

    assert len(pinned.claims) > 5
    assert {c.job for c in pinned.claims} <= told


def test_live_runs_are_named_as_history_names_them(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)
    told = {record.job.key: record for record in history(folder, tmp_path)}

    assert set() == {claim.job for claim in snapshot.claims} - set(told)
    for claim in snapshot.claims:
        ours = [c for c in told[claim.job].claims if (c.unit, c.node) == (claim.unit, claim.node)]
        assert [(claim.milligpu, claim.start, claim.model, claim.profile)] == [
            (c.milligpu, c.start, c.model, c.profile) for c in ours
        ]


def test_every_card_of_a_node_is_held_once(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)
    cards = [(c.node.name, i) for c in snapshot.claims for i in c.indices]

    assert len(cards) == len(set(cards))
    assert {"gn02"} == {c.node.name for c in snapshot.claims if len(c.indices) == 8}


def test_a_run_is_a_sluid_where_both_sides_know_which(folder: Path, tmp_path: Path) -> None:
    plain = by_name(history(folder, tmp_path))["plain"][0]
    name = plain.job.key.id

    if folder.name == "26.05":
        assert re.fullmatch(r"s[0-9A-Z]{13}", name)
        assert f"\x1f{name}\x1f" in plain.raw
    else:  # in 24.11 accounting has SLUIDs, but the queue does not show them yet
        assert f"1@{plain.job.submit}" == name


def test_identity_can_be_pinned_over_an_upgrade(testdata: Path, tmp_path: Path) -> None:
    plain = by_name(history(testdata / "slurm" / "26.05", tmp_path, "submit"))["plain"][0].job

    assert f"1@{plain.submit}" == plain.key.id


def test_resized_rows_do_not_overlap_and_have_keys_of_their_own(folder: Path, tmp_path: Path) -> None:
    first, second = sorted(by_name(history(folder, tmp_path))["resize"], key=lambda r: r.job.start or 0)

    assert ("RESIZING", {"gn03": 1000, "gn04": 1000}) == (first.job.state, held(first.claims))
    assert ("CANCELLED", {"gn03": 1000}) == (second.job.state, held(second.claims))
    assert first.job.end == second.job.start
    assert first.job.key != second.job.key


def test_a_requeued_run_and_its_second_are_two_runs(folder: Path, tmp_path: Path) -> None:
    first, second = by_name(history(folder, tmp_path))["requeue"]

    assert ("REQUEUED", "COMPLETED") == (first.job.state, second.job.state)
    assert first.job.native_id == second.job.native_id
    assert first.job.key != second.job.key


def test_a_run_that_never_started_holds_nothing_whatever_its_times_say(folder: Path, tmp_path: Path) -> None:
    runs = by_name(history(folder, tmp_path))
    waits = runs["waits"][0]
    second_runs = [runs["victim"][1], runs["exclusive"][1]]

    assert ["never started"] * 3 == [r.excluded for r in (waits, *second_runs)]
    assert [None] * 3 == [r.job.start for r in (waits, *second_runs)]
    assert [()] * 3 == [r.claims for r in (waits, *second_runs)]


def test_a_suspended_job_holds_its_cards_all_the_while(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)
    suspended = [job for job in snapshot.jobs if job.name == "suspend"]
    [record] = by_name(history(folder, tmp_path))["suspend"]

    assert ["SUSPENDED"] == [job.state for job in suspended]
    assert [2] == [len(c.indices) for c in snapshot.claims if c.job == suspended[0].key]
    assert (record.job.end or 0) - (record.job.start or 0) == record.claims[0].end - record.claims[0].start


def test_card_seconds_equal_sreport_but_for_slices(folder: Path, tmp_path: Path) -> None:
    rows = [line.split("|") for line in fake_slurm.recorded(folder, "end.sreport.txt").splitlines()]
    told = {(row[1], row[2]): int(row[5]) for row in rows if len(row) > 5 and row[2]}
    ours: dict[tuple[str, str], int] = defaultdict(int)
    for record in history(folder, tmp_path):
        for claim in record.claims:
            if claim.end is not None:
                ours[record.job.account, record.job.user] += (claim.end - claim.start) * claim.milligpu

    for who in (("story-vision", "alice"), ("story-vision", "bob"), ("story-nlp", "carol")):
        assert told[who] * 1000 == ours[who]


def test_a_bridged_job_carries_its_pods_live_and_in_history(folder: Path, tmp_path: Path) -> None:
    [record] = by_name(history(folder, tmp_path))["bridged"]
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)
    [claim] = [c for c in snapshot.claims if c.job == record.job.key]

    assert claim.keys == record.claims[0].keys
    assert (LinkKind.SAME, "", "vision/clip-embed-5x2vq") == (
        claim.keys[0].kind,
        claim.keys[0].cluster,
        claim.keys[0].value,
    )


def test_hostile_names_come_through_whole(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)

    assert HOSTILE in {job.name for job in snapshot.jobs}
    assert HOSTILE in {record.job.name for record in history(folder, tmp_path)}


def test_a_name_that_imitates_scontrol_moves_no_cards(folder: Path, tmp_path: Path) -> None:
    as_json = live(folder, tmp_path, "forged", "json").poll(NOW)
    as_text = live(folder, tmp_path, "forged", "text").poll(NOW)
    victim = next(job.key for job in as_json.jobs if job.name == "plain")
    cards = {c.job: c.indices for c in as_json.claims}

    assert (0, 1) == cards[victim]
    assert [()] == [c.indices for c in as_text.claims if c.job == victim]
    assert {(c.job, c.milligpu) for c in as_json.claims} == {(c.job, c.milligpu) for c in as_text.claims}
    assert 1 == len(as_text.rejects)
    assert "several different stories" in as_text.rejects[0].reason


def test_waiting_jobs_demand_what_they_asked_for(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)
    names = {job.key: job.name for job in snapshot.jobs}

    assert {("waits", 4000), ("unstarted", 4000)} == {(names[d.job], d.milligpu) for d in snapshot.demands}


def test_a_dead_node_is_down_with_its_reason_live_and_in_history(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "failed", "json").poll(NOW)
    down = [(n.key.name, n.milligpu) for n in snapshot.nodes if not n.up]
    commands = fake_slurm.commands(folder, "end", tmp_path)
    events = Sacct("lab", commands["sacct"], sacctmgr=commands["sacctmgr"]).events(0, 1)
    told = [e for e in events if not isinstance(e, Reject) and "fan" in e.reason]

    assert [("gn02", 8000)] == down
    assert "lab: bad | fan" in next(n.reason for n in snapshot.nodes if not n.up)
    assert [("gn02", 8000, False, "DOWN: lab: bad | fan")] == [(e.key.name, e.milligpu, e.up, e.reason) for e in told]


def test_nodes_tell_their_cards_by_model(folder: Path, tmp_path: Path) -> None:
    snapshot = live(folder, tmp_path, "height", "json").poll(NOW)

    assert [
        ("cn01", "", 0),
        *((f"gn0{n}", "h100", 8000) for n in (1, 2, 3, 4)),
        ("mx01", "a100", 4000),
        ("mx01", "", 1000),  # seven slices are one card
    ] == [(n.key.name, n.model, n.milligpu) for n in snapshot.nodes]
    assert {("node1",)} == {n.hostnames for n in snapshot.nodes}


def test_without_json_the_text_is_read_and_remembered(testdata: Path, tmp_path: Path) -> None:
    commands = fake_slurm.commands(testdata / "slurm" / "22.05", "height", tmp_path, json=False)
    source = Slurmctld("lab", scontrol=commands["scontrol"], squeue=commands["squeue"])
    first = source.poll(NOW)
    fake_slurm.script(tmp_path / "calls", "")  # from now on a call with --json would leave a trace
    told = (tmp_path / "squeue").read_text()
    fake_slurm.script(tmp_path / "squeue", f'case "$*" in *--json*) : > {tmp_path}/asked;; esac\n{told}')
    second = source.poll(NOW)

    assert first == second
    assert len(first.claims) > 10
    assert not (tmp_path / "asked").exists()
