"""Rows of sacct: cut out of its output exactly, and read into records. Pure.

``sacct -P`` escapes nothing, and job names may hold its delimiter, newlines, tabs and invalid UTF-8. So each call is
given a delimiter of its own that nobody could have guessed when naming a job, and the row begins and ends with fields
that Slurm itself writes: then every field is what stands between two delimiters, and the one newline that ends a row is
the one in a field that cannot hold any. Measured on 200,000 rows this costs a second over a plain split; the other
exact form, JSON, costs twenty times the time and forty times the memory of this text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from exporters.model import Job, JobKey, Record, Reject, Scheduler
from exporters.sources.slurm import gres, runs
from exporters.sources.slurm.hostlist import expand
from exporters.sources.slurm.runs import Part, Phase
from exporters.thawed import thawed

SOURCE = "sacct"
RECORD_LIMIT = 65_536
"""Characters of a rejected record that are kept."""

SEPARATOR = "\x1f"
"""Stands between the fields of a record's raw text, where the call's own delimiter stood: raw text must not differ
between two readings of one row. Only JobName and AdminComment might hold it themselves."""

FIELDS = (
    "JobIDRaw", "JobID", "Submit", "Eligible", "Start", "End", "State", "AllocTRES", "NNodes", "NodeList",
    "User", "UID", "Account", "Partition", "QOS", "JobName", "AdminComment", "Cluster",
)  # fmt: skip
"""What is asked for. The first and the last cannot hold a newline."""

SLUID_FIELDS = ("JobIDRaw", "SLUID", "OriginalSLUID", *FIELDS[1:])

ALL_FIELDS = (*FIELDS, "SLUID", "OriginalSLUID")


class Row(NamedTuple):
    """One row of accounting in sacct's words: its raw text, then what `ALL_FIELDS` name. SLUIDs where it has them."""

    raw: str
    native_id: str
    display_id: str
    submit: str
    eligible: str
    start: str
    end: str
    state: str
    tres: str
    node_count: str
    node_list: str
    user: str
    uid: str
    account: str
    partition: str
    qos: str
    name: str
    admin_comment: str
    cluster: str
    sluid: str = ""
    original: str = ""


TIME_DIGITS = 12
"""Digits of a time in epoch seconds: more is none."""

_NOT_YET = {"", "Unknown", "None", "0", "N/A", "4294967294", "4294967295"}


def cut(text: str, delimiter: str, fields: int) -> Iterator[list[str] | str]:
    """Rows of ``fields`` fields, in order; a string is text that is not part of any row (one or more whole lines)."""
    position, size, step = 0, len(text), len(delimiter)
    while position < size:
        row = []
        start = position
        for _ in range(fields - 1):
            end = text.find(delimiter, start)
            if end < 0:
                break
            row.append(text[start:end])
            start = end + step
        end = text.find("\n", start)
        end = size if end < 0 else end
        row.append(text[start:end])
        junk = row[0].rfind("\n")
        if len(row) == fields and junk < 0 and delimiter not in row[-1]:
            yield row
            position = end + 1
            continue
        # Not a row: set its first line aside (or all lines before the row that follows) and try again from there.
        stop = position + junk if junk >= 0 else text.find("\n", position)
        stop = size if stop < 0 else stop
        if text[position:stop].strip():
            yield text[position:stop].replace(delimiter, SEPARATOR)
        position = stop + 1


def form(fields: Sequence[str]) -> Callable[[Sequence[str]], Row]:
    """What makes a `Row` of values that stand in the order of ``fields``: all of `FIELDS`, SLUIDs, and others.

    The raw text is all the values in their order.
    """
    told = ALL_FIELDS if "SLUID" in fields else FIELDS
    pick = itemgetter(*(fields.index(name) for name in told))
    return lambda values: Row(SEPARATOR.join(values), *pick(values))


def read(row: Row, cluster: str, source: str = SOURCE, *, sluids: bool = True) -> Record | Reject:
    """One row as a record, or a reject that says what is wrong with it.

    ``source`` is who told it: other sources of accounting say the same in sacct's words. ``sluids`` False: never name a
    run by SLUID.
    """
    try:
        return _read(row, cluster, source, sluids=sluids)
    except ValueError as error:
        return Reject(source, row.raw[:RECORD_LIMIT], str(error))


def eligible(row: Row) -> int:
    """When the row's job could first start, 0 when not yet; -1 where that cannot be read."""
    try:
        return _time("Eligible", row.eligible) or 0
    except ValueError:
        return -1


_job, _record = thawed(Job), thawed(Record)


