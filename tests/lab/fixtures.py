"""The lab's servers as fixtures: session-scoped, started when first asked for. A test marks what it needs:

@pytest.mark.server("slurm")
def test_something(slurm_lab: SlurmLab) -> None: ...
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import servers
from tests.lab.alertmanager import Alertmanager, Webhook
from tests.lab.prometheus import Prometheus
from tests.lab.slurm import SlurmLab
from tests.lab.slurm_config import NodeGroup

SLURM_GROUPS = (
    NodeGroup(4, {"h100": 8}),
    NodeGroup(1, {"a100": 4, "1g.10gb": 7}, prefix="mx"),
    NodeGroup(1, {}, prefix="cn"),
)


@pytest.fixture(scope="session")
def slurm_lab() -> Iterator[SlurmLab]:
    """A cluster ``lab``: gn01-gn04 with 8 h100, mx01 with 4 a100 and 7 MIG slices, cn01 without GPUs.

    Accounts vision (alice, bob), nlp (carol) and theory (dave); QOS ``urgent`` preempts ``normal``.
    """
    servers.require("slurm")
    root = Path(tempfile.mkdtemp(prefix="slurm-lab-"))
    with SlurmLab(root, groups=SLURM_GROUPS) as lab:
        lab.seed(
            {"vision": ["alice", "bob"], "nlp": ["carol"], "theory": ["dave"]},
            {"urgent": ["Priority=1000", "Preempt=normal"]},
        )
        yield lab


@pytest.fixture(scope="session")
def prometheus() -> Iterator[Prometheus]:
    """A Prometheus that scrapes nothing yet: each test adds a job of its own name with ``prometheus.scrape``."""
    servers.require("prometheus")
    with tempfile.TemporaryDirectory(prefix="prometheus-lab-") as root, Prometheus(Path(root)) as lab:
        yield lab


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    """A receiver of notifications."""
    with Webhook() as receiver:
        yield receiver


@pytest.fixture
def alertmanager(webhook: Webhook) -> Iterator[Alertmanager]:
    """An Alertmanager that notifies ``webhook`` of each alert at once."""
    servers.require("alertmanager")
    with (
        tempfile.TemporaryDirectory(prefix="alertmanager-lab-") as root,
        Alertmanager(Path(root), webhook.url) as lab,
    ):
        yield lab
