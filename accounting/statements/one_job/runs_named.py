"""Which run of a job somebody means, and what the ledger has of it: read by indexes, whatever the ledger's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, ColumnElement, Connection, Float, cast, func, or_, select

from accounting.statements.usage import MEASURES
from accounting.store.tables import PODS, claims, jobs, node_days, nodes, postings, records, telemetry, transactions
from exporters.model import NodeKey, Scheduler

MOST = 10
"""Runs that are read where several are meant."""

MORE_MEASURES = ("tensor_seconds", "nvlink_transmit_bytes", "nvlink_receive_bytes")
"""What is measured of a run, and on no line."""

_J, _C, _R, _N, _P, _D, _M = jobs.c, claims.c, records.c, nodes.c, postings.c, node_days.c, telemetry.c
Resolve = Callable[[NodeKey, int], str]
"""The machine that a node was at a moment."""


@dataclass(frozen=True, slots=True)
class RunNamed:
    """A run as the ledger knows it; times are epoch seconds, None where nobody told them."""

    id: int
    scheduler: str
    cluster: str
    run: str
    native_id: str
    display_id: str
    name: str
    user: str
    account: str
    partition: str
    qos: str
    state: str
    submit: int | None
    start: int | None
    end: int | None

    @property
    def told(self) -> str:
        """As people write it, ``slurm/hpc1/1234@1790812500``: what names it and no other."""
        return f"{self.scheduler}/{self.cluster}/{self.run}"


_WORDS = (_J.native_id, _J.display_id, _J.name, _J.user_name, _J.account, _J.partition, _J.qos, _J.state)


def runs_named(connection: Connection, told: str) -> list[RunNamed]:
    """The runs that ``told`` names, the last first, at most `MOST`.

    ``SCHEDULER/CLUSTER/RUN`` names one. Else it is a native or display id, a run (``1234@1790812500``), or a pod
    (``NAMESPACE/NAME``). The number of an array names all its tasks: Slurm gives one of them the array's own number.
    """
    scheduler, _, rest = told.partition("/")
    cluster, _, run = rest.partition("/")
    if run and scheduler in {*Scheduler}:
        exact = (_J.scheduler == scheduler, _J.cluster == cluster, _J.run == run)
        if found := _runs(connection, *exact):
            return found
    named: list[ColumnElement[bool]] = [_J.native_id == told, _J.display_id == told, _J.run == told]
    if told.isdecimal():
        named += [func.substr(_J.display_id, 1, len(told) + 1) == told + mark for mark in "_+"]
    if "/" in told:
        pods = select(_R.job_id).join(claims, _C.record_id == _R.id).where(PODS, _C.native_id == told, _C.current)
        named.append(_J.id.in_(pods))
    return _runs(connection, or_(*named))


def _runs(connection: Connection, *where: ColumnElement[bool]) -> list[RunNamed]:
    query = select(_J.id, _J.scheduler, _J.cluster, _J.run, *_WORDS, _J.submit_at, _J.start_at, _J.end_at).where(*where)
    return [RunNamed(*list[Any](row)) for row in connection.execute(query.order_by(_J.id.desc()).limit(MOST))]


def months_of(connection: Connection, job: int) -> list[str]:
    """The billing months in which something of a run is booked, corrections included, or beside it as linked."""
    t = transactions.c
    query = select(t.period).join(postings, _P.transaction_id == t.id).where(_P.job_id == job)
    return sorted(set(connection.scalars(query.distinct())))


def places(connection: Connection, job: int, resolve: Resolve, now: int) -> pl.DataFrame:
    """A row for each machine and model of a run: ``machine``, ``gpu_model``, ``milligpu``, the most held at a time."""
    query = select(_N.scheduler, _N.cluster, _N.name, _C.model, _C.milligpu, _C.start_at, _C.end_at)
    query = query.select_from(records).join(claims, _C.record_id == _R.id).join(nodes, _N.id == _C.node_id)
    held: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for scheduler, cluster, name, model, milligpu, start, end in connection.execute(
        query.where(_R.job_id == job, _C.current, _C.job_id == job)
    ):
        machine = resolve(NodeKey(Scheduler(scheduler), cluster, name), start)
        held.setdefault((machine, model), []).append((start, now if end is None else end, milligpu))
    rows = [(machine, model, most_at_once(spans)) for (machine, model), spans in sorted(held.items())]
    return pl.DataFrame(rows, {"machine": pl.String, "gpu_model": pl.String, "milligpu": pl.Int64}, orient="row")


def most_at_once(spans: Sequence[tuple[int, int, int]]) -> int:
    """The most that spans ``(start, end, quantity)`` hold at one moment; what has no length holds as well.

    >>> most_at_once([(0, 10, 4000), (10, 20, 2000), (15, 20, 1000)])
    4000
    """

    def changes() -> Iterator[tuple[int, int]]:
        for start, end, quantity in spans:
            yield start, quantity
            yield max(end, start + 1), -quantity

    now = most = 0
    for _, change in sorted(changes()):
        now += change
        most = max(most, now)
    return most


def measured_on(connection: Connection, job: int) -> pl.DataFrame:
    """A row for each machine of a run: ``machine``, ``held`` (booked, milliGPU-seconds) and what was measured there."""
    held = select(_D.machine, cast(func.sum(_P.held), BigInteger)).join(
        postings, _P.transaction_id == _D.transaction_id
    )
    booked = connection.execute(held.where(_P.job_id == job).group_by(_D.machine)).all()
    names = (*MEASURES, *MORE_MEASURES)
    sums = [cast(func.sum(_M[name]), Float) for name in names]
    told = connection.execute(select(_M.machine, *sums).where(_M.job_id == job).group_by(_M.machine)).all()
    there = pl.DataFrame([*map(tuple, booked)], {"machine": pl.String, "held": pl.Int64}, orient="row")
    seen = pl.DataFrame([*map(tuple, told)], {"machine": pl.String, **dict.fromkeys(names, pl.Float64)}, orient="row")
    found = there.join(seen, on="machine", how="full", coalesce=True)
    return found.with_columns(pl.col("held").fill_null(0)).sort("machine")
