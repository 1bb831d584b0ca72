"""The played story of the Slurm lab, shared by the tests of both Slurm sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.jobs import Story, play
from tests.lab.slurm import SlurmLab


@pytest.fixture(scope="session")
def story(slurm_lab: SlurmLab) -> Iterator[Story]:
    """One job of every kind, as real Slurm ran them. `tests.lab.jobs` tells what happens."""
    played = play(slurm_lab)
    yield played
    slurm_lab.run("scancel", played.ids["running"])
