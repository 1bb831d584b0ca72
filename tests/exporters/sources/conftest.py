"""What tests of several sources share: the played story of the Slurm lab, and a fake Kubernetes cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from exporters.sources.kubernetes.pods import Pods
from tests.lab.jobs import Story, play
from tests.lab.kube_fake import NODE_PATH, KubeFake, node
from tests.lab.slurm import SlurmLab


@pytest.fixture(scope="session")
def story(slurm_lab: SlurmLab) -> Iterator[Story]:
    """One job of every kind, as real Slurm ran them. `tests.lab.jobs` tells what happens."""
    played = play(slurm_lab)
    yield played
    slurm_lab.run("scancel", played.ids["running"])


@pytest.fixture
def kube() -> Iterator[KubeFake]:
    """A Kubernetes API server with one node ``n`` of 8 cards."""
    with KubeFake() as server:
        server.put(NODE_PATH, node("n"))
        yield server


@pytest.fixture
def make_pods(kube: KubeFake) -> Iterator[Callable[..., Pods]]:
    """Makes sources of that server, quick to retry and with a clock that stands at 5000."""
    made: list[Pods] = []

    def make(**settings: Any) -> Pods:
        settings = {"pause": 0.01, "clock": lambda: 5000.0, "start_timeout": 10.0, **settings}
        made.append(Pods("k", api_client=kube.client(), **settings))
        return made[-1]

    yield make
    for source in made:
        source.close()


@pytest.fixture
def pods(make_pods: Callable[..., Pods]) -> Pods:
    """A source of that server."""
    return make_pods()
