"""Absurd values, one at a time: the record that has it is rejected, every other is read, and nothing larger than a
database holds comes out.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.model import Node, NodeEvent, Record, Reject
from exporters.sources.slurm import gres, runs
from exporters.sources.slurm.history import rows
from exporters.sources.slurm.history.events import read_events
from exporters.sources.slurm.hostlist import MAX_TASKS, expand, task_count, task_list
from exporters.sources.slurm.live import live_job, queue_json
from exporters.sources.slurm.live.node_text import read_nodes
from exporters.sources.slurm.rest import rest_json
from tests.exporters.sources.test_sacct import ROW
from tests.exporters.sources.test_slurmctld import JOB, NODE, queue

LARGEST = 1 << 63
NINES = "9" * 30
BRACKETS = "[" * 100_000
VALUES = (
    NINES, "9" * 5000, "-1", "1e999", "١٢", "²", "", "\0", BRACKETS, '{"pods": ' + BRACKETS, "gres/gpu=" + NINES,
    "gres/gpu=100000000000000000", f"gn[1-{NINES}]", "gn[0-99999],m[0-99999]", "[1-99999999]",
    "gpu:8(IDX:0-9999999999)", "gn[" + ",".join(["0-99999"] * 50) + "]", "0-9999999999%5",
)  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [f"gn[1-{NINES}]", f"gn[{NINES * 200}]", "gn[" + ",".join(["0-99999"] * 5000) + "]", "a[1-99999],b[1-99999]"],
)
def test_a_host_list_of_more_than_there_can_be_is_refused_before_it_takes_memory(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|names more"):
        expand(text)


def test_an_array_may_have_four_million_tasks_and_no_more() -> None:
    assert 200_000 == task_count("0-199999%50")
    assert MAX_TASKS == task_count(f"0-{MAX_TASKS - 1}")
    assert f"0-{MAX_TASKS - 1}" == task_list(hex((1 << MAX_TASKS) - 1))
    for text in (f"0-{MAX_TASKS}", "0-3999999,5000000-8999999", f"0-{NINES}"):
        with pytest.raises(ValueError, match=r"range|array"):
            task_count(text)


@pytest.mark.parametrize("text", ["gpu:8(IDX:0-9999999999)", "gpu:9999999", f"gpu:{NINES}", "gpu:9999G"])
def test_a_node_has_not_more_cards_than_there_are(text: str) -> None:
    with pytest.raises(ValueError, match="card"):
        gres.parse_gres(text)


@pytest.mark.parametrize("count", ["100000000000000000", NINES, "9" * 5000, "²"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(ValueError, match="not a count"):
        gres.cards_of(f"gres/gpu={count}")


def test_a_job_on_two_nodes_has_not_a_million_cards() -> None:
    with pytest.raises(ValueError, match="cards on each node"):
        runs.deal(gres.cards_of("gres/gpu=1000000"), 2)


def test_a_comment_of_nothing_but_brackets_names_no_pod() -> None:
    assert () == runs.bridge_keys('{"pods": ' + BRACKETS)


@given(st.sampled_from(rows.FIELDS), st.sampled_from(VALUES))
def test_a_row_of_accounting_is_read_or_rejected_whatever_is_in_one_field(field: str, value: str) -> None:
    row = {**ROW, field: value}
    found = rows.read(rows.form(rows.FIELDS)([row[name] for name in rows.FIELDS]), "hpc1")

    assert isinstance(found, Reject) or _fits(found)


def _fits(found: Record) -> bool:
    times = (found.job.submit, found.job.start, found.job.end)
    held = [n for c in found.claims for n in (c.milligpu, c.start, c.end)]
    return all(n is None or 0 <= n < LARGEST for n in (*times, *held))


NUMBERS = (1e999, -1e999, float("nan"), 10**40, -1, None, [], {}, "x", {"set": True, "number": 1e999}, *VALUES)


@given(st.sampled_from(sorted(JOB)), st.sampled_from(NUMBERS))
def test_a_job_of_squeue_is_read_or_rejected_and_the_others_stand(field: str, value: Any) -> None:
    document = json.dumps(queue({**JOB, field: value}, {**JOB, "job_id": 19}))
    told = live_job.nouns(queue_json.read_queue(document), "hpc1", 1_800_000_000)

    assert "19" in {job.native_id for job in told.jobs}
    assert all(0 <= n < LARGEST for c in told.claims for n in (c.milligpu, c.start))
    assert all(d.milligpu < LARGEST for d in told.demands)


REST: dict[str, Any] = {
    "job_id": 18, "state": {"current": "COMPLETED"}, "allocation_nodes": 1, "nodes": "gn01", "user": "alice",
    "time": {"submission": 100, "eligible": 100, "start": 110, "end": 170}, "account": "vision", "partition": "all",
    "qos": "normal", "name": "train", "comment": {"administrator": ""}, "cluster": "lab", "association": {},
    "tres": {"allocated": [{"type": "gres", "name": "gpu", "count": 2}]},
    "array": {"job_id": 0, "task": "", "task_id": None}, "het": {"job_id": 0, "job_offset": None},
}  # fmt: skip


@given(st.sampled_from(["job_id", "allocation_nodes", "nodes", "time", "tres"]), st.sampled_from(NUMBERS))
def test_a_row_of_slurmrestd_is_read_or_rejected_and_the_others_stand(field: str, value: Any) -> None:
    odd = {**REST, field: value}
    if field == "time":
        odd["time"] = {**REST["time"], "start": value}
    if field == "tres":
        odd["tres"] = {"allocated": [{"type": "gres", "name": "gpu", "count": value}]}
    body = json.dumps({"jobs": [odd, REST], "errors": [], "meta": {"Slurm": {"version": {"major": 22, "minor": 5}}}})
    told = [r if isinstance(r, Reject) else rows.read(r, "hpc1") for r in rest_json.read_rows(body.encode())]

    assert 2 == len(told)
    assert isinstance(told[1], Record)
    assert isinstance(told[0], Reject) or _fits(told[0])


@pytest.mark.parametrize("value", VALUES)
def test_a_node_or_an_event_with_an_absurd_value_is_rejected_alone(value: str) -> None:
    word = value.replace(" ", "_") or "x"
    told = list(read_nodes(NODE.replace("gpu:h100:8", word) + "\n" + NODE.replace("gn01", "gn02"), "hpc1"))
    assert "gn02" in {n.key.name for n in told if isinstance(n, Node)}

    lines = f"gn01|{word}|200|DOWN|gres/gpu=8|x\ngn01|100|200|DOWN|{word}|x\ngn02|100|200|DOWN|gres/gpu=8|x\n"
    found = list(read_events(lines.replace("\0", ""), "hpc1"))
    assert "gn02" in {e.key.name for e in found if isinstance(e, NodeEvent)}
    assert all(e.start < LARGEST and (e.milligpu or 0) < LARGEST for e in found if isinstance(e, NodeEvent))
