"""``scontrol -d -o show node``, read into nodes. Pure. The same text in every release, about 700 bytes a node:

    NodeName=gn01 ... Gres=gpu:h100:8 ... NodeHostName=n1 ... State=MIXED+DRAIN ... Reason=bad fan [root@...]

Only administrators write the free texts in it, and they come after the fields that Slurm writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from exporters.model import Node, NodeKey, Reject, Scheduler
from exporters.sources.slurm import gres
from exporters.sources.slurm.live import RECORD_LIMIT, SOURCE

_FIELD = {
    name: re.compile(rf"(?:^| ){name}=(\S*)") for name in ("NodeName", "Gres", "NodeHostName", "NodeAddr", "State")
}
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

SUFFIXES = {
    "*": "NOT_RESPONDING", "~": "POWERED_DOWN", "#": "POWERING_UP", "!": "POWER_DOWN", "%": "POWERING_DOWN",
    "$": "MAINTENANCE", "^": "REBOOT_ISSUED",
}  # fmt: skip
"""How releases before 21.08 write some of them: ``DOWN*``."""


def read_nodes(text: str, cluster: str) -> Iterator[Node | Reject]:
    """Every node: one `Node` per card model (all with the node's key), one with milliGPU 0 for a node without cards."""
    for line in _lines(text):
        try:
            yield from _read(line, cluster)
        except ValueError as error:
            yield Reject(SOURCE, line[:RECORD_LIMIT], f"a node that does not read: {error}")


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
    if not values["NodeName"] or not values["State"]:
        raise ValueError("it has no NodeName or no State")
    words = state_words(values["State"])
    unusable = [word for word in words if word in UNUSABLE]
    if words[0] not in BASES:
        raise ValueError(f"unknown node state {values['State']!r}: does this Slurm release have a new one?")
    found = _REASON.search(line)
    said = found[1].strip() if found else ""
    reason = ": ".join(part for part in ("+".join(words), said) if part) if unusable else ""
    models = gres.capacity(gres.parse_gres(values["Gres"])) or {"": 0}
    for model, milligpu in models.items():
        yield Node(
            key=NodeKey(Scheduler.SLURM, cluster, values["NodeName"]),
            milligpu=milligpu,
            up=not unusable,
            model=model,
            reason=reason,
            hostnames=_hostnames(values["NodeHostName"], line),
        )


def state_words(state: str) -> list[str]:
    """``IDLE*+DRAIN`` -> [IDLE, NOT_RESPONDING, DRAIN]."""
    base, *flags = state.split("+")
    suffixes = [SUFFIXES[char] for char in base if char in SUFFIXES]
    return [base.rstrip("".join(SUFFIXES) + "@-"), *suffixes, *flags]


def _hostnames(hostname: str, line: str) -> tuple[str, ...]:
    """Other names of the machine: NodeHostName, and the Kubernetes node that Slinky's operator wrote in the comment."""
    names = [hostname] if hostname else []
    at = line.find(" Comment={")
    if at >= 0:
        try:
            comment, _ = json.JSONDecoder().raw_decode(line, at + len(" Comment="))
        except ValueError:
            comment = {}
        node = comment.get("node")
        if isinstance(node, str) and node and "podName" in comment:
            names.append(node)
    return tuple(dict.fromkeys(names))


def _first(pattern: re.Pattern[str], line: str) -> str:
    found = pattern.search(line)
    return found[1] if found else ""
