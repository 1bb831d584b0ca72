"""``scontrol -d -o show node``, read into nodes. Pure. The same text in every release, about 700 bytes a node:

    NodeName=gn01 ... Gres=gpu:h100:8 ... NodeHostName=n1 ... State=MIXED+DRAIN ... Reason=bad fan [root@...]

Only administrators write the free texts in it, and they come after the fields that Slurm writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporters.model import Node, NodeKey, Reject, Scheduler
from exporters.sources.slurm import gres
from exporters.sources.slurm.live.live_job import RECORD_LIMIT, SOURCE

_FIELD = {
    name: re.compile(rf"(?:^| ){name}=(\S*)") for name in ("NodeName", "Gres", "NodeHostName", "NodeAddr", "State")
}
_ALLOCATED = re.compile(r" AllocTRES=(\S*)")
_REASON = re.compile(r" Reason=(.*?)(?= (?:Comment|Extra|InstanceId|InstanceType|ReservationName)=|$)", re.DOTALL)

BASES = ("IDLE", "ALLOCATED", "MIXED", "DOWN", "ERROR", "FUTURE", "UNKNOWN")
UNUSABLE = frozenset(
    {
        "DOWN", "ERROR", "FUTURE", "UNKNOWN",
        "BLOCKED", "DRAIN", "DYNAMIC_FUTURE", "FAIL", "INVALID_REG", "INVAL", "MAINTENANCE", "MAINT", "NOT_RESPONDING",
        "NO_RESPOND", "POWERED_DOWN", "POWERING_DOWN", "POWER_DOWN", "POWERING_UP", "REBOOT_ISSUED",
    }
)  # fmt: skip
"""State words under which a node takes no new work now. Others (COMPLETING, RESERVED, PLANNED, CLOUD, EXTERNAL,
DYNAMIC_NORM, REBOOT_REQUESTED ...) say something else about a node that is there."""

ABSENT = frozenset({"FUTURE", "DYNAMIC_FUTURE"})
"""State words of a node that slurm.conf names and that is not there yet: it has no cards."""

SUFFIXES = {
    "*": "NOT_RESPONDING", "~": "POWERED_DOWN", "#": "POWERING_UP", "!": "POWER_DOWN", "%": "POWERING_DOWN",
    "$": "MAINTENANCE", "^": "REBOOT_ISSUED",
}  # fmt: skip
"""How releases before 21.08 write some of them: ``DOWN*``."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node as told. ``states`` are the base state and its flags, ``reason`` with who set it and when."""

    name: str
    states: tuple[str, ...]
    gres: str
    hostname: str
    reason: str = ""
    comment: str = ""


def read_nodes(text: str, cluster: str) -> Iterator[Node | Reject]:
    """Every node: one `Node` per card model (all with the node's key), one with milliGPU 0 for a node without cards."""
    for line in _lines(text):
        try:
            yield from _read(line, cluster)
        except ValueError as error:
            yield Reject(SOURCE, line[:RECORD_LIMIT], f"a node that does not read: {error}")


def busy_nodes(text: str) -> set[str]:
    """The nodes that give anything to jobs (``AllocTRES``), by name."""
    found = ((_FIELD["NodeName"].search(line), _ALLOCATED.search(line)) for line in _lines(text))
    return {name[1] for name, given in found if name and given and given[1]}


def _lines(text: str) -> Iterator[str]:
    """One text per node: a line that begins no node goes on with the last one's reason or comment."""
    record = ""
    for line in text.split("\n"):
        if line.startswith("NodeName=") and record.strip():
            yield record
            record = line
        else:
            record = f"{record}\n{line}" if record else line
    if record.strip():
        yield record.rstrip("\n")


def _read(line: str, cluster: str) -> Iterator[Node]:
    values = {name: _first(pattern, line) for name, pattern in _FIELD.items()}
    found = _REASON.search(line)
    at = line.find(" Comment={")
    facts = NodeFacts(
        name=values["NodeName"],
        states=tuple(state_words(values["State"])),
        gres=values["Gres"],
        hostname=values["NodeHostName"],
        reason=found[1].strip() if found else "",
        comment=line[at + len(" Comment=") :] if at >= 0 else "",
    )
    yield from nodes_of(facts, cluster)


def nodes_of(facts: NodeFacts, cluster: str) -> Iterator[Node]:
    """One node as nouns, by card model. Raises ValueError for what is no node, or in a state that is not known."""
    if not facts.name or not any(facts.states):
        raise ValueError("it has no NodeName or no State")
    unusable = [word for word in facts.states if word in UNUSABLE]
    if facts.states[0] not in BASES:
        raise ValueError(f"unknown node state {'+'.join(facts.states)!r}: does this Slurm release have a new one?")
    reason = ": ".join(part for part in ("+".join(facts.states), facts.reason) if part) if unusable else ""
    has = () if is_absent(facts.states) else gres.parse_gres(facts.gres)
    models = gres.capacity(has) or {"": 0}
    slots = gres.slot_shares(facts.gres) if has else {}
    for model, milligpu in models.items():
        yield Node(
            key=NodeKey(Scheduler.SLURM, cluster, facts.name),
            milligpu=milligpu,
            up=not unusable,
            model=model,
            reason=reason,
            hostnames=_hostnames(facts.hostname, facts.comment),
            slots=slots.get(model, ()),
        )


def is_absent(states: Collection[str]) -> bool:
    """Whether a node is no machine now, so that its cards are nobody's: one of State=FUTURE, or one of State=CLOUD that
    is powered down. A site's own machine that is powered down is there, and down.
    """
    return not ABSENT.isdisjoint(states) or {"CLOUD", "POWERED_DOWN"} <= set(states)


def state_words(state: str) -> list[str]:
    """``IDLE*+DRAIN`` -> [IDLE, NOT_RESPONDING, DRAIN]."""
    base, *flags = state.split("+")
    suffixes = [SUFFIXES[char] for char in base if char in SUFFIXES]
    return [base.rstrip("".join(SUFFIXES) + "@-"), *suffixes, *flags]


def _hostnames(hostname: str, comment: str) -> tuple[str, ...]:
    """Other names of the machine: NodeHostName, and the Kubernetes node that Slinky's operator wrote in the comment,
    which may go on with other words.
    """
    names = [hostname] if hostname else []
    if comment.startswith("{"):
        try:
            told, _ = json.JSONDecoder().raw_decode(comment)
        except (ValueError, RecursionError):
            told = {}
        node = told.get("node")
        if isinstance(node, str) and node and "podName" in told:
            names.append(node)
    return tuple(dict.fromkeys(names))


def _first(pattern: re.Pattern[str], line: str) -> str:
    found = pattern.search(line)
    return found[1] if found else ""
