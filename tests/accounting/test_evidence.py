from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from accounting.evidence.node_facts import lenders, nodes_seen
from accounting.model import CapacityStretch, NodeDay
from accounting.store.calendar import segments
from exporters.model import Job, LinkKey, LinkKind, Node, NodeEvent, NodeKey, Record, Scheduler
from tests.accounting.conftest import NewLedger
from tests.accounting.naive import inputs_hash
from tests.accounting.readings import days, history, live, node_day, site_days, spans
from tests.accounting.site import (
    DAY,
    T0,
    ended,
    gn,
    held,
    kn,
    node,
    pod,
    run,
    running,
    slurm_job,
    without,
)


def test_a_node_day_holds_whole_claims_clipped_capacity_and_clipped_coverage(engine: Engine) -> None:
    live(engine, T0 - 600, nodes=[node(gn(1))])
    live(engine, T0 + 60, nodes=[node(gn(1))])  # before the second run: it is no runaway
    history(engine, ended(1, T0 - 500, T0 + 60), running(2, T0 + 70), now=T0 + 7200)
    [day] = days(engine)

    assert ("gn01", T0, T0 + DAY) == (day.machine, day.start, day.end)
    assert [(f"1@{T0}", "gn01", T0 - 500, T0 + 60), (f"2@{T0}", "gn01", T0 + 70, None)] == spans(day)
    assert (CapacityStretch(T0, T0 + DAY, Scheduler.SLURM, "lab", "gn01", "h100", 8000, up=True),) == day.capacity
    assert [(T0, T0 + 7200)] == [(c.start, c.end) for c in day.coverage]
    assert ((Scheduler.SLURM, "lab", T0 + 7200),) == day.known_until


def test_what_slurmctld_showed_is_no_evidence_of_what_history_will_say(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1)), node(kn(2))])
    live(engine, T0 + 600, nodes=[node(gn(1)), node(kn(2))])
    slurm, kube = days(engine)

    assert () == slurm.coverage
    assert [(T0, T0 + 600, "kube")] == [(c.start, c.end, c.cluster) for c in kube.coverage]


def test_claims_that_only_touch_the_day_are_not_in_it(engine: Engine) -> None:
    history(engine, ended(1, T0 - 50, T0), ended(2, T0 + DAY, T0 + DAY + 5), ended(3, T0 + 9, T0 + 9), now=T0 + 3 * DAY)

    assert [()] == [day.claims for day in days(engine)]


def test_days_come_by_date_and_then_by_machine_and_the_last_is_cut_at_the_end(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(2)), node(gn(1))])
    found = days(engine, T0 + 500, T0 + 2 * DAY + 30)

    assert [
        ("gn01", T0, T0 + DAY),
        ("gn02", T0, T0 + DAY),
        ("gn01", T0 + DAY, T0 + 2 * DAY),
        ("gn02", T0 + DAY, T0 + 2 * DAY),
        ("gn01", T0 + 2 * DAY, T0 + 2 * DAY + 30),
        ("gn02", T0 + 2 * DAY, T0 + 2 * DAY + 30),
    ] == [(d.machine, d.start, d.end) for d in found]


def test_a_day_is_cut_where_the_sites_month_begins() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    border = int(datetime(2026, 11, 1, tzinfo=kolkata).timestamp())
    last = border - border % DAY

    assert [(last, border), (border, last + DAY), (last + DAY, last + 2 * DAY)] == list(
        segments(last, last + DAY + 1, kolkata)
    )
    assert [(last, last + DAY)] == list(segments(last, last + DAY, UTC))


def test_node_days_follow_the_sites_months(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1))])
    border = int(datetime(2026, 11, 1, tzinfo=ZoneInfo("Asia/Kolkata")).timestamp())
    found = days(engine, border - 60, border + 60, zone=ZoneInfo("Asia/Kolkata"))

    assert [(border - border % DAY, border), (border, border + 60)] == [(d.start, d.end) for d in found]


def test_nodes_of_both_schedulers_on_one_machine_are_one_node_day(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1)), node(kn(1))], claims=[pod("a", 1, T0)])
    history(engine, ended(1, T0, T0 + 60))
    [day] = days(engine)

    assert {Scheduler.SLURM, Scheduler.KUBERNETES} == {c.job.scheduler for c in day.claims}
    assert {(Scheduler.SLURM, "gn01"), (Scheduler.KUBERNETES, "gn01")} == {(s.scheduler, s.node) for s in day.capacity}


