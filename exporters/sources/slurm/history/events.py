"""Rows of ``sacctmgr show event``, read into node events. Pure.

    gn04|1795326846|1795326848|DRAIN|514|billing=64,cpu=64,gres/gpu:h100=8,gres/gpu=8,mem=500G|bad fan
    |1795326839|Unknown||0|billing=384,...|Cluster Registered TRES      (the cluster's own: no node, passed over)

sacctmgr cannot be given a delimiter, so the one free text, the reason, comes last: it may hold ``|`` and newlines. The
state as a number comes beside its word, which does not tell a powered-down machine (``IDLE~``) from one that is not
there (State=CLOUD); where a wrapped command prints no number, the word alone is read (also ``POWERED_DOWN``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exporters.model import NodeEvent, NodeKey, Reject, Scheduler
from exporters.sources.slurm import gres
from exporters.sources.slurm.history.dbd_rows import is_absent
from exporters.sources.slurm.history.rows import RECORD_LIMIT, epoch

SOURCE = "sacctmgr"

_ROW = re.compile(r"([^|\n]*)\|(\d+)\|(\d+|Unknown|None|)\|([^|\n]*)\|(?:(\d+)\|)?([^|\n]*)\|(.*)", re.DOTALL)
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
    name, began, ended, state, number, tres, reason = found.groups()
    end = epoch("End", ended) if ended.isdigit() and ended != "0" else None
    told = None if number is None else int(number)
    return event(cluster, name, epoch("Start", began), end, state, tres, reason, number=told)


def event(
    cluster: str,
    name: str,
    start: int,
    end: int | None,
    state: str,
    tres: str,
    reason: str,
    *,
    number: int | None,
) -> NodeEvent | None:
    """One event out of its fields, None where it is not about a node or lasted no time. Raises ValueError.

    ``number`` is the state as slurmdbd keeps it, None where only its word is known.

    A node without cards has events, too. Their ``tres`` names none, and neither does that of any node where
    AccountingStorageTRES leaves gres/gpu out: the event does not say how many there were (``milligpu`` None).
    """
    if end is not None and end < start:
        raise ValueError(f"the event ends ({end}) before it starts ({start})")
    if not name or start == end:
        return None
    cards = _cards(state, number, tres)
    return NodeEvent(
        key=NodeKey(Scheduler.SLURM, cluster, name),
        start=start,
        end=end,
        up=bool(_AVAILABLE.fullmatch(state)),
        milligpu=None if cards is None else sum(cards.values()),
        reason=": ".join(part for part in (state, reason.strip()) if part),
        cards=tuple(sorted(cards.items())) if cards and any(cards) else (),
    )


def _cards(state: str, number: int | None, tres: str) -> dict[str, int] | None:
    """The cards that were there, by model, None where that is not told: a node that is no machine has none."""
    if state.startswith("FUT") or (number is not None and is_absent(number)):
        return {}
    cards = gres.cards_of(tres)
    if not cards or (number is None and ("~" in state or "POWERED_DOWN" in state)):
        return None
    return gres.capacity(cards)
