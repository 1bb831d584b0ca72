"""What a node-day holds of claims that say more than their own record: ties, sightings of cards, shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from accounting.evidence.claim_reader import QUERY, Reader
from accounting.evidence.hypotheses.exact_splits import seen_split, with_split
from accounting.evidence.node_facts import node_keys
from accounting.evidence.ties.day_ties import tied_rows
from accounting.evidence.ties.tying import Side, tied
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.model import NEAR, HoldingStretch
from accounting.store.columns import columns
from accounting.store.database import read
from accounting.store.tables import claims
from exporters.join.links import FOREVER
from exporters.model import LinkKey, LinkKind
from exporters.recorder import Holding, Round, SourceReading
from tests.accounting.readings import days, history, live
from tests.accounting.site import (
    DAY,
    T0,
    ended,
    gn,
    held,
    kn,
    node,
    pod,
    pod_job,
    workload,
)


def test_claims_that_a_key_ties_to_the_day_are_in_it_whenever_they_were(engine: Engine) -> None:
    bridged = LinkKey(LinkKind.SAME, "lab", "1")
    early = pod("early", 1, T0 + 10, T0 + 500, keys=[bridged])
    stray = pod("stray", 1, T0 + 10, T0 + 500, keys=[LinkKey(LinkKind.SAME, "lab", "77")])
    live(engine, T0, nodes=[node(gn(1)), node(kn(1))], jobs=[pod_job("early")])
    live(engine, T0 + 600, nodes=[node(gn(1)), node(kn(1))], gone=[early, stray])
    history(engine, ended(1, T0 + 5, T0 + 2 * DAY), now=T0 + 3 * DAY)
    history(engine, ended(5, T0 + 5, T0 + DAY - 20), now=T0 + 3 * DAY)
    late = pod("late", 1, T0 + DAY - 100, T0 + DAY + 60, keys=[LinkKey(LinkKind.INSIDE, "lab", "5")])
    live(engine, T0 + 700, gone=[late])
    second = days(engine, T0 + DAY, T0 + 2 * DAY)[0]

    assert {f"1@{T0}", f"5@{T0}", "uid-early", "uid-late"} == {c.job.id for c in second.claims}


def test_a_key_that_names_no_cluster_ties_as_well(engine: Engine) -> None:
    nowhere = [LinkKey(LinkKind.SAME, "", "1")], [LinkKey(LinkKind.INSIDE, "", "5")]
    early, late = (
        pod("early", 1, T0 + 10, T0 + 500, keys=nowhere[0]),
        pod("late", 1, T0, T0 + DAY + 60, keys=nowhere[1]),
    )
    live(engine, T0, nodes=[node(gn(1)), node(kn(1))], jobs=[pod_job("early")])
    live(engine, T0 + 600, nodes=[node(gn(1)), node(kn(1))], gone=[early, late])
    history(engine, ended(1, T0 + 5, T0 + 2 * DAY), ended(5, T0 - 5, T0 + DAY - 20), now=T0 + 3 * DAY)
    expected = {f"1@{T0}", f"5@{T0}", "uid-early", "uid-late"}

    [second] = days(engine, T0 + DAY, T0 + 2 * DAY)
    assert expected == {c.job.id for c in second.claims}
    with read(engine) as connection, columns(connection) as tables:
        reader = Reader(node_keys(connection))
        rows = reader.read(tables, QUERY.where(claims.c.end_at > T0 + DAY))
        tied = tied_rows(tables, reader, rows, T0 + DAY, T0 + 2 * DAY)
    assert {"1", "vision/late"} == set(rows.native)
    assert {"5", "vision/early"} == set(tied.native)


def test_a_recycled_job_id_of_another_time_is_not_tied(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1))])
    history(engine, ended(1, T0 + 5, T0 + 50), now=T0 + 9 * DAY)
    live(
        engine,
        T0 + 8 * DAY,
        gone=[pod("p", 1, T0 + 7 * DAY, T0 + 7 * DAY + 60, keys=[LinkKey(LinkKind.SAME, "lab", "1")])],
    )
    [day] = days(engine, T0 + 7 * DAY, T0 + 8 * DAY)

    assert ["uid-p"] == [c.job.id for c in day.claims]


def test_what_was_seen_of_cards_is_in_the_day_of_their_claims(engine: Engine) -> None:
    claims = [pod("a", 1, T0), pod("b", 1, T0 + 10)]
    recorder = LedgerRecorder(engine)
    for at, cards in ((T0, {"a": 3}), (T0 + 60, {"a": 3, "b": 4, "gone": 5}), (T0 + 120, {"b": 4})):
        holdings = [
            Holding("gn01", card, f"GPU-{card}", workload(name), f"pod-{name}", 1000) for name, card in cards.items()
        ]
        reading = SourceReading("pods", "kube", at, claims=claims, nodes=[node(kn(1))])
        recorder.record(Round(at, [reading], holdings, []))

    [day] = days(engine, resolver=lambda _, a, b: [("gn01", a, b)], end=T0 + 100)

    assert (
        HoldingStretch(T0, T0 + 100, workload("a"), "pod-a", 3, "GPU-3", 1000),
        HoldingStretch(T0 + 60, T0 + 100, workload("b"), "pod-b", 4, "GPU-4", 1000),
    ) == day.holdings
    [day] = days(engine, resolver=lambda _, a, b: [("gn01", a, b)])
    assert [T0 + 120, T0 + 120] == [h.end for h in day.holdings]  # what goes on lasts to the last round
    [day] = days(engine, start=T0 + DAY, end=T0 + 2 * DAY, resolver=lambda _, a, b: [("gn01", a, b)])
    assert () == day.holdings


def test_the_share_seen_live_replaces_the_assumed_one(engine: Engine) -> None:
    shares = [replace(held(1, 1, T0, None, 2), indices=(6, 7)), held(1, 2, T0, None, 6)]
    live(engine, T0 + 5, nodes=[node(gn(1)), node(gn(2))], claims=shares)
    history(engine, ended(1, T0, T0 + 60, nodes=(1, 2), cards=4))
    [one], [two] = [d.claims for d in days(engine)]

    assert (2000, (6, 7), False) == (one.milligpu, one.indices, one.split_assumed)
    assert (6000, (), False) == (two.milligpu, two.indices, two.split_assumed)


def test_cards_that_were_seen_stay_known_when_the_run_is_seen_again_without_them(engine: Engine) -> None:
    """slurmctld tells no cards of a job that completes, and its total on the nodes that are left."""
    named, nameless = replace(held(1, 1, T0, None, 2), indices=(2, 3)), held(1, 1, T0, None, 2)
    for at, claim in ((T0, named), (T0 + 15, nameless)):
        live(engine, at, nodes=[node(gn(1))], claims=[claim])
    history(engine, ended(1, T0, T0 + 20, cards=2))

    [day] = days(engine)
    assert [(2, 3)] == [c.indices for c in day.claims]


def test_a_share_that_does_not_fit_the_history_is_not_used() -> None:
    claims = [held(1, 1, T0, T0 + 9, 4, assumed=True), held(1, 2, T0, T0 + 9, 4, assumed=True)]
    fits = [["gn01", "h100", "", 2000, [], []], ["gn02", "h100", "", 6000, [], []]]
    found = with_split(claims, fits)

    assert found is not None
    assert [2000, 6000] == [c.milligpu for c in found]
    assert with_split(claims, fits[:1]) is None
    assert with_split(claims, [fits[0], ["gn03", *fits[1][1:]]]) is None
    assert with_split(claims, [fits[0], [*fits[1][:3], 5000, [], []]]) is None
    assert with_split([replace(c, split_assumed=False) for c in claims], fits) is None


def test_what_history_knew_itself_is_kept_and_what_was_seen_is_added() -> None:
    assumed = held(1, 1, T0, T0 + 9, 4, assumed=True, model="")
    known = replace(held(1, 2, T0, T0 + 9, 4), indices=(7,), uuids=("GPU-7",))
    split = [
        ["gn01", "h100", "", 2000, [4, 5], ["GPU-4", "GPU-5"]],
        ["gn02", "a100", "", 4000, [0, 1, 2, 3], ["GPU-0"]],
    ]
    claims = [replace(assumed, milligpu=2000), known]

    found = with_split(claims, split)

    assert found is not None
    assert [
        ("h100", 2000, False, (4, 5), ("GPU-4", "GPU-5")),
        ("h100", 4000, False, (7,), ("GPU-7",)),
    ] == [(c.model, c.milligpu, c.split_assumed, c.indices, c.uuids) for c in found]


def test_of_a_node_with_several_models_rows_are_found_by_model_and_profile() -> None:
    claims = [
        held(1, 1, T0, T0 + 9, 2, assumed=True, model="h100"),
        held(1, 1, T0, T0 + 9, 4, assumed=True, model="a100"),
    ]
    rows = [["gn01", "a100", "", 3000, [3, 4, 5], []], ["gn01", "h100", "", 3000, [0], []]]

    found = with_split(claims, rows)

    assert found is not None
    assert [("h100", ()), ("a100", (3, 4, 5))] == [(c.model, c.indices) for c in found], "one number for three cards"
    assert with_split([replace(c, model="l4") for c in claims], rows) is None


def test_types_that_history_dealt_to_the_wrong_nodes_are_where_they_were_seen() -> None:
    claims = [
        replace(held(1, 1, T0, T0 + 9, 2, assumed=True, model="a100"), unit="1/a100"),
        replace(held(1, 2, T0, T0 + 9, 1, assumed=True, model="a100"), unit="1/a100"),
        replace(held(1, 2, T0, T0 + 9, 1, assumed=True, model="v100"), unit="1/v100"),
    ]
    rows = [["gn01", "v100", "", 1000, [2], []], ["gn02", "a100", "", 3000, [0, 1, 3], []]]

    found = seen_split(claims, [rows])

    assert [("gn01", "1/v100", "v100", 1000, (2,), False), ("gn02", "1/a100", "a100", 3000, (0, 1, 3), False)] == [
        (c.node.name, c.unit, c.model, c.milligpu, c.indices, c.split_assumed) for c in found
    ]
    assert claims == seen_split(claims, [[["gn01", "v100", "", 2000, [], []], ["gn02", "a100", "", 2000, [], []]]])


def test_types_that_history_did_not_tell_are_those_that_were_seen() -> None:
    claims = [held(1, n, T0, T0 + 9, 3, assumed=True, model="") for n in (1, 2)]
    rows = [["gn01", "a100", "", 2000, [], []], ["gn01", "v100", "", 1000, [], []], ["gn02", "a100", "", 3000, [], []]]

    found = seen_split(claims, [rows])

    assert [("gn01", "a100", 2000), ("gn01", "v100", 1000), ("gn02", "a100", 3000)] == [
        (c.node.name, c.model, c.milligpu) for c in found
    ]
    assert 3 == len({(c.unit, c.node) for c in found}), "a claim is known by its unit and node"


def test_of_a_run_that_was_seen_on_some_of_its_nodes_the_rest_is_a_guess_for_the_others() -> None:
    claims = [held(1, n, T0, T0 + 9, 4, assumed=True) for n in (1, 2, 3)]
    whole = [[f"gn0{n}", "h100", "", 4000, [], []] for n in (1, 2, 3)]
    part = [["gn02", "h100", "", 7000, [], []]]

    assert [("gn02", 7000, False), ("gn01", 3000, True), ("gn03", 2000, True)] == [
        (c.node.name, c.milligpu, c.split_assumed) for c in seen_split(claims, [part])
    ]
    assert [False] * 3 == [c.split_assumed for c in seen_split(claims, [part, whole])], "all of it says more"
    assert claims == seen_split(claims, [[["gn02", "h100", "", 13_000, [], []]]])
    assert claims == seen_split(claims, [[["gn09", "h100", "", 1000, [], []]]])


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ((0, 10), (10 + NEAR, 99 + NEAR), True),
        ((0, 10), (11 + NEAR, 99 + NEAR), False),
        ((0, FOREVER), (11 + NEAR, 99 + NEAR), True),
        ((0, 10), (11 + NEAR, FOREVER), False),
        ((0, 10), (5, FOREVER), True),
    ],
)
def test_two_claims_are_near_where_no_more_than_so_much_time_is_between_them(
    one: tuple[int, int], other: tuple[int, int], near: bool
) -> None:
    sides = Side(True, 1, *one), Side(False, 1, *other)

    assert [near, near] == [tied(sides[0], 1, False, sides[1]), tied(sides[1], 1, False, sides[0])]


def test_a_key_ties_what_is_of_the_other_scheduler_and_of_its_cluster_or_any() -> None:
    pod, run, twin = Side(False, 1, 0, 10), Side(True, 2, 5, 15), Side(False, 2, 5, 15)

    assert [True, False, True] == [tied(pod, 2, False, run), tied(pod, 1, False, run), tied(pod, -1, True, run)]
    assert not tied(pod, 2, True, twin)
