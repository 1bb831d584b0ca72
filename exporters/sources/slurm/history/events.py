"""Rows of ``sacctmgr show event``, read into node events. Pure.

    gn04|1795326846|1795326848|DRAIN|billing=64,cpu=64,gres/gpu:h100=8,gres/gpu=8,mem=500G|bad fan
    |1795326839|Unknown||billing=384,...|Cluster Registered TRES        (the cluster's own: no node, passed over)

sacctmgr cannot be given a delimiter, so the one free text, the reason, comes last: it may hold ``|`` and newlines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporters.model import NodeEvent, NodeKey, Reject, Scheduler
from exporters.sources.slurm import gres
from exporters.sources.slurm.history.rows import RECORD_LIMIT, epoch

SOURCE = "sacctmgr"

_ROW = re.compile(r"([^|\n]*)\|(\d+)\|(\d+|Unknown|None|)\|([^|\n]*)\|([^|\n]*)\|(.*)", re.DOTALL)
_AVAILABLE = re.compile(r"(IDLE|ALLOCATED|ALLOC|MIXED|MIX|COMPLETING|PLANNED|RESERVED)\+?")


def read_events(text: str, cluster: str) -> Iterator[NodeEvent | Reject]:
    """The events of ``text`` (fields NodeName, Start, End, State, TRES, Reason), rejects where a row does not read."""
    for row in _rows(text):
        try:
            event = _read(row, cluster)
        except ValueError as error:
            yield Reject(SOURCE, row[:RECORD_LIMIT], str(error))
            continue
        if event is not None:
            yield event


def _rows(text: str) -> Iterator[str]:
    """Lines, with those that do not begin a row joined to the reason they continue."""
    row = ""
    for line in text.split("\n"):
        if row and not _ROW.fullmatch(line):
            row = f"{row}\n{line}"
            continue
        if row.strip():
            yield row
        row = line
    if row.strip():
        yield row


def _read(row: str, cluster: str) -> NodeEvent | None:
    """One event, None where the row is not about a node or lasted no time."""
    found = _ROW.fullmatch(row)
    if not found:
        raise ValueError("this is not an event row; its times must be epoch seconds (SLURM_TIME_FORMAT=%s)")
    name, began, ended, state, tres, reason = found.groups()
    end = epoch("End", ended) if ended.isdigit() and ended != "0" else None
    return event(cluster, name, epoch("Start", began), end, state, tres, reason)


def event(cluster: str, name: str, start: int, end: int | None, state: str, tres: str, reason: str) -> NodeEvent | None:
    """One event out of its fields, None where it is not about a node or lasted no time. Raises ValueError.

    A node without cards has events, too. Their ``tres`` names none, and neither does that of any node where
    AccountingStorageTRES leaves gres/gpu out: the event does not say how many there were (``milligpu`` None).
    """
    if end is not None and end < start:
        raise ValueError(f"the event ends ({end}) before it starts ({start})")
    if not name or start == end:
        return None
    cards = gres.cards_of(tres)
    return NodeEvent(
        key=NodeKey(Scheduler.SLURM, cluster, name),
        start=start,
        end=end,
        up=bool(_AVAILABLE.fullmatch(state)),
        milligpu=sum(gres.capacity(cards).values()) if cards else None,
        reason=": ".join(part for part in (state, reason.strip()) if part),
    )
