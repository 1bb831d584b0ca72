"""The queue as text, for releases without good JSON: two calls whose answers check each other. Pure.

``squeue --Format`` takes any delimiter, so its rows are exact whatever a job is named
(`exporters.sources.slurm.history.rows` tells how). But GPU indices are in ``scontrol -d show job`` only, which escapes
nothing: a job name with line breaks in it can forge whole jobs there. So squeue says who holds what, and scontrol only
adds which cards: its block must agree in submit time, start time, nodes and number of cards, and must be the only one
that does. Otherwise the cards stay unknown, with a reject that says so; they are never somebody else's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from exporters.model import Reject
from exporters.sources.slurm import gres
from exporters.sources.slurm.history.rows import SEPARATOR, cut, epoch
from exporters.sources.slurm.hostlist import expand, task_count
from exporters.sources.slurm.live.live_job import RECORD_LIMIT, SOURCE, FormError, LiveJob

WIDTHS = {
    "JobID": 12, "State": 20, "SubmitTime": 20, "StartTime": 20, "NumNodes": 12, "JobArrayID": 1024, "HetJobID": 12,
    "HetJobOffset": 12, "UserName": 64, "Account": 128, "Partition": 256, "QOS": 128, "NodeList": 2048,
    "tres-alloc": 512, "Name": 1025, "admin_comment": 1025,
}  # fmt: skip
"""What squeue is asked for, and how wide: it cuts what is longer and fills up what is shorter with blanks."""

_JOB = re.compile(r"^JobId=(\d+)(?: |$)", re.MULTILINE)
_DETAIL = re.compile(r"^     Nodes=(\S+) CPU_IDs=\S* Mem=\S+ GRES=(\S*) *$", re.MULTILINE)
_LIMIT = re.compile(r"^   RunTime=\S+ TimeLimit=(?:(\d{1,6})-)?(\d\d):(\d\d):(\d\d) ", re.MULTILINE)
_RESIZE = re.compile(r"^   ResizeTime=(\d+) *$", re.MULTILINE)


def squeue_format(delimiter: str, *, sluids: bool) -> str:
    """The value of ``--Format``; every field is followed by ``delimiter``."""
    fields = {**WIDTHS, "SLUID": 20} if sluids else WIDTHS
    return ",".join(f"{name}:{width}{delimiter}" for name, width in fields.items())


@dataclass(frozen=True)
class Block:
    """What one block of ``scontrol -d show job`` says about cards."""

    submit: int
    start: int
    resize: int
    details: Mapping[str, str]  # node -> GRES
    limit: int | None = field(default=None, compare=False)  # seconds


def read_queue(squeue: str, scontrol: str, delimiter: str, *, sluids: bool) -> list[LiveJob | Reject]:
    """Every job that squeue tells, with the GPU indices that scontrol adds.

    Raises `FormError` when squeue printed something, and none of it has the fields that it was asked for, or less than
    it should have.
    """
    names = [*WIDTHS, *(["SLUID"] if sluids else [])]
    blocks = _blocks(scontrol)
    if blocks and not squeue.strip():
        raise FormError("squeue names no job, and scontrol shows some")
    found: list[LiveJob | Reject] = []
    if squeue and not squeue.endswith("\n"):
        raise FormError("squeue ended well in the middle of a row: its answer is not whole")
    rows = list(cut(squeue, delimiter, len(names) + 1))
    if rows and not any(isinstance(row, list) for row in rows):
        raise FormError("squeue did not print the fields it was asked for; has this release other names for them?")
    for row in rows:
        if isinstance(row, str):
            found.append(Reject(SOURCE, row[:RECORD_LIMIT], "this is not a row that squeue was asked for"))
            continue
        values = dict(zip(names, (value.rstrip(" ") for value in row), strict=False))
        try:
            found += _with_cards(_job(values), blocks)
        except ValueError as error:
            raw = SEPARATOR.join(values.values())[:RECORD_LIMIT]
            found.append(Reject(SOURCE, raw, f"a job that does not read: {error}"))
    return found


def _job(row: Mapping[str, str]) -> LiveJob:
    if not row["JobID"].isdigit():
        raise ValueError(f"JobID {row['JobID']!r} is not a number")
    for name, width in WIDTHS.items():
        if len(row[name]) == width:
            raise ValueError(f"its {name} is longer than the {width} characters that squeue's text has room for")
    nodes = expand(row["NodeList"])
    display = row["JobArrayID"]
    tasks = display.partition("_[")[2]
    if row["HetJobID"] not in {"", "0", "N/A"}:
        display = f"{row['HetJobID']}+{row['HetJobOffset']}"
    return LiveJob(
        native_id=row["JobID"],
        display_id=display,
        name=row["Name"],
        user=row["UserName"],
        account=row["Account"],
        partition=row["Partition"],
        qos=row["QOS"],
        states=(row["State"],),
        submit=_time(row["SubmitTime"]),
        start=_time(row["StartTime"]),
        sluid=row.get("SLUID", ""),
        nodes=nodes,
        node_count=int(row["NumNodes"].split("-")[0]),
        tres=row["tres-alloc"].removesuffix("N/A"),
        tasks=task_count(tasks) if tasks else 1,
        admin_comment=row["admin_comment"].removesuffix("(null)"),
        raw=SEPARATOR.join(row.values()),
    )


def _with_cards(job: LiveJob, blocks: Mapping[str, Sequence[Block]]) -> Iterator[LiveJob | Reject]:
    """The job with the details of the one block that fits it; without, when none or several do."""
    fitting = [block for block in blocks.get(job.native_id, ()) if _fits(block, job)]
    if not job.nodes or not fitting:
        yield job
        return
    if any(block != fitting[0] for block in fitting):
        reason = (
            f"job {job.native_id}: scontrol tells several different stories about its cards, so which ones it holds is "
            "not known. Does some job's name hold line breaks that imitate scontrol's output?"
        )
        yield Reject(SOURCE, job.raw[:RECORD_LIMIT], reason)
        yield job
        return
    block = fitting[0]
    detail = tuple(block.details.get(node, "") for node in job.nodes) if any(block.details.values()) else ()
    yield replace(job, resize=block.resize, detail=detail, limit=block.limit)


def _fits(block: Block, job: LiveJob) -> bool:
    if (block.submit, block.start) != (job.submit, job.start) or set(block.details) != set(job.nodes):
        return False
    told: dict[str, int] = defaultdict(int)
    for text in block.details.values():
        for cards in gres.parse_gres(text):
            told[cards.type] += cards.count
    if not told:  # the job completes: its cards are not told any more
        return True
    total = gres.cards_of(job.tres)
    counted = {cards.type: cards.count for cards in total}
    if sum(told.values()) != sum(counted.values()):
        return not counted  # a site that does not track gres/gpu has no total to compare with
    return all(told[kind] == count for kind, count in counted.items() if kind)


def _blocks(text: str) -> dict[str, list[Block]]:
    """Everything that looks like a job, by job id: true ones and any that a name may have forged."""
    starts = [match.start() for match in _JOB.finditer(text)]
    blocks: dict[str, list[Block]] = defaultdict(list)
    for start, end in pairwise([*starts, len(text)]):
        body = text[start:end]
        job = _JOB.match(body)
        block = _block(body)
        if job and block:
            blocks[job[1]].append(block)
    return blocks


def _block(body: str) -> Block | None:
    submit = re.findall(r"^   SubmitTime=(\d+) ", body, re.MULTILINE)
    start = re.findall(r"^   StartTime=(\d+) ", body, re.MULTILINE)
    resize = _RESIZE.findall(body)
    if len(submit) != 1 or len(start) != 1 or len(resize) > 1:
        return None
    details: dict[str, str] = {}
    try:
        for nodes, text in _DETAIL.findall(body):
            for node in expand(nodes):
                if node in details:
                    return None
                details[node] = text
        for text in details.values():
            gres.parse_gres(text)
        submitted, started, resized = (epoch("a time", told[0]) if told else 0 for told in (submit, start, resize))
    except ValueError:
        return None
    limits = {_seconds(*told) for told in _LIMIT.findall(body)}
    return Block(submitted, started, resized, details, limits.pop() if len(limits) == 1 else None)


def _seconds(days: str, hours: str, minutes: str, seconds: str) -> int:
    return ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)


def _time(value: str) -> int:
    if value in {"N/A", "Unknown", "None", ""}:
        return 0
    if not value.isdigit():
        raise ValueError(
            f"the time {value!r} is not in epoch seconds: SLURM_TIME_FORMAT=%s did not reach squeue. "
            "A command that runs squeue elsewhere must carry it: ssh HOST env SLURM_TIME_FORMAT=%s squeue"
        )
    return epoch("the time", value)