def test_a_claim_on_a_node_that_moves_is_split_between_its_machines(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1))])
    history(engine, ended(1, T0 + 10, T0 + 100), running(2, T0 + 20))

    def moving(key: NodeKey, start: int, end: int) -> Sequence[tuple[str, int, int]]:
        return [
            (m, max(a, start), min(b, end))
            for m, a, b in (("x", 0, T0 + 50), ("y", T0 + 50, 1 << 62))
            if a < end and b > start
        ]

    x, y = days(engine, resolver=moving)

    assert [(f"1@{T0}", "gn01", T0 + 10, T0 + 50), (f"2@{T0}", "gn01", T0 + 20, T0 + 50)] == spans(x)
    assert [(f"1@{T0}", "gn01", T0 + 50, T0 + 100), (f"2@{T0}", "gn01", T0 + 50, None)] == spans(y)
    assert [(T0, T0 + 50), (T0 + 50, T0 + DAY)] == [(d.capacity[0].start, d.capacity[0].end) for d in (x, y)]


def test_a_claim_on_an_unknown_node_proves_its_cards(engine: Engine) -> None:
    history(engine, ended(1, T0, T0 + 60, nodes=(9,)))
    [day] = days(engine)
    proven = CapacityStretch(T0, T0 + 60, Scheduler.SLURM, "lab", "gn09", "h100", 1000, up=True, proven=True)

    assert ("gn09", (proven,)) == (day.machine, day.capacity)


def test_a_machine_without_cards_and_without_claims_is_no_node_day(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1), 0, model="")])

    assert [] == days(engine)


def test_projects_are_asked_for_the_day_or_the_start_of_the_run(engine: Engine) -> None:
    history(engine, ended(1, T0 - 50, T0 + 60), ended(2, T0 + 70, T0 + 90))
    asked: list[tuple[str, float]] = []

    def project(job: Job, at: float) -> str:
        asked.append((job.account, at))
        return job.account

    [day] = days(engine, projects=project)

    assert [("vision", T0), ("vision", T0 + 70)] == asked
    assert ((run(1), "vision"), (run(2), "vision")) == day.projects


def test_a_node_is_down_while_its_events_say_so_also_where_nobody_looked(engine: Engine) -> None:
    drained = NodeEvent(gn(1), T0 + 100, T0 + 200, up=False, reason="bad fan")
    history(engine, ended(1, T0 + 50, T0 + 60), events=[drained])
    live(engine, T0 + DAY, nodes=[node(gn(1))])
    [day] = days(engine)

    assert [(T0 + 50, T0 + 100, True, ""), (T0 + 100, T0 + 200, False, "bad fan"), (T0 + 200, T0 + DAY, True, "")] == [
        (s.start, s.end, s.up, s.reason) for s in day.capacity
    ]


def test_an_interval_still_open_lasts_to_the_end_of_its_sources_coverage(engine: Engine) -> None:
    live(engine, T0, nodes=[node(kn(1))], gap=60)
    live(engine, T0 + 50, nodes=[node(kn(1), up=False, reason="cordoned")], gap=60)
    live(engine, T0 + 80, nodes=[], gap=60)
    [day] = days(engine)

    assert [(T0, T0 + 50, True), (T0 + 50, T0 + 80, False)] == [(s.start, s.end, s.up) for s in day.capacity]


def test_between_a_pods_last_sighting_and_the_reading_that_missed_it_nobody_knows_its_node(engine: Engine) -> None:
    for at, claims in ((T0, [pod("a", 1, T0)]), (T0 + 50, [pod("a", 1, T0)]), (T0 + 80, []), (T0 + 110, [])):
        live(engine, at, nodes=[node(kn(1)), node(kn(2))], claims=claims, gap=60)
    one, other = days(engine)

    assert [(T0, T0 + 50)] == [(c.start, c.end) for c in one.claims]
    assert [(T0, T0 + 50), (T0 + 80, T0 + 110)] == [(s.start, s.end) for s in one.coverage]
    assert [(T0, T0 + 110)] == [(s.start, s.end) for s in other.coverage]


