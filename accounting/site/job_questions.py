"""What is asked of one run of a job: from the statements' own lines."""

from __future__ import annotations

from sqlalchemy import Engine

from accounting.site import book
from accounting.statements.one_job.job_facts import Facts, job_facts, of_run
from accounting.statements.one_job.runs_named import MOST, RunNamed, measured_on, months_of, places, runs_named
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError, read
from exporters.config import Config
from exporters.errors import EXIT_USAGE
from exporters.model import NodeKey


class JobError(LedgerError):
    """What was given names no run of a job, or more than one."""

    exit_code = EXIT_USAGE


def job(config: Config, told: str, now: int) -> Facts:
    """Everything that the ledger has of one run. Raises `JobError` as `run_named` does."""
    with book.opened(config) as engine:
        return told_of(config, engine, run_named(engine, told), now)


def run_named(engine: Engine, told: str) -> RunNamed:
    """The run that somebody means. Raises `JobError` for none, and for several: it names them."""
    with read(engine) as connection:
        found = runs_named(connection, told)
    if not found:
        raise JobError(
            f"no job {told!r} in the ledger: give the scheduler's id, RUN@SUBMIT, NAMESPACE/POD, or"
            " SCHEDULER/CLUSTER/RUN; meterbridge ingest reads what is not known yet"
        )
    if len(found) > 1:
        some = ", ".join(f"{run.told} ({run.display_id or run.native_id}, {run.state or 'seen'})" for run in found)
        more = " and maybe more" if len(found) == MOST else ""
        raise JobError(f"{told!r} is more than one job: {some}{more}; give one of them as it is written here")
    return found[0]


def told_of(config: Config, engine: Engine, run: RunNamed, now: int) -> Facts:
    """The facts of a run: of every month that it is booked in, at that month's prices."""
    where = book.machines(config, engine)

    def machine(node: NodeKey, at: int) -> str:
        return where.resolve(node, at, at + 1)[0][0]

    with read(engine) as connection:
        months = months_of(connection, run.id)
        held = places(connection, run.id, machine, now)
        seen = measured_on(connection, run.id)
    there = []
    for name in months:
        period = period_named(name, book.zone(config))
        there.append(of_run(book.statement(config, engine, period), run.id))
    return job_facts(run, there, held, seen, now)
