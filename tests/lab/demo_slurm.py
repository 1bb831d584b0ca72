"""The recording of a real Slurm -> the Slurm files of the demo site: every time moved by the mapping, nothing else.

``live``: for every recorded second the jobs of ``squeue -a --json`` and the lines of ``scontrol -a -d -o show node``,
each version once. ``accounting``: the rows of ``sacct`` and of ``sacctmgr show event``, likewise. The one thing
computed is durations: in the month a duration is the difference of two moved times, as Slurm itself computes it when it
prints (Elapsed = End - Start - Suspended, CPUTime = Elapsed x CPUs), so those fields are left out
here and computed on demand.
"""

from __future__ import annotations

import json
import lzma
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.demo_time import TimeMap

Raw = dict[str, Any]

JOB_TIMES = (
    "accrue_time", "deadline", "eligible_time", "end_time", "last_sched_evaluation", "preempt_time", "resize_time",
    "start_time", "submit_time", "suspend_time",
)  # fmt: skip
"""Fields of a job in ``squeue --json`` that are epoch seconds, 0 = not set."""

ROW_TIMES = ("Submit", "Eligible", "Start", "End")
COMPUTED = ("Elapsed", "ElapsedRaw", "CPUTime", "CPUTimeRAW", "Reserved", "ResvCPU", "ResvCPURAW")
"""Fields of sacct that are differences of times."""

EVENT_TIMES = ("TimeStart", "TimeEnd")
_NODE_TIMES = re.compile(r"((?:BootTime=|SlurmdStartTime=|LastBusyTime=|\[\w+@))(\d{9,})\b")
NOT_SET = 4294967294


class RecordingError(Exception):
    """The recording does not hold what the demo site needs; record again."""


@dataclass(frozen=True)
class Recording:
    """A recording as read: one dict per second (``queue`` is squeue's answer), and what was asked once at the end."""

    cluster: str
    begin: int
    seconds: int
    lines: Sequence[Raw]
    once: Mapping[str, str]

    @classmethod
    def read(cls, file: Path) -> Recording:
        """Read what `tests.lab.demo_capture.record` wrote."""
        with lzma.open(file, "rt", encoding="utf-8") as stream:
            head, *lines, last = [json.loads(line) for line in stream]
        for line in lines:
            line["queue"] = json.loads(line["outputs"]["squeue"])
        return cls(head["cluster"], head["begin"], head["seconds"], lines, last["outputs"])

    def time_map(self) -> TimeMap:
        """The mapping of this recording's seconds to the month."""
        return TimeMap(self.begin, self.seconds)


