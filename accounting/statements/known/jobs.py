"""What is known of jobs in words, by their ids in the ledger: asked for when it is to be printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl
from sqlalchemy import Engine, Select, select

from accounting.statements.categories import ordered
from accounting.statements.known.held import held_facts, is_held
from accounting.store.columns import Columns, among, columns
from accounting.store.database import LedgerError, read
from accounting.store.tables import jobs

JOB = ("scheduler", "cluster", "run", "job_name", "user", "account", "partition", "qos", "state")
"""What is known of a job in words; ``run`` is the id of its `exporters.model.JobKey`."""

IDENTITY = ("scheduler", "cluster", "run")
"""Those of them that name it."""

FEW = ("scheduler", "cluster", "user", "account", "partition", "qos", "state")
"""Those of them of which many jobs have the same."""


class Words(Protocol):
    """What is known of jobs."""

    def __call__(self, ids: pl.Series, names: Sequence[str] = JOB) -> pl.DataFrame:
        """``names`` of `JOB` of some jobs, a row for each id in their order; all empty for 0, which is nobody.

        Facts of `accounting.statements.known.held` are told, too, where they were asked for.
        Raises `LedgerError` for a job that is not there.
        """
        ...

    def at_once(self, ids: pl.Series) -> Words:
        """The same for whoever is going to ask for all of these jobs, piece by piece."""
        ...


_J = jobs.c
_TOLD = (
    _J.id,
    _J.scheduler,
    _J.cluster,
    _J.run,
    _J.name.label("job_name"),
    _J.user_name.label("user"),
    _J.account,
    _J.partition,
    _J.qos,
    _J.state,
)
_TOGETHER = 100_000
"""Jobs that are asked for at once."""

_DENSE = 2
"""So many ids to one that is wanted, and all between the first and the last are read."""


@dataclass(frozen=True, slots=True)
class Known:
    """Jobs of which everything is in memory: a table of ``id`` (ascending, 0 is nobody) and `JOB`."""

    table: pl.DataFrame

    def __call__(self, ids: pl.Series, names: Sequence[str] = JOB) -> pl.DataFrame:
        """``names`` of `JOB` of some jobs."""
        known = self.table["id"]
        places = known.search_sorted(ids)
        lost = ids.filter(known.gather(places.clip(upper_bound=len(known) - 1)) != ids)
        if len(lost):
            raise LedgerError(f"no job {lost[0]}, of which something is booked: see meterbridge check")
        return self.table.select(names)[places]

    def at_once(self, ids: pl.Series) -> Words:  # noqa: ARG002 - all are here already
        """The same."""
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """Jobs that are read from a ledger when they are asked for."""

    engine: Engine

    def __call__(self, ids: pl.Series, names: Sequence[str] = JOB) -> pl.DataFrame:
        """``names`` of `JOB` of some jobs, or of what they held."""
        held = [*filter(is_held, names)]
        if not held:
            return self.at_once(ids)(ids, names)
        with read(self.engine) as connection, columns(connection) as ledger:
            return known(ledger, ids, held)(ids, names)

    def at_once(self, ids: pl.Series) -> Words:
        """All of them, read in the order of the table."""
        with read(self.engine) as connection, columns(connection) as ledger:
            return known(ledger, ids)


def known(ledger: Columns, ids: pl.Series, held: Sequence[str] = ()) -> Known:
    """Read what is known of some jobs, in any order and with any repeated; ``held`` are facts of what they held."""
    wanted = ids.filter(ids > 0).unique().sort()
    nobody = pl.DataFrame({"id": [0]}).with_columns(pl.lit("").alias(name) for name in JOB)
    parts = [_coded(nobody)]
    for table in ledger.tables(_queries(ledger, wanted)):
        found: Any = pl.from_arrow(table)
        parts.append(_coded(found))
    every = pl.concat(parts)
    every = every if every["id"].is_sorted() else every.sort("id")
    if held:
        some = (wanted[n : n + _TOGETHER].to_list() for n in range(0, len(wanted), _TOGETHER))
        facts = pl.concat([held_facts(ledger, [], held), *(held_facts(ledger, numbers, held) for numbers in some)])
        every = every.join(facts, on="id", how="left", maintain_order="left")
        every = every.with_columns(pl.col(name).fill_null("") for name in held)
    return Known(every.with_columns(ordered(every[name]) for name in FEW))


def _coded(found: pl.DataFrame) -> pl.DataFrame:
    return found.with_columns(pl.col(name).cast(pl.Categorical) for name in FEW)


def _queries(ledger: Columns, wanted: pl.Series) -> Iterator[Select[Any]]:
    """What reads those jobs, in the order of the table: each of its pages once."""
    for n in range(0, len(wanted), _TOGETHER):
        some = wanted[n : n + _TOGETHER]
        first, last = some[0], some[-1]
        if last - first < _DENSE * len(some):
            yield select(*_TOLD).where(_J.id >= first, _J.id <= last)
        else:
            yield select(*_TOLD).where(among(_J.id, some.to_list(), ledger.connection.dialect.name))
