"""What a node-day had, and what of it is known: capacity, coverage, parts of cards (see tests.accounting.pencil)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accounting.reconcile.rule import Rules, reconcile
from tests.accounting.pencil import (
    GPU_HOUR,
    KUBE,
    SLURM,
    at,
    books,
    day,
    kube_cards,
    lines,
    posting,
    seen,
    slurm_cards,
    whose,
)
from tests.exporters.records import bridged, lends, made_by, pod, run, stands_in

# what the machine has, and what is known


def test_a_node_that_nobody_would_place_work_on_is_down_with_the_reasons() -> None:
    down = (slurm_cards(6, 12, up=False, reason="bad fan"), kube_cards(6, 12, up=False, reason="cordoned"))
    result = books(capacity=(slurm_cards(0, 6), kube_cards(0, 6), *down, slurm_cards(12, 24), kube_cards(12, 24)))

    assert ["down h100 - - 48", "idle h100 - - 144"] == lines(result)
    assert "bad fan; cordoned" == posting(result, "down").reason


def test_a_node_that_one_scheduler_would_use_is_idle() -> None:
    assert ["idle h100 - - 192"] == lines(books(capacity=(slurm_cards(up=False), kube_cards())))


def test_a_scheduler_that_has_no_cards_there_keeps_nothing_up_and_hides_nothing() -> None:
    capacity = (slurm_cards(milligpu=0), kube_cards(up=False, reason="not ready"))

    assert ["down nvidia-h100 - - 192"] == lines(books(capacity=capacity, coverage=(seen(KUBE),)))


def test_what_is_not_covered_is_unknown_and_who_is_known_is_charged_all_the_same() -> None:
    result = books(run(18, 4000, at(0), at(12)), coverage=(seen(SLURM), seen(KUBE, 0, 6)))

    assert ["charged h100 unmapped 18 48", "idle h100 - - 24", "unknown h100 - - 120"] == lines(result)
    assert "no records of kubernetes prod" == posting(result, "unknown").reason


def test_a_running_job_is_charged_as_far_as_the_records_reach() -> None:
    result = books(
        run(18, 8000, at(2)),
        capacity=(slurm_cards(),),
        coverage=(seen(SLURM, 0, 10),),
        known_until=((SLURM, "hpc1", at(10)),),
    )

    assert ["charged h100 unmapped 18 64", "idle h100 - - 16", "unknown h100 - - 112"] == lines(result)


def test_a_pod_still_held_when_its_job_has_just_ended_is_inside_it_until_it_is_known_not_to_be() -> None:
    claims = (run(5120, 8000, at(0), at(10)), pod("bert-0", 4000, at(0), None, made_by(5120)))

    soon = books(*claims, known_until=((KUBE, "prod", at(10)),))
    later = books(*claims, known_until=((KUBE, "prod", at(11)),))

    assert ["shown h100 unmapped bert-0 0", "charged h100 unmapped 5120 80", "idle h100 - - 112"] == lines(soon)
    assert "interval is not inside that of Slurm job 5120 of hpc1" == next(
        p.reason for p in later.postings if p.account == "disputed" and not p.linked
    )


def test_capacity_that_comes_at_noon_is_half_a_day_and_what_was_claimed_before_is_told() -> None:
    result = books(run(18, 8000, at(10), at(14)), capacity=(slurm_cards(12, 24),))

    assert ["charged h100 unmapped 18 16", "idle h100 - - 80"] == lines(result)
    assert [(run(18, 8000, at(10), at(14)), "gn09 has no known capacity at that time")] == list(result.unplaced)


def test_a_node_that_loses_a_card_has_that_much_less() -> None:
    assert ["idle h100 - - 180"] == lines(books(capacity=(slurm_cards(0, 12), slurm_cards(12, 24, 7000))))


def test_a_claim_on_a_node_without_cards_is_told() -> None:
    result = books(run(18, 1000, at(0), at(1)), capacity=(slurm_cards(milligpu=0, model=""),))

    assert [] == lines(result)
    assert ["gn09 has no cards at that time"] == [reason for _, reason in result.unplaced]


def test_a_claim_larger_than_the_node_gets_the_node_and_the_rest_is_told() -> None:
    result = books(run(18, 10_000, at(0), at(1)))

    assert ["charged h100 unmapped 18 8", "idle h100 - - 184"] == lines(result)
    assert ["holds 10000 milliGPU of h100, gn09 has 8000"] == [reason for _, reason in result.unplaced]
    assert 10 * GPU_HOUR == posting(result, "charged", "18").held


def test_a_stand_in_on_its_virtual_node_is_not_told_as_unplaced() -> None:
    assert [] == list(books(pod("cow-job", 1000, at(0), at(3), stands_in()), capacity=()).unplaced)


def test_the_larger_view_counts_and_a_node_told_twice_is_one() -> None:
    assert ["idle h100 - - 192"] == lines(books(capacity=(slurm_cards(milligpu=4000), kube_cards(), kube_cards())))


# parts of cards, and two models


def test_the_slices_of_a_card_come_to_the_card() -> None:
    slices = [pod(f"s{n}", 148 if n == 0 else 142, at(0), at(24), profile="1g.10gb") for n in range(7)]

    result = books(*slices, capacity=(kube_cards(milligpu=1000),), coverage=(seen(KUBE),))

    assert 24 * GPU_HOUR == sum(p.quantity for p in result.postings if p.account == "charged")
    assert not [p for p in result.postings if p.account in ("idle", "disputed")]


def test_each_model_is_a_book_of_its_own() -> None:
    models = (slurm_cards(milligpu=4000, model="a100"), slurm_cards(milligpu=4000), kube_cards(model="NVIDIA-H100"))

    result = books(
        run(18, 4000, at(0), at(12), model="a100"),
        run(19, 2000, at(0), at(24), model="h100"),
        pod("web", 2000, at(12), at(24), model=""),  # Kubernetes does not say which: where there is room
        capacity=models,
    )

    assert [
        "charged a100 unmapped web 24",
        "charged a100 unmapped 18 48",
        "charged h100 unmapped 19 48",
        "idle a100 - - 24",
        "idle h100 - - 48",
    ] == lines(result)


# the function itself


def test_the_site_names_its_models() -> None:
    result = reconcile(day(), Rules({"h100": "H100 SXM5", "nvidia-h100": "H100 SXM5"}))

    assert ["idle H100 SXM5 - - 192"] == lines(result)


@pytest.mark.parametrize(("grace", "account"), [(60, "disputed"), (61, "charged")])
def test_the_grace_decides_whether_a_key_verifies(grace: int, account: str) -> None:
    bridge = (run(6001, 8000, at(1), at(6)), pod("solo", 2000, at(1) - 61, at(6), bridged(6001)))

    result = reconcile(day(*bridge), Rules(grace=grace))

    assert account in {p.account for p in result.postings if whose(p.job) == "solo"}


def test_the_rules_text_changes_with_every_rule() -> None:
    texts = {r.text() for r in (Rules(), Rules(grace=5), Rules({"a": "b"}), Rules({"a": "c"}))}

    assert 4 == len(texts)
    assert Rules({"a": "b", "c": "d"}).text() == Rules({"c": "d", "a": "b"}).text()


def test_why_a_lenders_node_is_down_does_not_depend_on_the_order_in_which_its_models_are_told() -> None:
    down = [slurm_cards(node="h1", model=m, up=False, reason=r) for m, r in (("a100", "bad fan"), ("h100", "no power"))]
    lender = pod("worker-0", 8000, at(0), None, lends("h1"))

    reasons = [
        posting(books(lender, capacity=(*order, kube_cards())), "down", "worker-0").reason
        for order in (down, down[::-1])
    ]

    assert ["no power", "no power"] == reasons


def test_a_lender_that_names_no_cluster_tells_the_reasons_of_all_in_order() -> None:
    capacity = [slurm_cards(node="h1", cluster=c, up=False, reason=r) for c, r in (("a", "no power"), ("b", "bad fan"))]
    lender = pod("worker-0", 8000, at(0), None, lends("h1", cluster=""))
    covered = tuple(replace(seen(SLURM), cluster=c) for c in ("a", "b"))

    result = books(lender, capacity=(*capacity, kube_cards()), coverage=(*covered, seen(KUBE)))

    assert "bad fan; no power" == posting(result, "down", "worker-0").reason