def test_resolvers_learn_nodes_and_lenders(engine: Engine) -> None:
    lender = pod("nodeset", 1, T0, cards=8, keys=[LinkKey(LinkKind.LENDS, "lab", "slinky-0", "label")])
    live(engine, T0, nodes=[node(kn(1)), node(kn(2), 4)], claims=[lender, pod("plain", 2, T0)])
    live(engine, T0 + 60, nodes=[node(kn(1), up=False, reason="cordoned"), node(kn(2), 4)], claims=[lender])
    history(engine, without(1), ended(2, T0, T0 + 5, nodes=(7,)))

    assert [lender] == lenders(engine)
    assert [
        Node(kn(1), 8000, up=False, model="h100", reason="cordoned", hostnames=("gn01",)),
        Node(kn(2), 4000, up=True, model="h100", hostnames=("gn02",)),
        Node(gn(7), 0, up=True),
    ] == nodes_seen(engine)


def test_reading_a_month_asks_the_database_a_bounded_number_of_times(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(n)) for n in range(40)])
    history(engine, *(ended(n, T0 + 9 * n, T0 + 9 * n + DAY, nodes=(n % 40,)) for n in range(200)), now=T0 + 5 * DAY)
    asked: list[str] = []

    def watch(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", watch)
    found = days(engine, T0, T0 + 5 * DAY)
    event.remove(engine, "before_cursor_execute", watch)

    assert 200 == len(found)
    assert len(asked) <= 10 + 5 * 10


def test_the_hash_of_a_day_depends_on_what_it_says_and_not_on_the_order() -> None:
    day = NodeDay("gn01", T0, T0 + DAY, (held(1, 1, T0, T0 + 5), held(2, 1, T0, None)), (), ())

    assert inputs_hash(day) == inputs_hash(replace(day, claims=day.claims[::-1]))
    assert inputs_hash(day) != inputs_hash(replace(day, claims=day.claims[:1]))
    assert inputs_hash(day) != inputs_hash(replace(day, projects=((run(1), "vision"),)))
    assert inputs_hash(day) != inputs_hash(replace(day, end=T0 + 5))


_RECORDS = st.builds(
    lambda n, s, d, at, e: ended(n, T0 + s, T0 + s + d, at) if e else running(n, T0 + s, at),
    st.integers(1, 4),
    st.integers(-50, 50),
    st.integers(0, 200_000),
    st.sampled_from([(1,), (1, 2), (3,)]),
    st.booleans(),
)
_EVENTS = st.builds(
    lambda n, s, d: NodeEvent(gn(n), T0 + s, None if d is None else T0 + s + d, up=False, reason="why"),
    st.integers(1, 3),
    st.integers(0, 5),
    st.none() | st.integers(0, 50),
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), told=st.lists(_RECORDS, max_size=8), events=st.lists(_EVENTS, max_size=3))
def test_order_batching_and_repetition_of_history_change_no_node_day(
    new_ledger: NewLedger, data: st.DataObject, told: list[Record], events: list[NodeEvent]
) -> None:
    def evidence(batches: list[tuple[list[Record], list[NodeEvent]]]) -> list[tuple[list[NodeDay], list[bytes]]]:
        engine = new_ledger()
        live(engine, T0, nodes=[node(gn(1)), node(gn(2))])
        for rows, happened in batches:
            history(engine, *rows, events=happened, now=T0 + 2 * DAY)
        found = site_days(engine, T0, T0 + 2 * DAY)
        return [([node_day(day, m) for m in range(len(day.machines))], [*day.hashes]) for day in found]

    shuffled = data.draw(st.permutations(told + told[:2]))
    cut = data.draw(st.integers(0, len(shuffled)))
    mixed = data.draw(st.permutations(events))

    assert evidence([(told, events)]) == evidence([(shuffled[:cut], mixed), (shuffled[cut:], mixed[:1])])


def test_a_job_known_only_by_its_name_is_a_job(engine: Engine) -> None:
    live(engine, T0, nodes=[node(kn(1))], claims=[pod("a", 1, T0)])
    jobs: list[Job] = []

    def project(job: Job, at: float) -> str:
        jobs.append(job)
        return "unmapped"

    days(engine, projects=project)

    assert [("kubernetes", "kube", "")] == [(j.key.scheduler, j.key.cluster, j.account) for j in jobs]
    assert slurm_job(1).key == run(1)


def test_a_node_has_cards_only_where_and_while_it_is_present(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1))])
    live(engine, T0 + 600, nodes=[node(gn(1))])

    def half(key: NodeKey, start: int, end: int) -> list[tuple[str, int, int]]:
        return [(key.name, start, min(end, T0 + 300))]

    [day] = days(engine, T0, T0 + 600, present=half)

    assert {(T0, T0 + 300)} == {(s.start, s.end) for s in day.capacity}
