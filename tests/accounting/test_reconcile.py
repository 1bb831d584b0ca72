"""Node-days small enough for a pencil: one machine of eight cards, 192 GPU-hours a day, every one of them somebody's.

A day is printed as lines ``account model project whose GPU-hours``; whose is the Slurm job's number or the pod's name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from accounting.model import DAY, CapacityStretch, CoverageStretch, NodeDay, NodeDayResult, Posting
from accounting.reconcile import REMAINDER, Rules, reconcile
from exporters.model import Claim, JobKey, LinkKind, Scheduler
from tests.exporters.records import bridged, lends, made_by, pod, run, slurm_job, stands_in, workload

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
HOUR = 3600
GPU_HOUR = 1000 * HOUR
START = 20_000 * DAY  # some midnight


def at(hour: float) -> int:
    return START + int(hour * HOUR)


def slurm_cards(first: float = 0, last: float = 24, milligpu: int = 8000, **more: object) -> CapacityStretch:
    stretch = CapacityStretch(at(first), at(last), SLURM, "hpc1", "gn09", "h100", milligpu, up=True)
    return replace(stretch, **more)  # type: ignore[arg-type]


def kube_cards(first: float = 0, last: float = 24, milligpu: int = 8000, **more: object) -> CapacityStretch:
    stretch = CapacityStretch(at(first), at(last), KUBE, "prod", "gn09", "NVIDIA-H100", milligpu, up=True)
    return replace(stretch, **more)  # type: ignore[arg-type]


def seen(scheduler: Scheduler = SLURM, first: float = 0, last: float = 24) -> CoverageStretch:
    return CoverageStretch(at(first), at(last), scheduler, "hpc1" if scheduler is SLURM else "prod")


BOTH = (slurm_cards(), kube_cards())
ALL_SEEN = (seen(SLURM), seen(KUBE))


def day(
    *claims: Claim,
    capacity: tuple[CapacityStretch, ...] = BOTH,
    coverage: tuple[CoverageStretch, ...] = ALL_SEEN,
    projects: dict[JobKey, str] | None = None,
    known_until: tuple[tuple[Scheduler, str, int], ...] = (),
) -> NodeDay:
    return NodeDay("gn09", START, START + DAY, claims, capacity, coverage, tuple((projects or {}).items()), known_until)


def books(*claims: Claim, **more: object) -> NodeDayResult:
    return reconcile(day(*claims, **more), Rules())  # type: ignore[arg-type]


def whose(job: JobKey | None) -> str:
    return "-" if job is None else job.id.split("@")[0].removeprefix("uid-of-")


def lines(result: NodeDayResult) -> list[str]:
    """What was posted, but for the capacity that it is checked against."""
    found = []
    for p in result.postings:
        hours, rest = divmod(p.quantity, GPU_HOUR)
        assert rest == 0, p
        if p.account == "capacity":
            assert -hours * GPU_HOUR == sum(
                q.quantity for q in result.postings if q.account != "capacity" and q.model == p.model
            )
        else:
            found.append(f"{p.account or 'shown'} {p.model} {p.project or '-'} {whose(p.job)} {hours}")
    return found


def posting(result: NodeDayResult, account: str, name: str = "-") -> Posting:
    (found,) = [p for p in result.postings if p.account == account and whose(p.job) == name]
    return found


# plain jobs


def test_a_day_on_which_nothing_happens_is_idle() -> None:
    assert ["idle h100 - - 192"] == lines(books())


def test_a_job_is_charged_for_its_cards_and_the_rest_is_idle() -> None:
    result = books(run(18, 4000, at(2), at(8)), projects={slurm_job(18): "vision"})

    assert ["charged h100 vision 18 24", "idle h100 - - 168"] == lines(result)
    assert (at(2), at(8)) == (posting(result, "charged", "18").start, posting(result, "charged", "18").end)


def test_of_a_job_over_several_days_only_this_days_part_is_charged() -> None:
    assert ["charged h100 unmapped 18 192"] == lines(books(run(18, 8000, at(-5), at(99))))
    assert ["charged h100 unmapped 18 96", "idle h100 - - 96"] == lines(books(run(18, 8000, at(12), None)))


def test_a_job_that_ran_no_second_of_this_day_is_not_in_it() -> None:
    assert ["idle h100 - - 192"] == lines(books(run(18, 8000, at(-5), at(0)), run(19, 8000, at(24), at(30))))


def test_two_runs_of_a_requeued_job_are_both_charged() -> None:
    first, second = run(61, 8000, at(0), at(6), submit=1), run(61, 8000, at(7), at(9), submit=2)

    assert ["charged h100 unmapped 61 48", "charged h100 unmapped 61 16", "idle h100 - - 128"] == lines(
        books(first, second)
    )


# lends


WORKER = workload("worker-0")


def test_on_a_slinky_node_the_jobs_pay_and_the_pods_rest_is_reserved() -> None:
    result = books(
        pod("worker-0", 8000, at(-100), None, lends("gn09")),
        run(18, 4000, at(0), at(12)),
        run(19, 8000, at(20), at(22)),
        projects={slurm_job(18): "vision", slurm_job(19): "nlp", WORKER: "platform"},
    )

    assert ["charged h100 nlp 19 16", "charged h100 vision 18 48", "reserved h100 platform worker-0 128"] == lines(
        result
    )
    assert (LinkKind.LENDS, WORKER) == (posting(result, "charged", "18").link, posting(result, "charged", "18").linked)
    assert 192 * GPU_HOUR == posting(result, "reserved", "worker-0").held


def test_a_lender_replaced_in_the_middle_of_a_job_makes_no_dispute() -> None:
    result = books(
        pod("worker-0-a", 8000, at(-100), at(10), lends("gn09"), owner="worker-0"),
        pod("worker-0-b", 8000, at(11), None, lends("gn09"), owner="worker-0"),
        run(18, 8000, at(6), at(16)),
    )

    assert [
        "charged h100 unmapped 18 8",  # one hour without a pod
        "charged h100 unmapped 18 72",  # and nine inside one pod or the other
        "reserved h100 unmapped worker-0 48",
        "reserved h100 unmapped worker-0 64",
    ] == lines(result)


def test_the_rest_of_a_lender_is_down_while_its_slurm_node_is_drained_and_says_why() -> None:
    drained = (slurm_cards(0, 6), slurm_cards(6, 24, up=False, reason="drained: bad fan"))
    result = books(
        pod("worker-0", 8000, at(-100), None, lends("gn09")),
        run(18, 4000, at(0), at(8)),  # a drained node finishes what runs on it
        capacity=(*drained, kube_cards()),
    )

    assert [
        "charged h100 unmapped 18 32",
        "down h100 unmapped worker-0 136",
        "reserved h100 unmapped worker-0 24",
    ] == lines(result)
    assert "drained: bad fan" == posting(result, "down", "worker-0").reason


def test_the_rest_of_a_lender_is_unknown_while_slurm_cannot_be_read() -> None:
    result = books(
        pod("worker-0", 8000, at(-100), None, lends("gn09")),
        run(18, 4000, at(0), at(8)),  # is told later all the same
        coverage=(seen(SLURM, 0, 6), seen(KUBE)),
    )

    assert [
        "charged h100 unmapped 18 32",
        "reserved h100 unmapped worker-0 24",
        "unknown h100 unmapped worker-0 136",
    ] == lines(result)
    assert "no records of slurm hpc1" == posting(result, "unknown", "worker-0").reason


# same


def test_a_bridged_job_is_charged_to_its_pods_and_its_remainder_to_the_same_project() -> None:
    result = books(
        run(6001, 8000, at(2), at(6)),
        pod("solo", 2000, at(2), at(6), bridged(6001)),
        projects={workload("solo"): "vision", slurm_job(6001): "slurm-bridge-user"},
    )

    assert ["charged h100 vision solo 8", "charged h100 vision 6001 24", "idle h100 - - 160"] == lines(result)
    assert (LinkKind.SAME, REMAINDER) == (
        posting(result, "charged", "6001").link,
        posting(result, "charged", "6001").reason,
    )
    assert slurm_job(6001) == posting(result, "charged", "solo").linked


def test_a_bridged_job_that_is_all_pods_is_shown_beside_them() -> None:
    result = books(run(6001, 4000, at(2), at(6)), pod("solo", 4000, at(2), at(6), bridged(6001)))

    assert ["shown h100 unmapped 6001 0", "charged h100 unmapped solo 16", "idle h100 - - 176"] == lines(result)
    assert (16 * GPU_HOUR, workload("solo")) == (posting(result, "", "6001").held, posting(result, "", "6001").linked)


def test_a_remainder_is_paid_by_the_pods_project_also_on_the_day_after_the_pods() -> None:
    result = books(
        run(6001, 8000, at(-10), at(1)),
        pod("solo", 2000, at(-10), at(-1), bridged(6001)),  # not of this day, and tied to a claim that is
        projects={workload("solo"): "vision"},
    )

    assert ["charged h100 vision 6001 8", "idle h100 - - 184"] == lines(result)


def test_a_pod_that_ends_a_minute_into_the_next_day_is_still_its_job() -> None:
    result = books(run(6001, 8000, at(-10), at(0)), pod("solo", 6000, at(-10), START + 60, bridged(6001)))

    assert 6000 * 60 == posting(result, "charged", "solo").quantity


# inside


def test_pods_made_by_a_job_are_shown_under_it_and_cost_nothing_more() -> None:
    result = books(
        run(5120, 8000, at(0), at(10)),
        pod("bert-0", 4000, at(1), at(9), made_by(5120)),
        pod("bert-1", 3000, at(1), at(9), made_by(5120)),
        projects={slurm_job(5120): "nlp", workload("bert-0"): "vision"},
    )

    assert [
        "shown h100 unmapped bert-1 0",
        "shown h100 vision bert-0 0",
        "charged h100 nlp 5120 80",
        "idle h100 - - 112",
    ] == lines(result)
    assert (32 * GPU_HOUR, LinkKind.INSIDE, slurm_job(5120)) == (
        posting(result, "", "bert-0").held,
        posting(result, "", "bert-0").link,
        posting(result, "", "bert-0").linked,
    )


def test_a_pod_that_does_not_fit_into_its_job_is_disputed_while_it_does_not() -> None:
    result = books(
        run(5120, 4000, at(0), at(10)),
        pod("bert-0", 4000, at(0), at(5), made_by(5120)),
        pod("bert-1", 4000, at(4), at(10), made_by(5120)),
    )

    assert [
        "shown h100 unmapped bert-0 0",
        "shown h100 unmapped bert-1 0",
        "charged h100 unmapped 5120 40",
        "disputed h100 unmapped bert-1 4",
        "idle h100 - - 148",
    ] == lines(result)
    assert posting(result, "disputed", "bert-1").reason.startswith("count does not fit: 8000 milliGPU inside the 4000")


def test_a_false_key_is_disputed_with_its_reason() -> None:
    result = books(pod("sneaky", 2000, at(0), at(3), made_by(4711)))

    assert ["disputed h100 unmapped sneaky 6", "idle h100 - - 186"] == lines(result)
    assert "no run of Slurm job 4711 of hpc1 is on this node" == posting(result, "disputed", "sneaky").reason


def test_a_stand_in_is_shown_and_costs_nothing() -> None:
    result = books(pod("cow-job", 1000, at(0), at(3), stands_in()))

    assert ["shown h100 unmapped cow-job 0", "idle h100 - - 192"] == lines(result)
    assert LinkKind.STAND_IN is posting(result, "", "cow-job").link


# no link


def test_the_same_cards_claimed_twice_are_disputed_once_and_both_are_named() -> None:
    result = books(run(18, 8000, at(0), at(4)), pod("web", 8000, at(2), at(6)))

    assert [
        "charged h100 unmapped web 16",
        "charged h100 unmapped 18 16",
        "disputed h100 unmapped web 16",
        "disputed h100 unmapped 18 0",
        "idle h100 - - 144",
    ] == lines(result)
    disputed = posting(result, "disputed", "web")
    assert (LinkKind.OBSERVED, slurm_job(18)) == (disputed.link, disputed.linked)
    assert "same cards as slurm/hpc1/18@0, and no link between them" == disputed.reason
    assert (workload("web"), 16 * GPU_HOUR) == (
        posting(result, "disputed", "18").linked,
        posting(result, "disputed", "18").held,
    )


def test_only_what_does_not_fit_is_disputed() -> None:
    result = books(run(18, 6000, at(0), at(4)), pod("web", 4000, at(1), at(4)))

    assert [
        "charged h100 unmapped web 6",
        "charged h100 unmapped 18 18",
        "disputed h100 unmapped web 6",
        "idle h100 - - 162",
    ] == lines(result)
    held = [
        posting(result, *of).held // GPU_HOUR for of in (("charged", "18"), ("charged", "web"), ("disputed", "web"))
    ]
    assert [24, 6, 6] == held


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
