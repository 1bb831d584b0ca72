"""What slurmrestd tells of nodes and of accounting, as the same nouns that Slurm's commands tell of. Pure.

In the forms of v0.0.38 (plain numbers, null, a state in one word and its flags apart) and of later releases
(``{"set": true, "infinite": false, "number": 5}``, lists of states). Jobs of the queue come in squeue's own form
(`exporters.sources.slurm.live.queue_json`), and rows of accounting are told in sacct's fields and words
(`exporters.sources.slurm.history.rows`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from exporters.model import Node, Reject
from exporters.sources.slurm import runs
from exporters.sources.slurm.history import rows
from exporters.sources.slurm.hostlist import task_list
from exporters.sources.slurm.live import node_text, queue_json
from exporters.sources.slurm.live.live_job import FormError

SOURCE = "slurmrestd"

EMPTY = 9003
"""ESLURM_REST_EMPTY_RESULT: nothing found."""

_CLOSING = ("REQUEUED", "RESIZING", "REVOKED")
"""How a run ended that its job went on after: its state is told beside this word."""

_PLAIN, _NAMED = rows.form(rows.FIELDS), rows.form(rows.ALL_FIELDS)


def document(body: bytes, name: str) -> dict[str, Any]:
    """A document whose list ``name`` is there. Raises `FormError` for a broken one, or one that reports errors."""
    try:
        told = json.loads(body.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise FormError(f"{len(body)} bytes are not one whole JSON document: {error}") from error
    if not isinstance(told, dict) or not isinstance(told.get(name), list):
        raise FormError(f"there is no list of {name} in the JSON document")
    if told.get("errors") and not _nothing_found(told, name):
        raise FormError(f"the JSON document reports errors: {json.dumps(told['errors'])[:500]}")
    return told


def _nothing_found(told: Mapping[str, Any], name: str) -> bool:
    """Whether the errors of a document say no more than that there is nothing: what a job id that is not there gets."""
    errors = told["errors"]
    found = isinstance(errors, list) and all(isinstance(e, dict) and e.get("error_number") == EMPTY for e in errors)
    return found and not told[name]


def last_update(document: Mapping[str, Any]) -> int:
    """As of when slurmctld told a list, in epoch seconds of its clock; 0 where it does not say, or told nothing new."""
    return queue_json.number(document.get("last_update")) or 0


def read_nodes(document: Mapping[str, Any], cluster: str) -> Iterator[Node | Reject]:
    """Every node of the document, as `exporters.sources.slurm.live.node_text.read_nodes` tells them."""
    for told in document["nodes"]:
        try:
            yield from node_text.nodes_of(_node(told), cluster)
        except queue_json.FAULTS as error:
            yield Reject(SOURCE, _text(told), f"a node that does not read: {_what(error)}")


def read_rows(body: bytes, *, sluids: bool = True) -> Iterator[rows.Row | Reject]:
    """Every row of accounting in the document. ``sluids`` False: never name a run by SLUID.

    Raises `FormError`, also where the release has SLUIDs and the document does not: runs would get other identities.
    """
    told_jobs = document(body, "jobs")
    named = sluids and queue_json.release(told_jobs) >= runs.SLUID_RELEASE
    for told in told_jobs["jobs"]:
        if named and isinstance(told, dict) and not told.get("sluid"):
            raise FormError(
                "this Slurm names runs by SLUID, but this version of its API does not tell them: use v0.0.45 or newer"
            )
        try:
            row = _row(told, sluids=named)
        except queue_json.FAULTS as error:
            yield Reject(SOURCE, _text(told), f"a job that does not read: {_what(error)}")
            continue
        yield row


def _node(told: Mapping[str, Any]) -> node_text.NodeFacts:
    states = told["state"]
    words = [str(word).upper() for word in (states if isinstance(states, list) else [states])]
    words += [str(word).upper() for word in told.get("state_flags") or ()]
    said = told["reason"] or ""
    since, by = queue_json.number(told.get("reason_changed_at")), told.get("reason_set_by_user")
    return node_text.NodeFacts(
        name=str(told["name"]),
        states=tuple(words),
        gres=told["gres"] or "",
        hostname=told["hostname"] or "",
        reason=f"{said} [{by}@{since}]" if said and by and since else said,
        comment=told.get("comment") or "",
    )


def _row(told: Mapping[str, Any], *, sluids: bool) -> rows.Row:
    times, association = told["time"], told.get("association") or {}
    states = told["state"]["current"]
    states = [str(s) for s in states] if isinstance(states, list) else [str(states)]
    row = {
        "JobIDRaw": str(int(told["job_id"])),
        "JobID": _display_id(told),
        "Submit": _time(times["submission"]),
        "Eligible": _time(times["eligible"]),
        "Start": _time(times["start"]),
        "End": _time(times["end"]),
        "State": next((s for s in states if s in _CLOSING), states[0]),
        "AllocTRES": _tres(told["tres"]["allocated"]),
        "NNodes": str(queue_json.number(told["allocation_nodes"]) or 0),
        "NodeList": told["nodes"] or "",
        "User": told["user"] or association.get("user") or "",
        "UID": "",
        "Account": told["account"] or "",
        "Partition": told["partition"] or "",
        "QOS": told["qos"] or "",
        "JobName": told["name"] or "",
        "AdminComment": told["comment"]["administrator"] or "",
        "Cluster": told["cluster"] or "",
    }
    if sluids:
        return _NAMED([*row.values(), told["sluid"], told["original_sluid"] or ""])
    return _PLAIN([*row.values()])


def _display_id(told: Mapping[str, Any]) -> str:
    array, het = told["array"], told["het"]
    leader = queue_json.number(array["job_id"])
    if leader:
        if array["task"]:
            limit = queue_json.number(array["limits"]["max"]["running"]["tasks"]) or 0
            return f"{leader}_[{task_list(array['task'], limit)}]"
        task = queue_json.number(array["task_id"])
        return f"{leader}_{task}" if task is not None else str(leader)
    leader = queue_json.number(het["job_id"])
    return f"{leader}+{queue_json.number(het['job_offset']) or 0}" if leader else str(int(told["job_id"]))


def _tres(allocated: Any) -> str:
    """``cpu=4,gres/gpu=2``; without what was not counted (energy: null or a negative number)."""
    counts = [(f"{t['type']}/{t['name']}" if t["name"] else t["type"], t["count"]) for t in allocated or ()]
    return ",".join(f"{name}={int(count)}" for name, count in sorted(counts) if count is not None and count >= 0)


def _time(value: Any) -> str:
    return str(queue_json.number(value) or 0)


def _what(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _text(told: Any) -> str:
    return json.dumps(told, ensure_ascii=False)[: rows.RECORD_LIMIT]
