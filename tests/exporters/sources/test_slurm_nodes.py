"""Nodes as scontrol tells them: which take work, what they have, and which machine they are."""

from __future__ import annotations

import pytest

from exporters.model import Node, Reject
from exporters.sources.slurm.live.node_text import read_nodes, state_words

NODE = "NodeName=gn01 Gres=gpu:h100:8 NodeAddr=n1 NodeHostName=n1.site State=MIXED ThreadsPerCore=1 Partitions=all"


def nodes(*lines: str) -> list[Node | Reject]:
    return list(read_nodes("\n".join(lines) + "\n", "hpc1"))


@pytest.mark.parametrize(
    ("state", "up"),
    [
        ("IDLE", True),
        ("MIXED+COMPLETING", True),
        ("ALLOCATED+RESERVED", True),
        ("IDLE+CLOUD", True),
        ("IDLE+EXTERNAL+DYNAMIC_NORM", True),
        ("IDLE+PLANNED", True),
        ("IDLE-", True),
        ("MIXED+DRAIN", False),
        ("DOWN+NOT_RESPONDING", False),
        ("DOWN*+DRAIN", False),
        ("IDLE*", False),
        ("IDLE+CLOUD+POWERED_DOWN", False),
        ("IDLE~", False),
        ("IDLE+MAINTENANCE+RESERVED", False),
        ("IDLE+FAIL", False),
        ("IDLE+INVALID_REG", False),
        ("UNKNOWN", False),
        ("FUTURE", False),
        ("IDLE+REBOOT_ISSUED", False),
    ],
)
def test_a_node_is_up_when_it_takes_work(state: str, up: bool) -> None:
    [node] = nodes(NODE.replace("State=MIXED", f"State={state}"))

    assert isinstance(node, Node)
    assert (up, bool(node.reason)) == (node.up, not up)


def test_old_suffixes_are_words() -> None:
    assert ["DOWN", "NOT_RESPONDING", "DRAIN"] == state_words("DOWN*+DRAIN")


def test_free_texts_do_not_pass_for_fields() -> None:
    reason = "Reason=swap State=IDLE Gres=gpu:100 NodeName=x\nsecond | line [root@2026-10-01T00:00:00]"
    [node] = nodes(f"{NODE.replace('MIXED', 'DOWN')} {reason} Comment=no Gres=gpu:9 Extra=x")

    assert isinstance(node, Node)
    assert ("gn01", 8000, "h100") == (node.key.name, node.milligpu, node.model)
    assert node.reason.startswith("DOWN: swap State=IDLE Gres=gpu:100 NodeName=x\nsecond | line")


@pytest.mark.parametrize(
    ("comment", "hostnames"),
    [
        ('{"namespace":"slurm","podName":"w-0","node":"k8s-7"}', ("n1.site", "k8s-7")),
        ('{"namespace":"slurm","podName":"w-0","node":"n1.site"}', ("n1.site",)),
        ('{"node":"k8s-7"}', ("n1.site",)),
        ('{"podName":"w-0","node":7}', ("n1.site",)),
        ("{broken", ("n1.site",)),
        ("plain text", ("n1.site",)),
    ],
)
def test_a_slinky_node_tells_its_kubernetes_node(comment: str, hostnames: tuple[str, ...]) -> None:
    [node] = nodes(f"{NODE} Comment={comment} Extra=x")

    assert isinstance(node, Node)
    assert hostnames == node.hostnames


def test_nodes_that_cannot_be_are_rejected_and_the_rest_goes_on() -> None:
    state, cards = NODE.replace("MIXED", "DREAMING"), NODE.replace("gpu:h100:8", "gpu:h100:8(S:0")
    found = nodes("warning: clock", state, cards, NODE)

    assert [Reject, Reject, Reject, Node] == [type(item) for item in found]
    assert "no NodeName" in found[0].reason
    assert "unknown node state 'DREAMING'" in found[1].reason
    assert "not a GRES list" in found[2].reason


@pytest.mark.parametrize(
    ("state", "milligpu"),
    [
        ("FUTURE", 0),
        ("IDLE+DYNAMIC_FUTURE", 0),
        ("IDLE+CLOUD+POWERED_DOWN", 0),
        ("IDLE+CLOUD+POWERING_DOWN", 8000),
        ("ALLOCATED+CLOUD+POWERING_UP", 8000),
        ("IDLE+POWERED_DOWN", 8000),
        ("IDLE+CLOUD", 8000),
        ("DOWN", 8000),
    ],
)
def test_a_node_that_is_not_there_has_no_cards(state: str, milligpu: int) -> None:
    [node] = nodes(NODE.replace("State=MIXED", f"State={state}"))

    assert isinstance(node, Node)
    assert milligpu == node.milligpu