def _read(row: Row, cluster: str, source: str, *, sluids: bool) -> Record:
    state, phase = _state(row.state)
    submit, start, end = _span(row)
    native_id = row.native_id
    if not native_id.isdigit():
        raise ValueError(f"JobIDRaw {native_id!r} is not a number: is this a job step? sacct must be called with -X")
    first = row.original if sluids and row.original not in runs.NO_SLUID else ""
    run = runs.run_id(native_id, submit, sluid=first, resized=row.sluid != first)
    placed = (
        None if start is None or phase is Phase.WAITS else _placed(cluster, row.tres, row.node_count, row.node_list)
    )
    _check_phase(state, phase, started=placed is not None, ended=end is not None)
    nowhere = placed is not None and not placed.nodes
    if nowhere and start != end:
        raise ValueError("a job ran but has no nodes in NodeList")
    key = JobKey(Scheduler.SLURM, cluster, run)
    job = _job(
        key,
        native_id,
        row.display_id,
        row.name,
        row.user or row.uid,
        row.account,
        row.partition,
        row.qos,
        "",  # kind
        state,
        submit,
        # tasks of an array that were cancelled before they started share one row, with Start = End, on no node
        None if nowhere else start,
        end,
        {},  # labels
    )
    if placed is None and phase is Phase.WAITS and end is None:
        return _record(source, row.raw, job, (), "", True)
    if placed is None or start is None or nowhere:
        return _record(source, row.raw, job, (), "never started")
    if placed.excluded:
        return _record(source, row.raw, job, (), placed.excluded, end is None)
    if start == end:
        return _record(source, row.raw, job, (), "ran less than a second")
    keys = runs.bridge_keys(row.admin_comment)
    claims = runs.claims_of(key, native_id, placed.parts, start, end, keys, split_assumed=placed.nodes > 1)
    return _record(source, row.raw, job, claims, "", end is None)


def _span(row: Row) -> tuple[int, int | None, int | None]:
    """When the run was submitted, when what this row itself covers of a resized job began, and its end."""
    submit, start, end = _time("Submit", row.submit), _time("Start", row.start), _time("End", row.end)
    if submit is None:
        raise ValueError("a job without a Submit time")
    if start is None:
        return submit, None, end
    if end is not None and end < start:
        raise ValueError(f"the job ends ({end}) before it starts ({start})")
    if end is not None and end < submit:
        raise ValueError(f"the row ends ({end}) before it was submitted ({submit})")
    return submit, max(start, submit), end


def _check_phase(state: str, phase: Phase, *, started: bool, ended: bool) -> None:
    if phase is Phase.HOLDS and not started:
        raise ValueError(f"a job is {state} but has no Start time")
    if phase is Phase.ENDED and started and not ended:
        raise ValueError(f"a job is {state} but has no End time")


class Placed(NamedTuple):
    """On how many nodes a run was, and its part on each; or why that is nothing to meter."""

    nodes: int
    parts: tuple[Part, ...] = ()
    excluded: str = ""


@lru_cache(maxsize=16_384)  # the same cards on the same nodes come up again and again
def _placed(cluster: str, tres: str, node_count: str, node_list: str) -> Placed:
    nodes = expand(node_list)
    if not nodes:
        return Placed(0)
    if node_count != str(len(nodes)):
        raise ValueError(f"NodeList {node_list!r} names {len(nodes)} nodes, but NNodes is {node_count}")
    cards, slots = gres.cards_of(tres), gres.slots_in(gres.parse_tres(tres))
    shared = runs.slots_on(cluster, nodes, slots) if slots else ()
    if not cards:
        return Placed(len(nodes), shared, "" if shared else "no gpu")
    # a node to which none is dealt may have given some all the same: that it was the run's is not forgotten
    hands = [hand or [gres.Cards(cards[0].type, 0)] for hand in runs.deal(cards, len(nodes))]
    return Placed(len(nodes), (*runs.parts_on(cluster, list(zip(nodes, hands, strict=True))), *shared))


@lru_cache(maxsize=1024)
def _state(told: str) -> tuple[str, Phase]:
    """The state's word and what it means: ``CANCELLED by 2001`` is CANCELLED."""
    word = told.split(" ", maxsplit=1)[0].rstrip("+")
    phase = runs.PHASES.get(word)
    if phase is None:
        raise ValueError(f"unknown job state {told!r}: does this Slurm release have a new one?")
    return word, phase


def _time(name: str, value: str) -> int | None:
    if value in _NOT_YET:
        return None
    if not value.isdigit():
        raise ValueError(
            f"{name} {value!r} is not in epoch seconds: SLURM_TIME_FORMAT=%s did not reach sacct. "
            "A command that runs sacct elsewhere must carry it: ssh HOST env SLURM_TIME_FORMAT=%s TZ=UTC sacct"
        )
    return epoch(name, value)


def epoch(name: str, value: str) -> int:
    """Digits as epoch seconds. Raises ValueError for more than a time can have."""
    if len(value) > TIME_DIGITS:
        raise ValueError(f"{name} {value[:100]!r} is not a time")
    return int(value)
