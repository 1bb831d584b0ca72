"""The live source without a Slurm: odd documents, states and commands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from exporters.model import Snapshot
from exporters.sources.base import SourceError
from exporters.sources.slurm.live.live_job import LiveJob, nouns, phase_of
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.runs import PHASES, Phase
from tests.lab import fake_slurm
from tests.lab.fake_slurm import script

NOW = 1_800_000_000.0
NODE = "NodeName=gn01 Gres=gpu:h100:8 NodeAddr=n1 NodeHostName=n1.site State=MIXED ThreadsPerCore=1 Partitions=all"

JOB: dict[str, Any] = {
    "job_id": 18, "array_job_id": 6, "array_task_id": 0, "array_task_string": "", "het_job_id": 0, "het_job_offset": 0,
    "name": "train", "user_name": "alice", "user_id": 2001, "account": "vision", "partition": "all", "qos": "normal",
    "job_state": "RUNNING", "submit_time": 100, "start_time": 110, "resize_time": 0, "nodes": "gn[01-02]",
    "node_count": 2, "gres_detail": ["gpu:h100:2(IDX:0-1)", "gpu:h100:1(IDX:7)"], "tres_alloc_str": "cpu=2,gres/gpu=3",
    "tres_req_str": "cpu=2,gres/gpu=3", "admin_comment": "", "job_resources": None,
}  # fmt: skip
META = {"Slurm": {"version": {"major": 22, "minor": 5, "micro": 8}}}


def source(tmp_path: Path, document: object, node: str = NODE, **settings: Any) -> Slurmctld:
    """A Slurmctld whose squeue prints a document (text as it is) and whose scontrol prints nodes."""
    text = document if isinstance(document, str) else json.dumps(document)
    (tmp_path / "jobs").write_text(text)
    (tmp_path / "nodes").write_text(node + "\n")
    squeue = script(tmp_path / "squeue", f'case "$*" in *--json*) cat {tmp_path}/jobs;; *) echo no; exit 1;; esac')
    scontrol = script(tmp_path / "scontrol", f"cat {tmp_path}/nodes")
    return Slurmctld("hpc1", (scontrol,), (squeue,), **settings)


def queue(*jobs: dict[str, Any], meta: object = META) -> dict[str, object]:
    return {"meta": meta, "errors": [], "jobs": list(jobs), "something new": {"of": "26.11"}}


def poll(tmp_path: Path, **changes: Any) -> Snapshot:
    return source(tmp_path, queue({**JOB, **changes})).poll(NOW)


# -- jobs --------------------------------------------------------------------------------------------------------------


def test_a_running_job_holds_its_cards_node_by_node(tmp_path: Path) -> None:
    found = poll(tmp_path)
    [job] = found.jobs

    assert [("gn01", (0, 1)), ("gn02", (7,))] == [(c.node.name, c.indices) for c in found.claims]
    assert [2000, 1000] == [c.milligpu for c in found.claims]
    assert ("18@100", "18", "6_0", 110, None) == (job.key.id, job.native_id, job.display_id, job.start, job.end)


def test_fields_that_nobody_knows_yet_change_nothing(tmp_path: Path) -> None:
    newer: dict[str, Any] = {
        "energy_budget": {"set": True, "number": 5},
        "gpu_topology": [[0, 1], None],
        "step_id": {"x": 1},
    }
    plain, found = poll(tmp_path), poll(tmp_path, **newer)

    assert (plain.jobs, plain.claims, plain.rejects) == (found.jobs, found.claims, found.rejects)


def test_a_pending_array_waits_with_all_its_tasks(tmp_path: Path) -> None:
    waits = {"job_state": ["PENDING"], "array_task_id": None, "nodes": "", "gres_detail": []}
    [demand] = poll(tmp_path, array_task_string="0-199999%50", **waits).demands

    assert 200_000 * 3000 == demand.milligpu


@pytest.mark.parametrize("state", [["PENDING", "REVOKED"], ["REVOKED"], "REVOKED"])
def test_a_sibling_that_was_revoked_waits_for_nothing(tmp_path: Path, state: object) -> None:
    found = poll(tmp_path, job_state=state, nodes="", gres_detail=[])

    assert ((), (), ()) == (found.jobs, found.demands, found.claims)


def busy(count: int) -> str:
    names = [f"gn{n:02}" for n in range(1, count + 1)]
    return "\n".join(f"{NODE.replace('gn01', name)} AllocTRES=cpu=4,gres/gpu=2 CapWatts=n/a" for name in names)


def test_a_queue_that_names_no_job_while_nodes_give_to_some_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no job is named, while 1 nodes give resources to some \(gn01\)"):
        source(tmp_path, queue(), busy(1)).poll(NOW)


def test_a_queue_that_names_few_of_the_jobs_is_not_complete(tmp_path: Path) -> None:
    assert source(tmp_path, queue(JOB), busy(4)).poll(NOW).complete  # two have just begun

    found = source(tmp_path, queue(JOB), busy(30)).poll(NOW)
    assert not found.complete
    assert "28 of 30 busy nodes (gn03, gn04, gn05 ...) have no job in the queue" in found.problems[-1]


def test_details_are_in_the_order_of_the_allocation(tmp_path: Path) -> None:
    resources = {"nodes": "gn[01-02]", "allocated_nodes": [{"nodename": "gn02"}, {"nodename": "gn01"}]}
    found = poll(tmp_path, job_resources=resources)

    assert {("gn02", (0, 1)), ("gn01", (7,))} == {(c.node.name, c.indices) for c in found.claims}


def test_without_details_the_total_is_dealt_out_and_says_so(tmp_path: Path) -> None:
    found = poll(tmp_path, gres_detail=[])

    assert [("gn01", 2000, (), True), ("gn02", 1000, (), True)] == [
        (c.node.name, c.milligpu, c.indices, c.split_assumed) for c in found.claims
    ]


def test_a_completing_job_has_its_cards_still_where_its_epilog_runs(tmp_path: Path) -> None:
    changes = {"gres_detail": [], "nodes": "gn01", "end_time": 170}
    single = poll(tmp_path, job_state="COMPLETING", **changes)
    flagged = poll(tmp_path, job_state=["CANCELLED", "COMPLETING"], **changes)
    requeued = poll(tmp_path, job_state=["PENDING", "COMPLETING"], **{**changes, "start_time": int(NOW) + 9})

    for found in (single, flagged, requeued):
        assert [("gn01", 2000, None)] == [(c.node.name, c.milligpu, c.end) for c in found.claims]
        assert ["COMPLETING"] == [j.state for j in found.jobs]
    assert [int(NOW)] == [c.start for c in requeued.claims]


def test_a_resized_job_is_named_and_begins_at_its_resize(tmp_path: Path) -> None:
    found = poll(tmp_path, resize_time=150)

    assert ("18@150", {150}) == (found.jobs[0].key.id, {c.start for c in found.claims})


def test_a_resize_of_an_earlier_run_is_forgotten(tmp_path: Path) -> None:
    assert "18@100" == poll(tmp_path, resize_time=90).jobs[0].key.id


def test_sluids_name_runs_from_26_05_on(tmp_path: Path) -> None:
    job = {**JOB, "step_id": {"sluid": "s5F"}}
    releases = (("25", "11"), ("26", "05"))
    versions = [{"slurm": {"version": {"major": major, "minor": minor}}} for major, minor in releases]
    found = [source(tmp_path, queue(job, meta=meta)).poll(NOW).jobs[0].key.id for meta in versions]
    resized = source(tmp_path, queue({**job, "resize_time": 150}, meta=versions[1])).poll(NOW).jobs[0].key.id

    assert ["18@100", "s5F", "s5F@150"] == [*found, resized]


def test_a_waiting_array_demands_for_every_task(tmp_path: Path) -> None:
    waits = {"job_state": "PENDING", "array_task_id": None, "array_task_string": "2-9%2", "nodes": ""}
    found = poll(tmp_path, **waits, gres_detail=[], tres_alloc_str="")

    assert [24_000] == [d.milligpu for d in found.demands]
    assert [("6_[2-9%2]", None)] == [(j.display_id, j.start) for j in found.jobs]
    assert () == found.claims


def test_jobs_without_cards_hold_nothing_and_ended_ones_are_not_told(tmp_path: Path) -> None:
    cpu = {**JOB, "job_id": 19, "gres_detail": [], "tres_alloc_str": "cpu=2"}
    found = source(tmp_path, queue(cpu, {**JOB, "job_state": "COMPLETED"}, {**JOB, "job_state": ["TIMEOUT"]})).poll(NOW)

    assert (["19"], ()) == ([j.native_id for j in found.jobs], found.claims)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"job_state": "DREAMING"}, "unknown job state 'DREAMING'"),
        ({"nodes": "gn[01-"}, "not a host list"),
        ({"nodes": "gn01"}, "GRES details of 2 nodes but runs on 1"),
        ({"gres_detail": ["gpu:h100:2(IDX:0", ""]}, "not a GRES list"),
        ({"gres_detail": [], "tres_alloc_str": "gres/gpu=x"}, "not a count"),
        ({"gres_detail": [], "nodes": ""}, "names no node"),
        ({"start_time": 0}, "no start time"),
        ({"submit_time": None}, "no submit time"),
        ({"submit_time": "soon"}, "does not read"),
        ({"submit_time": {"set": True}}, "does not read: no 'number'"),
        ({"job_id": None}, "does not read"),
        ({"job_state": None}, "unknown job state"),
    ],
)
def test_a_job_that_cannot_be_is_rejected_and_the_rest_goes_on(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    good = {**JOB, "job_id": 20}
    found = source(tmp_path, queue({**JOB, **changes}, good)).poll(NOW)

    assert ["20"] == [j.native_id for j in found.jobs]
    assert 1 == len(found.rejects)
    assert why in found.rejects[0].reason
    assert (found.rejects[0].reason,) == found.problems


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    job = {k: v for k, v in JOB.items() if k != "user_name"}
    found = source(tmp_path, queue(job, "not even an object")).poll(NOW)

    assert ["a job that does not read: no 'user_name'"] == [r.reason for r in found.rejects[:1]]
    assert 2 == len(found.rejects)


@pytest.mark.parametrize("word", sorted(PHASES))
def test_every_state_of_accounting_means_something_live(word: str) -> None:
    assert phase_of((word,)) in Phase


def test_a_job_being_resized_holds_and_a_requeued_one_waits() -> None:
    assert (Phase.HOLDS, Phase.WAITS) == (phase_of(("RESIZING",)), phase_of(("PENDING", "REQUEUED")))


def test_times_are_never_guessed() -> None:
    job = LiveJob("1", "1", "n", "u", "a", "p", "q", ("RUNNING",), submit=5, start=7, nodes=("n1",), tres="gres/gpu=1")

    assert [7] == [c.start for c in nouns([job], "c", now=3).claims]


@pytest.mark.parametrize(
    ("asks", "milligpu"),
    [
        ("gres/shard=8", 2000),
        ("gres/shard=8,gres/shard:a100=8", 2000),
        ("gres/gpu=1,gres/shard=2", 1500),
        ("gres/mps=50", 0),  # no node tells what they weigh
    ],
)
def test_slots_that_are_waited_for_count_as_little_as_on_any_node(asks: str, milligpu: int) -> None:
    job = LiveJob("1", "1_[0-1]", "n", "u", "a", "p", "q", ("PENDING",), submit=5, start=0, tres=asks, tasks=2)
    slots = {"gn01": [("shard:a100", 4000, 16)], "gn02": [("shard:a100", 2000, 4)], "gn03": []}

    assert [2 * milligpu] * bool(milligpu) == [d.milligpu for d in nouns([job], "c", now=9, slots=slots).demands]


# -- documents and commands --------------------------------------------------------------------------------------------


def test_half_a_document_is_an_error_where_text_cannot_be_had_either(tmp_path: Path) -> None:
    half = json.dumps(queue(JOB))[:-40]

    with pytest.raises(SourceError, match=r"not one whole JSON document.*slurmctld answers"):
        source(tmp_path, half, form="json").poll(NOW)
    with pytest.raises(SourceError, match=r"exit code 1.*As json: .*not one whole JSON document"):
        source(tmp_path, half).poll(NOW)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"jobs": {}}, "no list of jobs"),
        ([], "no list of jobs"),
        ({"jobs": [], "errors": [{"error": "Unable to contact"}], "meta": META}, "reports errors.*Unable to contact"),
        ({"jobs": [{"job_id": 1}], "meta": META}, "no gres_detail"),
        ({"jobs": []}, "which Slurm release"),
        ("[" * 100_000, "not one whole JSON document"),
    ],
)
def test_a_document_of_another_form_is_an_error(tmp_path: Path, document: object, why: str) -> None:
    with pytest.raises(SourceError, match=why):
        source(tmp_path, document, form="json").poll(NOW)


def test_an_answer_that_is_too_large_is_tried_as_text(testdata: Path, tmp_path: Path) -> None:
    commands = fake_slurm.commands(testdata / "slurm" / "26.05", "height", tmp_path)
    told = Slurmctld("lab", commands["scontrol"], commands["squeue"], max_bytes=150_000).poll(NOW)

    assert len(told.claims) > 10
    with pytest.raises(SourceError, match=r"printed more than 150000 bytes.*pin the text form"):
        Slurmctld("lab", commands["scontrol"], commands["squeue"], max_bytes=150_000, form="json").poll(NOW)


def test_after_a_failure_the_form_is_found_out_anew(testdata: Path, tmp_path: Path) -> None:
    folder = testdata / "slurm" / "22.05"
    commands = fake_slurm.commands(folder, "height", tmp_path, json=False)
    live = Slurmctld("lab", commands["scontrol"], commands["squeue"])
    as_text = live.poll(NOW)
    (tmp_path / "squeue").rename(tmp_path / "gone")
    with pytest.raises(SourceError, match="cannot run"):
        live.poll(NOW)
    fake_slurm.commands(folder, "height", tmp_path)
    script(tmp_path / "scontrol", f'case "$*" in *job*) exit 1;; esac; zcat {folder}/height.scontrol-node.txt.gz')

    assert sorted(as_text.claims, key=repr) == sorted(live.poll(NOW).claims, key=repr)


def test_json_that_goes_bad_is_replaced_by_text_in_the_same_poll(testdata: Path, tmp_path: Path) -> None:
    folder = testdata / "slurm" / "26.05"
    commands = fake_slurm.commands(folder, "height", tmp_path)
    live = Slurmctld("lab", commands["scontrol"], commands["squeue"])
    as_json = live.poll(NOW)
    squeue = (tmp_path / "squeue").read_text()
    script(tmp_path / "squeue", f'case "$*" in *--json*) echo "{{"; exit;; esac\n{squeue}')

    assert sorted(as_json.claims, key=repr) == sorted(live.poll(NOW).claims, key=repr)


def test_text_of_another_form_is_an_error(tmp_path: Path) -> None:
    squeue = script(tmp_path / "squeue", 'case "$*" in *--version*) echo slurm 20.11.9;; *) echo 1 2 3;; esac')
    scontrol = script(tmp_path / "scontrol", "true")

    with pytest.raises(SourceError, match="did not print the fields it was asked for"):
        Slurmctld("c", (scontrol,), (squeue,), form="text").poll(NOW)


def test_a_hanging_slurmctld_is_an_error_within_the_timeout(tmp_path: Path) -> None:
    squeue = script(tmp_path / "squeue", "sleep 60")
    began = time.monotonic()

    with pytest.raises(SourceError, match=r"did not finish within 0\.3 s"):
        Slurmctld("c", ("true",), (squeue,), timeout=0.3).poll(NOW)

    assert time.monotonic() - began < 5


def test_no_nodes_is_an_error_not_an_empty_cluster(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="names no node"):
        source(tmp_path, queue(JOB), node="").poll(NOW)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, json or text"):
        Slurmctld("c", form="xml")
