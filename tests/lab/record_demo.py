"""Make the demo site anew: record a real Slurm for eight minutes, then build the files that the demo replays.

    python -m tests.lab.record_demo            # record and build (root, the lab's packages, an idle machine)
    python -m tests.lab.record_demo --build    # build again from the recording that is kept

The recording is tests/testdata/demo/recording.jsonl.xz; demo/data/PROVENANCE.md says what is recorded and what is made.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from demo.kube_replay import Event
from tests.lab import demo_cards, demo_plan, demo_slurm
from tests.lab.demo_capture import record
from tests.lab.demo_cards import Holder
from tests.lab.demo_nodes import node_events
from tests.lab.demo_objects import PodPlan, owner_pages, pod_events
from tests.lab.demo_slurm import Recording, RecordingError
from tests.lab.demo_story import FAILS_AT, RETURNS_AT
from tests.lab.demo_time import MONTH_END, MONTH_START

ROOT = Path(__file__).parents[2]
RECORDING = ROOT / "tests" / "testdata" / "demo" / "recording.jsonl.xz"
DATA = ROOT / "demo" / "data"
OVERLAP_FROM, OVERLAP_TO = 60, 78
"""Recorded seconds between which pods run on cards that Slurm has given to a job."""

MUST_SHOW = {
    "a requeue": lambda row: row["State"] == "REQUEUED",
    "a preemption": lambda row: row["State"] == "PREEMPTED",
    "a node failure": lambda row: row["State"] == "NODE_FAIL",
    "a job that was suspended": lambda row: row["Suspended"] != "0",
    "array tasks": lambda row: "_" in row["JobID"],
    "array tasks that never started": lambda row: "_[" in row["JobID"],
    "a heterogeneous job": lambda row: "+" in row["JobID"],
    "a job over several nodes": lambda row: row["NNodes"] not in ("0", "1"),
    "a job cancelled while pending": lambda row: "CANCELLED" in row["State"] and not row["AllocTRES"],
    "a failed job": lambda row: row["State"] == "FAILED",
    "a job without GPUs": lambda row: row["AllocTRES"] and "gres/gpu" not in row["AllocTRES"],
    "a job on MIG slices": lambda row: "1g.10gb" in row["AllocTRES"],
    "external jobs": lambda row: row["AdminComment"].startswith('{"pods":'),
    "a running job": lambda row: row["State"] == "RUNNING",
    "a pending job": lambda row: row["State"] == "PENDING",
}


def build(recording: Recording) -> dict[str, bytes]:
    """The files of the demo site, by name."""
    live = demo_slurm.live(recording)
    accounting = demo_slurm.accounting(recording)
    jobs = _check(accounting["jobs"])
    month = recording.time_map()
    begin = recording.begin
    lost = (month(begin + FAILS_AT) - 20, month(begin + RETURNS_AT) - 33)
    overlap = (month(begin + OVERLAP_FROM) + 1111, month(begin + OVERLAP_TO) - 777)
    plans = demo_plan.pods(jobs, lost, overlap)
    of_slurm = demo_cards.of_slurm(live)
    holders = sorted([*of_slurm, *demo_cards.of_pods(plans, of_slurm)])
    site = {
        "cluster": recording.cluster,
        "month": [MONTH_START, MONTH_END],
        "moments": [m for m in month.moments if m >= MONTH_START],
    }
    return {
        "site.json": json.dumps(site).encode() + b"\n",
        "slurm-live.txt.gz": _live_text(live, recording.once["squeue --version"]),
        "slurm-jobs.json.gz": _packed(accounting["jobs"]),
        "slurm-events.json.gz": _packed(accounting["events"]),
        "kubernetes.json.gz": _packed(_kubernetes(plans)),
        "holders.csv.gz": gzip.compress(_table(holders), mtime=0),
    }


def _check(table: Mapping[str, Any]) -> dict[str, list[demo_plan.Span]]:
    """The jobs known at the end, by name. RecordingError when the recording lacks a kind of job that it must hold."""
    rows = [
        {**table["same"], **dict(zip(table["fields"], values, strict=True))}
        for _, until, *values in table["rows"]
        if until is None
    ]
    for what, shows in MUST_SHOW.items():
        if not any(shows(row) for row in rows):
            raise RecordingError(f"the recording holds no {what}: record again")
    spans: dict[str, list[demo_plan.Span]] = defaultdict(list)
    for row in rows:
        if row["Start"].isdigit():
            end = int(row["End"]) if row["End"].isdigit() else demo_cards.FOREVER
            spans[row["JobName"]].append(demo_plan.Span(row["JobIDRaw"], int(row["Start"]), end))
    return spans


def _kubernetes(plans: Sequence[PodPlan]) -> dict[str, Any]:
    events = [e for node in demo_plan.nodes() for e in node_events(node)]
    events += [e for plan in plans for e in pod_events(plan)]
    ordered: list[Event] = sorted(events, key=lambda e: e.at)
    return {
        "events": [[e.at, e.collection, e.type, e.object] for e in ordered],
        "static": owner_pages(plans),
    }


def _live_text(live: dict[str, Any], version: str) -> bytes:
    """A line that says which versions make up every moment's answer, then one line per version of a job or a node."""
    jobs, nodes = live.pop("job_versions"), live.pop("node_versions")
    index = {**live, "version": version, "nodes": [[len(jobs) + n for n in numbers] for numbers in live["nodes"]]}
    lines = [json.dumps(index, separators=(",", ":")), *(json.dumps(job, separators=(",", ":")) for job in jobs)]
    return gzip.compress("\n".join([*lines, *nodes]).encode(), mtime=0)


def _table(holders: Sequence[Holder]) -> bytes:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(f.name for f in fields(Holder))
    out.writerows(astuple(h) for h in holders)
    return text.getvalue().encode()


def _packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value, separators=(",", ":")).encode(), mtime=0)


def main(words: Sequence[str]) -> None:
    """Record unless told to build only; then build."""
    if "--build" not in words:
        RECORDING.parent.mkdir(parents=True, exist_ok=True)
        record(RECORDING)
    DATA.mkdir(parents=True, exist_ok=True)
    for name, content in build(Recording.read(RECORDING)).items():
        (DATA / name).write_bytes(content)
        print(f"{name}: {len(content)} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