class _Once:
    """Keeps each distinct value once and gives its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        key = json.dumps(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def live(recording: Recording) -> Raw:
    """``{"moments", "jobs": [[number, ...], ...], "nodes": [[number, ...], ...], "job_versions", "node_versions"}``.

    The state at a moment of the month is the last one whose moment has been reached. A sample taken at the beginning
    of a second shows what happened up to the end of the one before, so it stands at that one's moment. What happened
    in the few milliseconds of the second before the sample was taken belongs to the next one: such a job is shown as
    the sample before shows it.
    """
    month = recording.time_map()
    jobs, nodes = _Once(), _Once()
    found: Raw = {"moments": [], "jobs": [], "nodes": []}
    head: Raw = {}
    before: dict[int, Raw] = {}
    for line in recording.lines:
        second = line["second"] - 1
        if not 0 <= second <= recording.seconds:
            continue
        answer = line["queue"]
        head = {k: v for k, v in answer.items() if k != "jobs"}
        shown = [_as_of(job, recording.begin + second, before) for job in answer["jobs"]]
        before = {job["job_id"]: job for job in shown if job}
        found["moments"].append(month.moments[second])
        found["jobs"].append([jobs.number(_job(job, month)) for job in before.values()])
        texts = line["outputs"]["scontrol"].splitlines()
        found["nodes"].append([nodes.number(_node(text, month)) for text in texts if text.strip()])
    return {**found, "head": head, "job_versions": jobs.values, "node_versions": nodes.values}


def _as_of(job: Raw, seen: int, before: Mapping[int, Raw]) -> Raw | None:
    """A job as it was at the end of second ``seen``, None when it was not yet there."""
    moments = [job["submit_time"], job["suspend_time"]]
    if job["job_state"] != "PENDING":
        moments.append(job["start_time"])
    if job["job_state"] not in ("PENDING", "RUNNING", "SUSPENDED"):
        moments.append(job["end_time"])
    return job if max(moments) <= seen else before.get(job["job_id"])


def _job(job: Raw, month: TimeMap) -> Raw:
    moved = dict(job)
    for name in JOB_TIMES:
        if moved.get(name) not in (0, None, NOT_SET):
            moved[name] = month(moved[name])
    if job["pre_sus_time"]:  # seconds that it ran before its last suspension or since its last resumption
        moved["pre_sus_time"] = month(job["start_time"] + job["pre_sus_time"]) - month(job["start_time"])
    return moved


def _node(text: str, month: TimeMap) -> str:
    name = re.match(r"NodeName=(\S+)", text)
    if not name:
        raise RecordingError(f"not a node line: {text[:80]!r}")
    text = re.sub(r"NodeHostName=\S+", f"NodeHostName={name[1]}", text)
    return _NODE_TIMES.sub(lambda found: f"{found[1]}{month(int(found[2]))}", text)


def accounting(recording: Recording) -> dict[str, Raw]:
    """What sacct and sacctmgr knew, as tables ``jobs`` and ``events``.

    ``{"same": {field: value}, "fields": [...], "rows": [[since, until, value, ...], ...]}``: a version of a row was
    known from moment ``since`` until before ``until`` (None: still); fields that are the same in every row are told
    once. ``Suspended`` is moved as the sum of its moved intervals, which the live samples tell.
    """
    month = recording.time_map()
    pauses = suspensions(recording)
    tables: dict[str, Raw] = {}
    for name, separator, key in (("sacct", "\x1f", "jobs"), ("sacctmgr", "|", "events")):
        samples: list[tuple[int, list[dict[str, str]]]] = []
        for line in recording.lines:
            if name not in line["outputs"] or line["second"] > recording.seconds:
                continue
            header, *texts = line["outputs"][name].splitlines()
            fields = header.split(separator)
            printed = [dict(zip(fields, text.split(separator), strict=True)) for text in texts if text]
            moved = [_row(row, month, pauses) if key == "jobs" else _event(row, month) for row in printed]
            samples.append((month.moments[line["second"]], moved))
        tables[key] = _table(samples)
    tables["jobs"] |= {"help": recording.once["sacct --helpformat"], "version": recording.once["sacct --version"]}
    return tables


def _table(samples: Sequence[tuple[int, Sequence[Mapping[str, str]]]]) -> Raw:
    """Each version of a row once, with the moments between which samples show it."""
    fields = list(samples[-1][1][0])
    versions: dict[tuple[str, ...], list[int | None]] = {}
    for moment, rows in samples:
        shown = {tuple(row.values()) for row in rows}
        for values, span in versions.items():
            if span[1] is None and values not in shown:
                span[1] = moment
        for row in rows:
            span = versions.setdefault(tuple(row.values()), [moment, None])
            if span[1] is not None:
                raise RecordingError(f"a row that had changed is as before again: {row}")
    columns = dict(zip(fields, zip(*versions, strict=True), strict=True))
    same = {field: column[0] for field, column in columns.items() if len(set(column)) == 1}
    kept = [n for n, field in enumerate(fields) if field not in same]
    return {
        "all": fields,
        "same": same,
        "fields": [fields[n] for n in kept],
        "rows": [[*span, *(values[n] for n in kept)] for values, span in versions.items()],
    }


def _row(
    row: dict[str, str], month: TimeMap, pauses: Mapping[tuple[str, int], Sequence[tuple[int, int]]]
) -> dict[str, str]:
    moved = dict(row)
    for name in ROW_TIMES:
        if row[name].isdigit():
            moved[name] = str(month(int(row[name])))
    for name in COMPUTED:
        moved[name] = ""
    intervals = pauses.get((row["JobIDRaw"], int(row["Submit"])), ())
    moved["Suspended"] = str(_suspended(row, intervals, month))
    return moved


def _suspended(row: Mapping[str, str], intervals: Sequence[tuple[int, int]], month: TimeMap) -> int:
    """The moved length of a job's suspensions, of which the last may not have been over when the row was printed."""
    left = clock(row["Suspended"])
    moved = 0
    for start, end in intervals:
        seconds = min(left, end - start)
        moved += month(start + seconds) - month(start)
        left -= seconds
    if left:
        raise RecordingError(f"job {row['JobIDRaw']} was suspended {row['Suspended']}, the samples show {intervals}")
    return moved


def _event(row: dict[str, str], month: TimeMap) -> dict[str, str]:
    moved = dict(row)
    for name in EVENT_TIMES:
        if row[name].isdigit():
            moved[name] = str(month(int(row[name])))
    moved["Duration"] = ""
    return moved


def clock(text: str) -> int:
    """``[days-]hours:minutes:seconds`` -> seconds."""
    days, _, rest = text.rpartition("-")
    hours, minutes, seconds = (int(part) for part in rest.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def suspensions(recording: Recording) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """(job id, submit) -> its suspensions that ended, as recorded seconds, from the live samples."""
    moments: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
    for line in recording.lines:
        for job in line["queue"]["jobs"]:
            if job["suspend_time"]:
                seen = (job["job_state"], job["suspend_time"])
                key = (str(job["job_id"]), job["submit_time"])
                if seen not in moments[key]:
                    moments[key].append(seen)
    found: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for key, turns in moments.items():
        stopped: int | None = None
        for state, moment in turns:
            if state == "SUSPENDED":
                stopped = moment
            elif stopped is not None:
                found.setdefault(key, []).append((stopped, moment))
                stopped = None
    return found
