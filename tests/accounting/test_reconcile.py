"""Who pays on a node-day: plain jobs, each kind of link, and no link (tests.accounting.pencil says how to read it)."""

from __future__ import annotations

from accounting.reconcile.rule import REMAINDER
from exporters.model import LinkKind
from tests.accounting.pencil import (
    GPU_HOUR,
    KUBE,
    SLURM,
    START,
    at,
    books,
    kube_cards,
    lines,
    posting,
    seen,
    slurm_cards,
)
from tests.exporters.records import bridged, lends, made_by, pod, run, slurm_job, stands_in, workload

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


def test_what_a_lender_holds_is_told_on_its_rest_though_part_of_that_is_disputed() -> None:
    result = books(
        run(18, 2000, at(0), at(2)),
        pod("web", 3000, at(0), at(2)),
        pod("worker-0", 8000, at(1), at(2), lends("gn09")),
    )

    assert [
        "charged h100 unmapped web 3",
        "charged h100 unmapped 18 2",  # before there was a lender
        "charged h100 unmapped 18 2",  # inside it: the dispute is between those who have no link
        "disputed h100 unmapped web 0",
        "disputed h100 unmapped worker-0 3",
        "idle h100 - - 179",
        "reserved h100 unmapped worker-0 3",
    ] == lines(result)
    assert (5, 3) == tuple(posting(result, a, "worker-0").held // GPU_HOUR for a in ("reserved", "disputed"))


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


def test_of_pods_of_several_projects_the_oldest_ones_has_the_remainder() -> None:
    result = books(
        run(6001, 8000, at(2), at(6)),
        pod("second", 1000, at(3), at(6), bridged(6001)),
        pod("first", 1000, at(2), at(6), bridged(6001)),
        projects={workload("second"): "nlp", workload("first"): "vision"},
    )

    assert "vision" == posting(result, "charged", "6001").project


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


def test_a_claim_on_nothing_leaves_no_trace() -> None:
    result = books(run(18, 0, at(2), at(8)))

    assert ["idle h100 - - 192"] == lines(result)
    assert {"capacity", "idle"} == {p.account for p in result.postings}
    assert [] == result.unplaced


def test_only_owners_hold() -> None:
    result = books(run(18, 4000, at(2), at(8)))

    assert {"capacity": 0, "charged": 24, "idle": 0} == {p.account: p.held // GPU_HOUR for p in result.postings}


def test_pods_of_one_workload_are_posted_in_the_order_of_their_names() -> None:
    pods = [pod(name, 1000, at(1), at(2), owner="train") for name in ("b", "a", "c")]

    for claims in (pods, pods[::-1]):
        charged = [p.unit for p in books(*claims).postings if p.account == "charged"]

        assert ["pod-a", "pod-b", "pod-c"] == charged


def test_a_key_that_does_not_verify_makes_nobody_pay_for_anothers_remainder() -> None:
    stranger = run(99, 1000, at(1), at(2))
    liar = pod("liar", 1000, at(0), at(2), bridged(7))
    projects = {liar.job: "vision", stranger.job: "ops"}

    assert "charged h100 ops 99 1" in lines(books(stranger, liar, projects=projects))


def test_slurm_in_pods_that_a_slurm_job_made_is_shown_under_that_job() -> None:
    outer = run(1, 8000, at(0), at(24))
    nodeset = pod("worker-0", 8000, at(0), at(24), made_by(1), lends("h1"))
    inner = run(2, 4000, at(0), at(24), node="h1")

    result = books(outer, nodeset, inner)

    assert ["shown h100 unmapped worker-0 0", "shown h100 unmapped 2 0", "charged h100 unmapped 1 192"] == lines(result)
    shown = {p.unit: (p.link, p.linked, p.reason) for p in result.postings if p.account == ""}
    assert (LinkKind.INSIDE, outer.job, "") == shown["pod-worker-0"]
    assert (LinkKind.LENDS, nodeset.job, "") == shown[inner.unit]


def test_a_lender_that_is_an_external_job_and_lends_all_is_told_beside_its_jobs_as_reserved() -> None:
    external = run(1, 8000, at(0), at(24))
    nodeset = pod("worker-0", 8000, at(0), at(24), bridged(1), lends("h1"))
    inner = run(2, 8000, at(0), at(24), node="h1")

    result = books(external, nodeset, inner)

    assert 192 * GPU_HOUR == posting(result, "charged", "2").quantity
    assert (0, LinkKind.SAME, external.job) == (
        posting(result, "reserved", "worker-0").quantity,
        posting(result, "reserved", "worker-0").link,
        posting(result, "reserved", "worker-0").linked,
    )


def test_what_one_claim_disputes_with_several_is_in_the_order_of_their_names() -> None:
    first, second = (run(n, 4000, at(hour), at(3)) for n, hour in ((20, 0), (10, 0.5)))
    late = pod("late", 8000, at(1), at(3))

    for claims in ((first, second, late), (late, second, first)):
        told = [p.linked for p in books(*claims).postings if p.account == "disputed" and p.job == late.job]

        assert sorted(told, key=str) == told
        assert 2 == len(told)
