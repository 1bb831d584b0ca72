"""What claims prove of machines at which nobody looked, held to looking at every second."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.evidence.capacity import Event, NodeFacts, Sighting, stretches
from accounting.evidence.hypotheses.proven_cards import most_held, proven, total
from accounting.model import CapacityStretch
from accounting.reconcile.moment import PROVEN
from accounting.reconcile.rule import Rules, reconcile
from accounting.store.database import read
from exporters.join.links import FOREVER
from exporters.model import Claim, LinkKey, LinkKind, Scheduler
from tests.accounting.readings import days, history, live
from tests.accounting.site import T0, ended, gn, held, node, pod

NEVER: list[tuple[int, int]] = []


def of(found: list[CapacityStretch]) -> list[tuple[int, int, str, int]]:
    return [(s.start, s.end, s.model, s.milligpu) for s in found]


def known(start: int, end: int, cards: int, model: str = "h100") -> CapacityStretch:
    return CapacityStretch(start, end, Scheduler.SLURM, "lab", "gn01", model, cards * 1000, up=True)


def test_a_machine_of_which_nothing_is_known_has_what_is_held_there() -> None:
    claims = [held(1, 1, 10, 30, 4), held(2, 1, 20, 40, 2), held(3, 1, 60, 70, 8, model="a100")]

    assert [
        (10, 20, "h100", 4000), (20, 30, "h100", 6000), (30, 40, "h100", 2000), (60, 70, "a100", 8000)
    ] == of(proven(claims, [], NEVER, 0, 100))  # fmt: skip


def test_a_part_of_a_card_proves_the_card() -> None:
    half = replace(held(1, 1, 10, 30), milligpu=500, profile="shared")

    assert [(10, 30, "h100", 1000)] == of(proven([half], [], NEVER, 0, 100))


def test_nothing_is_proven_while_somebody_looks_or_enough_is_known() -> None:
    claim = held(1, 1, 10, 30, 4)

    assert [(20, 30, "h100", 4000)] == of(proven([claim], [], [(0, 20)], 0, 100))
    assert [] == proven([claim], [known(0, 100, 4)], NEVER, 0, 100)
    assert [] == proven([claim, held(2, 1, 10, 30, 3)], [known(0, 100, 4)], NEVER, 0, 100), "that is a dispute"


def test_a_claim_that_is_larger_than_what_is_carried_proves_what_it_holds_unless_it_is_a_guess() -> None:
    assert [(10, 30, "h100", 8000)] == of(proven([held(1, 1, 10, 30, 8)], [known(0, 100, 4)], NEVER, 0, 100))
    assert [] == proven([held(1, 1, 10, 30, 8, assumed=True)], [known(0, 100, 4)], NEVER, 0, 100)
    assert [(10, 30, "h100", 8000)] == of(proven([held(1, 1, 10, 30, 8, assumed=True)], [], NEVER, 0, 100))


def test_a_stand_in_proves_nothing() -> None:
    stand_in = replace(held(1, 1, 10, 30, 4), keys=(LinkKey(LinkKind.STAND_IN, "", ""),))

    assert [] == proven([stand_in], [], NEVER, 0, 100)


def test_two_schedulers_that_hold_cards_of_one_machine_may_hold_the_same() -> None:
    other = pod("a", 1, 10, 30, 4)
    found = proven([held(1, 1, 10, 30, 8), other], [], NEVER, 0, 100)

    assert 8000 == total(found)
    assert {Scheduler.SLURM, Scheduler.KUBERNETES} == {s.scheduler for s in found}


@settings(max_examples=200, deadline=None)
@given(
    claims=st.lists(
        st.builds(
            lambda n, a, d, cards, assumed: held(n, 1, a, None if d == 12 else a + d, cards, assumed=assumed),
            st.integers(1, 9), st.integers(0, 10), st.integers(1, 12), st.integers(1, 4), st.booleans(),
        ),
        max_size=4, unique_by=lambda c: c.job,
    ),
    size=st.one_of(st.none(), st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 4))),
    seen=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=2),
)  # fmt: skip
def test_second_by_second_it_is_what_the_rule_says(
    claims: list[Claim], size: tuple[int, int, int] | None, seen: list[tuple[int, int]]
) -> None:
    there = [known(size[0], size[1], size[2])] if size and size[0] < size[1] else []
    found = proven(claims, there, seen, 0, 12)

    for t in range(12):
        here = [c for c in claims if c.start <= t and (c.end is None or t < c.end)]
        has = total(s for s in there if s.start <= t < s.end)
        alone = max((c.milligpu for c in here if not c.split_assumed), default=0)
        wanted = max(has, alone) if has else sum(c.milligpu for c in here)
        looked = any(a <= t < b for a, b in seen)
        assert (has if looked else wanted) == total(s for s in (*there, *found) if s.start <= t < s.end)


def test_a_node_that_was_gone_when_the_exporter_began_has_what_claims_prove_and_no_idle_card(engine: Engine) -> None:
    history(
        engine, ended(1, T0 + 100, T0 + 200, nodes=(9,), cards=8), ended(2, T0 + 500, T0 + 600, nodes=(9,), cards=4)
    )
    live(engine, T0 + 5000, nodes=[node(gn(1))])
    [day] = [d for d in days(engine) if d.machine == "gn09"]
    made = reconcile(day, Rules())
    sums: dict[str, int] = {}
    for p in made.postings:
        if p.account != "capacity":
            sums[p.account] = sums.get(p.account, 0) + p.quantity

    assert () == tuple(made.unplaced)
    assert {"charged": 12_000 * 100, "unknown": 8000 * 300 + 4000 * 100} == sums
    assert {PROVEN} == {p.reason for p in made.postings if p.account == "unknown"}


def test_the_most_that_was_held_at_one_moment_is_by_model_and_without_guesses(engine: Engine) -> None:
    shares = [ended(1, T0, T0 + 50, cards=2), ended(2, T0 + 50, T0 + 90, cards=3), ended(3, T0 + 60, T0 + 70, cards=1)]
    history(engine, *shares, ended(4, T0, T0 + 90, nodes=(1, 2), cards=8))
    with read(engine) as connection:
        found = most_held(connection, [1, 2])

    assert [[("h100", 4000)]] == list(found.values())


def facts(*events: Event, **more: object) -> list[tuple[object, ...]]:
    there = stretches(NodeFacts(gn(1), (), events, [(0, 100)], **more), 0, 100)  # type: ignore[arg-type]
    return [(s.start, s.end, s.model, s.milligpu, s.up, s.proven) for s in there]


def test_an_event_tells_the_model_else_claims_do() -> None:
    typed = Event(20, 30, up=False, milligpu=8000, cards=(("h100", 8000),))
    bare = Event(20, 30, up=False, milligpu=8000)

    assert {"h100"} == {model for _, _, model, *_ in facts(typed, held=[("v100", 4000)])}
    assert {"v100"} == {model for _, _, model, *_ in facts(bare, held=[("v100", 4000)])}
    assert {""} == {model for _, _, model, *_ in facts(bare, held=[("v100", 4000), ("a100", 4000)])}


def test_a_node_that_a_live_cluster_does_not_have_ends_with_its_last_record() -> None:
    event = Event(20, 30, up=False, milligpu=8000, cards=(("h100", 8000),))

    assert [(20, 30, "h100", 8000, False, False), (30, 100, "h100", 8000, True, False)] == facts(event)
    assert [(20, 30, "h100", 8000, False, True), (30, 60, "h100", 8000, True, True)] == facts(event, until=60, gone=90)
    open_ = replace(event, end=None)
    assert [(20, 90, "h100", 8000, False, True)] == facts(open_, until=60, gone=90)
    assert [(5, 90, "h100", 4000, True, True)] == facts(mentioned=5, until=FOREVER, held=[("h100", 4000)], gone=90)
    assert [(5, 60, "h100", 4000, True, True)] == facts(mentioned=5, until=60, held=[("h100", 4000)])


def test_a_carried_node_had_the_models_that_its_event_names() -> None:
    event = Event(10, 20, up=True, milligpu=4000, cards=(("v100", 4000),))
    sighting = Sighting(50, 100, "h100", 8000, up=True)
    found = stretches(NodeFacts(gn(1), [sighting], [event], [(0, 100)], 5), 0, 100)

    assert [(5, 10, "h100", 8000), (10, 20, "v100", 4000), (20, 100, "h100", 8000)] == of(found)
