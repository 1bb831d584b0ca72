"""``squeue --json``, read into live jobs, in the forms of 22.05 (plain numbers, null) and of later releases
(``{"set": true, "infinite": false, "number": 5}``, lists of states). Pure.

Keys that are not known are passed over: every release adds some. A job that lacks a known one is rejected alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exporters.model import Reject
from exporters.sources.slurm import runs
from exporters.sources.slurm.hostlist import expand, task_count
from exporters.sources.slurm.live.live_job import RECORD_LIMIT, SOURCE, FormError, LiveJob

FAULTS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading one record may raise where it is not what it should be: that record is rejected, and no other."""

TOO_LARGE = 1 << 63
_INFINITE = 0xFFFFFFFE  # NO_VAL; INFINITE is one more
"""No number of Slurm's is larger, but identities, which are kept as text."""


def read_queue(text: str, *, sluids: bool = True) -> list[LiveJob | Reject]:
    """Every job of the document. Raises `FormError` when it is cut short, or not a job list (`read_jobs`)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormError(f"{len(text)} characters are not one whole JSON document: {error}") from error
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise FormError("there is no list of jobs in the JSON document")
    errors = document.get("errors") or []
    if errors:
        raise FormError(f"the JSON document reports errors: {json.dumps(errors)[:500]}")
    return read_jobs(document, sluids=sluids)


def read_jobs(document: Mapping[str, Any], *, sluids: bool = True) -> list[LiveJob | Reject]:
    """Every job of a document with a list of them. ``sluids`` False: never name a run by SLUID.

    Raises `FormError` where it names no GRES details, or no SLUIDs that runs are named by.
    """
    jobs = document["jobs"]
    if any(isinstance(job, dict) and "gres_detail" not in job for job in jobs):
        raise FormError("jobs in the JSON document have no gres_detail")
    named = sluids and release(document) >= runs.SLUID_RELEASE
    if named and any(isinstance(job, dict) and "step_id" not in job for job in jobs):
        raise FormError(
            "this Slurm names runs by SLUID, but its JSON document does not: v0.0.45 of the data parser does"
        )
    return [_read(job, sluids=named) for job in jobs]


def release(document: Mapping[str, Any]) -> tuple[int, int]:
    """The release that wrote the document: ``meta.Slurm.version`` in 22.05, ``meta.slurm.version`` later."""
    meta = document.get("meta") or {}
    version = (meta.get("slurm") or meta.get("Slurm") or {}).get("version") or {}
    try:
        return int(version["major"]), int(version["minor"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormError(f"the JSON document does not say which Slurm release wrote it: {error!r}") from error


def _read(job: Any, *, sluids: bool) -> LiveJob | Reject:
    try:
        return _job(job, sluids=sluids)
    except FAULTS as error:
        # The keys that matter come first, so that the cut does not lose them behind a long list of cores.
        kept = {k: v for k, v in job.items() if k != "job_resources"} if isinstance(job, dict) else job
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        return Reject(SOURCE, json.dumps(kept, ensure_ascii=False)[:RECORD_LIMIT], f"a job that does not read: {what}")


def _job(job: Mapping[str, Any], *, sluids: bool) -> LiveJob:
    native_id = str(int(job["job_id"]))
    states = job["job_state"]
    states = tuple(states) if isinstance(states, list) else (str(states),)
    waiting_tasks = job["array_task_string"] or ""
    nodes, detail = expand(job["nodes"] or ""), tuple(job["gres_detail"] or ())
    allocated = _allocated(job.get("job_resources"))
    if detail and len(allocated) == len(detail) == len(nodes) and set(allocated) == set(nodes):
        nodes = allocated  # gres_detail is in the order of the allocation
    return LiveJob(
        native_id=native_id,
        display_id=_display_id(job, native_id, waiting_tasks),
        name=_text(job["name"]),
        user=_text(job["user_name"]) or str(job["user_id"]),
        account=_text(job["account"]),
        partition=_text(job["partition"]),
        qos=_text(job.get("qos")),
        states=states,
        submit=number(job["submit_time"]) or 0,
        start=number(job["start_time"]) or 0,
        resize=number(job.get("resize_time")) or 0,
        sluid=((job.get("step_id") or {}).get("sluid") or "") if sluids else "",
        nodes=nodes,
        node_count=number(job["node_count"]) or 0,
        detail=detail,
        tres=job["tres_alloc_str"] or job["tres_req_str"] or "",
        tasks=task_count(waiting_tasks) if waiting_tasks else 1,
        admin_comment=_text(job.get("admin_comment")),
        cluster=_text(job.get("cluster")),
        limit=_limit(job.get("time_limit")),
        raw=f"squeue job {native_id}",
    )


def _limit(value: Any) -> int | None:
    """A time limit, told in minutes, in seconds; None for none, of which some releases say so by slurm.h's INFINITE."""
    minutes = number(value)
    return minutes * 60 if minutes is not None and 0 < minutes < _INFINITE else None


def _text(value: Any) -> str:
    """A text that may be left out. Raises ValueError for anything else, so that nobody later takes a number for one."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value or ""


def _display_id(job: Mapping[str, Any], native_id: str, waiting_tasks: str) -> str:
    array, task = number(job["array_job_id"]), number(job["array_task_id"])
    if array and waiting_tasks:
        return f"{array}_[{waiting_tasks}]"
    if array and task is not None:
        return f"{array}_{task}"
    leader = number(job["het_job_id"])
    return f"{leader}+{number(job['het_job_offset'])}" if leader else native_id


def _allocated(resources: Any) -> tuple[str, ...]:
    """Node names in the order of the allocation: ``allocated_nodes`` in 22.05, ``nodes.allocation`` later."""
    if not isinstance(resources, dict):
        return ()
    nodes = resources.get("allocated_nodes")
    if nodes is None and isinstance(resources.get("nodes"), dict):
        nodes = resources["nodes"].get("allocation")
    if not isinstance(nodes, list) or not all(isinstance(node, dict) for node in nodes):
        return ()
    return tuple(str(node.get("nodename") or node.get("name") or "") for node in nodes)


def number(value: Any) -> int | None:
    """A number in either form, None when not set. Raises ValueError for anything else."""
    if isinstance(value, dict):
        value = value["number"] if value.get("set") and not value.get("infinite") else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is not a number")  # noqa: TRY004 - it is what was read that is wrong
    try:
        found = int(value)
    except OverflowError as error:  # 1e999
        raise ValueError(f"{value!r} is not a number") from error
    if abs(found) >= TOO_LARGE:
        raise ValueError("a number of more than 63 bits")
    return found
