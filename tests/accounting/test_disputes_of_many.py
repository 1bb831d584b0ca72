"""Disputes among more than two, from the ledger and back into it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from accounting.evidence.rulings import in_force
from accounting.ledger.disputes import State, disputes, rule
from accounting.store.database import LedgerError, read
from exporters.model import Job
from tests.accounting.readings import live
from tests.accounting.site import T0, kn, node, pod, pod_job, workload
from tests.accounting.test_reconciling import settle

NAMES = ("a", "b", "c")
PARTIES = tuple(workload(name) for name in NAMES)


def project(job: Job, at: float) -> str:
    return "vision"


def three(engine: Engine) -> None:
    claims = [pod(name, 1, T0 + 10 * n, None, 8) for n, name in enumerate(NAMES)]
    for at in (T0, T0 + 100):
        live(engine, at, nodes=[node(kn(1))], claims=claims, jobs=[pod_job(name) for name in NAMES])
    settle(engine, T0 + 100)


def test_a_dispute_among_three_lists_them_all(engine: Engine) -> None:
    three(engine)

    found = disputes(engine, project)

    assert [(PARTIES, 80 * 8000), (PARTIES[:2], 10 * 8000)] == [
        (tuple(p.job.key for p in d.parties), d.quantity) for d in found
    ]


def test_it_is_ruled_to_any_of_them_and_then_is_ruled(engine: Engine) -> None:
    three(engine)
    name = disputes(engine, project)[0].name
    rule(engine, name, "vision/Job/b", author="ada", why="they agreed", now=T0 + 100, projects=project)
    settle(engine, T0 + 100)

    told = {d.name: d for d in disputes(engine, project)}[name]
    with read(engine) as connection:
        [ruling] = in_force(connection)["gn01"]

    assert (State.RULED, 80 * 8000, PARTIES) == (told.state, told.quantity, tuple(p.job.key for p in told.parties))
    assert (PARTIES, PARTIES[1]) == (ruling.parties, ruling.to)


def test_it_is_ruled_to_nobody_else(engine: Engine) -> None:
    three(engine)
    name = disputes(engine, project)[0].name

    with pytest.raises(
        LedgerError, match="rule to kubernetes/kube/uid-a or kubernetes/kube/uid-b or kubernetes/kube/uid-c"
    ):
        rule(engine, name, "vision/Job/d", author="ada", why="so", now=T0 + 100, projects=project)
