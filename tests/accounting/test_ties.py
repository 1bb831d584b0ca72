"""What a Slurm run's AdminComment says of pods holds whichever days the two are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Engine, or_, select

from accounting.evidence.claim_reader import QUERY, Reader
from accounting.evidence.node_facts import node_keys
from accounting.evidence.ties.day_ties import tied_rows
from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.store.columns import columns
from accounting.store.database import read
from accounting.store.tables import PODS, claims
from exporters.model import Claim, LinkKey, LinkKind, NodeKey, Record
from exporters.recorder import Round, SourceReading
from tests.accounting.naive import node_days
from tests.accounting.site import DAY, T0, History, ended, gn, kn, node, pod, pod_job

SECOND = (T0 + DAY, T0 + 2 * DAY)


def naming(record: Record, *pods: str, cluster: str = "") -> Record:
    """The same run, whose AdminComment names pods."""
    keys = tuple(LinkKey(LinkKind.SAME, cluster, name, f"AdminComment names pod {name}") for name in pods)
    return replace(record, claims=tuple(replace(claim, keys=keys) for claim in record.claims))


def book(engine: Engine, *runs: Record, pods: Sequence[Claim]) -> None:
    """Pods that were seen to end, and runs that accounting tells of."""
    nodes = [node(gn(1)), node(kn(1))]
    jobs = [pod_job(claim.native_id.partition("/")[2]) for claim in pods]
    recorder = LedgerRecorder(engine)
    reading = SourceReading("pods", "kube", T0, jobs=jobs, nodes=nodes)
    recorder.record(Round(T0, [reading], [], []))
    recorder.record(Round(T0 + 600, [replace(reading, polled_at=T0 + 600, ended=list(pods))], [], []))
    ingest_history(engine, History(runs), now=T0 + 3 * DAY, start=T0)


def same_name(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
    return [(key.name, start, end)]


def by_day(engine: Engine, a: int, b: int) -> set[str]:
    """Names of the claims that one day is made from, and of those tied to it."""
    return {c.native_id for d in node_days(engine, a, b, same_name) for c in d.claims}


def by_columns(engine: Engine, a: int, b: int) -> set[str]:
    with read(engine) as connection, columns(connection) as tables:
        reader = Reader(node_keys(connection))
        here = QUERY.where(claims.c.start_at < b, or_(claims.c.end_at > a, claims.c.end_at.is_(None)))
        rows = reader.read(tables, here)
        return {*rows.native, *tied_rows(tables, reader, rows, a, b).native}


def test_a_pod_of_another_day_that_a_run_names_is_in_the_runs_day(engine: Engine) -> None:
    early = pod("early", 1, T0 + 10, T0 + DAY - 20)
    run = naming(ended(1, T0 + 5, T0 + DAY + 600), "vision/early")
    book(engine, run, pods=[early, pod("other", 1, T0 + 10, T0 + DAY - 20)])

    assert {"1", "vision/early"} == by_day(engine, *SECOND)
    assert {"1", "vision/early"} == by_columns(engine, *SECOND)


def test_a_run_of_another_day_that_names_a_pod_is_in_the_pods_day(engine: Engine) -> None:
    late = pod("late", 1, T0 + DAY - 100, T0 + DAY + 60)
    run, other = naming(ended(5, T0 + 5, T0 + DAY - 20), "vision/late"), ended(6, T0 + 5, T0 + DAY - 20)
    book(engine, run, other, pods=[late])

    assert {"5", "vision/late"} == by_day(engine, *SECOND)
    assert {"5", "vision/late"} == by_columns(engine, *SECOND)


def test_a_name_that_was_used_again_at_another_time_ties_nothing(engine: Engine) -> None:
    before, long_before = (pod("again", 1, start, start + 60) for start in (T0 + DAY - 3000, T0 + 10))
    run = naming(ended(1, T0 + DAY + 5, T0 + DAY + 600), "vision/again")
    book(engine, run, pods=[long_before, replace(before, unit="pod-again-2")])

    assert {(T0 + DAY - 3000), T0 + DAY + 5} == {
        c.start for d in node_days(engine, *SECOND, same_name) for c in d.claims
    }
    assert {"1", "vision/again"} == by_columns(engine, *SECOND)


def test_a_name_that_is_said_of_another_cluster_or_by_a_pod_ties_nothing(engine: Engine) -> None:
    early = pod("early", 1, T0 + 10, T0 + DAY - 20)
    elsewhere = naming(ended(1, T0 + 5, T0 + DAY + 600), "vision/early", cluster="another")
    namesake = pod("p", 1, T0 + 5, T0 + DAY + 600, keys=[LinkKey(LinkKind.SAME, "", "vision/early")])
    book(engine, elsewhere, pods=[early, namesake])

    assert {"1", "vision/p"} == by_day(engine, *SECOND)
    assert {"1", "vision/p"} == by_columns(engine, *SECOND)


def test_a_run_and_its_pod_that_name_each_other_are_told_once(engine: Engine) -> None:
    late = pod("late", 1, T0 + DAY - 100, T0 + DAY + 60, keys=[LinkKey(LinkKind.SAME, "lab", "5")])
    book(engine, naming(ended(5, T0 + 5, T0 + DAY - 20), "vision/late"), pods=[late])

    [day] = node_days(engine, *SECOND, same_name)
    assert ["5", "vision/late"] == sorted(c.native_id for c in day.claims)
    with read(engine) as connection, columns(connection) as tables:
        reader = Reader(node_keys(connection))
        rows = reader.read(tables, QUERY.where(claims.c.end_at > T0 + DAY))
        assert ["5"] == tied_rows(tables, reader, rows, *SECOND).native.tolist()


def test_pods_are_found_by_their_names_in_an_index(engine: Engine) -> None:
    query = select(claims.c.id).where(claims.c.native_id.in_(["vision/a", "vision/b"]), PODS)
    asked = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
    with read(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[connection.dialect.name]
        told = " ".join(str(row) for row in connection.exec_driver_sql(f"{explain} {asked}"))

    assert "ix_claims_native_id" in told
