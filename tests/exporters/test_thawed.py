"""Frozen values made at the price of plain ones: nobody can tell them from the others."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from exporters.model import Claim, Job, JobKey, NodeKey, Record, Scheduler
from exporters.thawed import thawed

KEY = JobKey(Scheduler.SLURM, "c", "7@100")
CLAIM = (KEY, "7@100", NodeKey(Scheduler.SLURM, "c", "n1"), 2000, 100, None, "h100")
JOB = (KEY, "7", "7", "train", "alice", "vision", "all")


def test_what_is_made_is_what_the_class_makes() -> None:
    claim, job = thawed(Claim)(*CLAIM), thawed(Job)(*JOB)

    assert (Claim(*CLAIM), Job(*JOB)) == (claim, job)
    assert (Claim, Job) == (type(claim), type(job))
    assert (repr(Claim(*CLAIM)), hash(Claim(*CLAIM))) == (repr(claim), hash(claim))
    assert Claim(*CLAIM) == pickle.loads(pickle.dumps(claim))
    assert replace(job, state="RUNNING") == Job(*JOB, state="RUNNING")


def test_it_is_frozen() -> None:
    claim = thawed(Claim)(*CLAIM)

    with pytest.raises(FrozenInstanceError):
        claim.milligpu = 1  # type: ignore[misc]


def test_defaults_are_those_of_the_class_and_nobody_shares_them() -> None:
    one, other = (thawed(Job)(*JOB) for _ in range(2))

    assert ({}, {}) == (one.labels, other.labels)
    assert one.labels is not other.labels
    assert Record("sacct", "raw", one) == thawed(Record)("sacct", "raw", one)


def test_a_class_that_does_more_than_keep_its_fields_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Checked:
        count: int = field(default=0)

        def __post_init__(self) -> None:
            raise ValueError("never")

    @dataclass(frozen=True)
    class Open:
        count: int = 0

    for odd in (Checked, Open, len):
        with pytest.raises(TypeError, match="not a plain dataclass with slots"):
            thawed(odd)
