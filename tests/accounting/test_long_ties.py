"""What a key ties to a claim that goes over a midnight is in the mark of the days of that claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, Engine, update

from accounting.evidence.ties.long_ties import tied_beyond
from accounting.intake.identities import HISTORY, put_jobs
from accounting.intake.live.sightings import Seen, _take_splits
from accounting.intake.records import keep
from accounting.intake.versions import version_of_claim, version_of_record
from accounting.model import DAY
from accounting.store.columns import columns
from accounting.store.database import read, write
from accounting.store.tables import jobs
from exporters.model import Claim, Job, LinkKey, LinkKind, Record
from tests.accounting.told import FIRST
from tests.exporters.records import made_by, pod, run

NIGHT = FIRST + DAY
LATER = FIRST + 5 * DAY + 40_000
"""Days after the night that a long claim goes over."""

SHORT = (LATER, LATER + 600)
LONG = (NIGHT - 3600, NIGHT + 3600)
POD = pod("mine", 1000, *SHORT, node="n1")
NAMED = LinkKey(LinkKind.SAME, "", POD.native_id, "AdminComment")

WORLDS: dict[str, tuple[Claim, Claim]] = {
    "a pod that names its run": (
        pod("mine", 1000, *LONG, made_by(7), node="n1"),
        run(7, 1000, *SHORT, node="n1-slurm"),
    ),
    "a run that names its pod": (replace(run(7, 1000, *LONG, node="n1-slurm"), keys=(NAMED,)), POD),
    "a run that a pod names": (
        run(7, 1000, *LONG, node="n1-slurm"),
        pod("mine", 1000, *SHORT, made_by(7), node="n1"),
    ),
}
"""A claim that goes over a midnight, and the one that is tied to it."""


def told(connection: Connection, claim: Claim, account: str = "", seen_at: int = LATER) -> None:
    job = Job(claim.job, claim.native_id, "", "", "", account, "", start=claim.start, end=claim.end)
    if claim.job.scheduler == "slurm":
        record = Record("sacct", repr((claim, account)), job, (claim,))
        keep(connection, [version_of_record(record, "hpc1")], seen_at)
    else:
        put_jobs(connection, [job], HISTORY, seen_at)
        keep(connection, [version_of_claim(claim, "pods", "prod")], seen_at)


def digest(engine: Engine, a: int = FIRST, b: int = FIRST + 6 * DAY) -> int:
    with read(engine) as connection, columns(connection) as tables:
        return tied_beyond(tables, a, b).digest(NIGHT, NIGHT + DAY)


def another_account(connection: Connection, tied: Claim) -> None:
    told(connection, tied, "vision", LATER + 1)


def labels(connection: Connection, tied: Claim) -> None:
    connection.execute(update(jobs).where(jobs.c.run == tied.job.id).values(labels='{"team":"vision"}'))


def another_start(connection: Connection, tied: Claim) -> None:
    connection.execute(update(jobs).where(jobs.c.run == tied.job.id).values(start_at=LATER - 60))


def exact_split(connection: Connection, tied: Claim) -> None:
    claim = replace(tied, indices=(0,))
    _take_splits(connection, {claim.job: [claim]}, Seen(), LATER)


def one_more_claim(connection: Connection, tied: Claim) -> None:
    told(connection, replace(tied, unit=f"{tied.unit}-more", start=LATER + 60), seen_at=LATER + 1)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("news", [another_account, labels, another_start, exact_split, one_more_claim])
def test_whatever_is_told_of_what_is_tied_to_a_long_claim_is_seen_in_its_days(
    engine: Engine, world: str, news: Callable[[Connection, Claim], None]
) -> None:
    long, tied = WORLDS[world]
    with write(engine) as connection:
        told(connection, long)
        told(connection, tied)
    before = digest(engine)
    with write(engine) as connection:
        told(connection, run(99, 1000, *SHORT, node="n1-slurm"))
    beside = digest(engine)
    with write(engine) as connection:
        news(connection, tied)

    assert 0 != before == beside
    assert digest(engine) not in (0, before)


def test_only_claims_of_the_days_in_question_are_asked_for(engine: Engine) -> None:
    long, tied = WORLDS["a pod that names its run"]
    with write(engine) as connection:
        told(connection, long)
        told(connection, tied)

    spans = [(FIRST, NIGHT), (NIGHT, NIGHT + DAY), (FIRST, NIGHT - 3600), (NIGHT + 3600, NIGHT + DAY)]
    with read(engine) as connection, columns(connection) as tables:
        assert [1, 1, 0, 0] == [len(tied_beyond(tables, a, b).others) for a, b in spans]
