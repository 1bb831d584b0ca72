"""The double-counting cases of sites with both schedulers, one test each: who pays, and that cards are counted once.

Each test states a moment on one machine: claims as the real systems record them, and what the machine's cards are.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters.join.occupancy import Part, divide
from exporters.model import Claim, Disposition
from tests.exporters.records import bridged, lends, made_by, names_pod, nested, pod, run, stands_in

CHARGED, RESERVED, IDLE, DISPUTED = (
    Disposition.CHARGED,
    Disposition.RESERVED,
    Disposition.IDLE,
    Disposition.DISPUTED,
)


def hands(parts: Sequence[Part], claims: Sequence[Claim]) -> dict[str, dict[Disposition, int]]:
    """Who has what: native ids to milliGPU by disposition; nobody is an empty name."""
    found: dict[str, dict[Disposition, int]] = {}
    for part in parts:
        name = claims[part.owner].native_id if part.owner >= 0 else ""
        if part.milligpu:
            there = found.setdefault(name, {})
            there[part.disposition] = there.get(part.disposition, 0) + part.milligpu
    return found


def who(*claims: Claim, capacity: int = 8000, at: int = 50) -> dict[str, dict[Disposition, int]]:
    return hands(divide(capacity, nested(claims, at).leaves, IDLE), claims)


# 1: a NodeSet pod holds the cards, jobs run inside


def test_jobs_inside_a_nodeset_pod_pay_and_its_rest_is_reserved() -> None:
    lender = pod("worker-0", 8000, 0, None, lends("h100-001"), namespace="slurm")
    jobs = (run(18, 4000, 0, 100, node="h100-001"), run(19, 1000, 20, 90, node="h100-001"))

    assert {"18": {CHARGED: 4000}, "19": {CHARGED: 1000}, "slurm/worker-0": {RESERVED: 3000}} == who(lender, *jobs)


def test_a_nodeset_pod_whose_cards_are_all_in_jobs_holds_nothing() -> None:
    lender = pod("worker-0", 8000, 0, None, lends("h100-001"))

    assert {"18": {CHARGED: 8000}} == who(lender, run(18, 8000, 0, 100, node="h100-001"))
    assert (0,) == nested([lender, run(18, 8000, 0, 100, node="h100-001")]).shown


def test_a_nodeset_pod_replaced_while_a_job_runs_makes_no_dispute() -> None:
    job = run(18, 4000, 0, 100, node="h100-001")
    first = pod("worker-0-a", 8000, 0, 40, lends("h100-001"))
    second = pod("worker-0-b", 8000, 60, None, lends("h100-001"))

    assert {"18": {CHARGED: 4000}, "vision/worker-0-a": {RESERVED: 4000}} == who(job, first, second, at=30)
    assert {"18": {CHARGED: 4000}, "": {IDLE: 4000}} == who(job, first, second, at=50)
    assert {"18": {CHARGED: 4000}, "vision/worker-0-b": {RESERVED: 4000}} == who(job, first, second, at=70)


def test_of_the_old_and_the_new_pod_of_a_node_the_new_one_has_the_job() -> None:
    job = run(18, 4000, 0, 100, node="h100-001")
    old, new = pod("a", 4000, 0, None, lends("h100-001")), pod("b", 4000, 40, None, lends("h100-001"))

    assert {"18": {CHARGED: 4000}, "vision/a": {RESERVED: 4000}} == who(new, old, job)


# 1b: the pod's limit is smaller than what its privileged slurmd sees


def test_jobs_may_hold_more_than_the_limit_of_their_nodeset_pod() -> None:
    lender = pod("worker-0", 1000, 0, None, lends("h100-001"))

    assert {"18": {CHARGED: 8000}} == who(lender, run(18, 8000, 0, 100, node="h100-001"))


def test_what_such_a_job_takes_from_a_plain_pod_is_disputed() -> None:
    lender = pod("worker-0", 1000, 0, None, lends("h100-001"))
    web = pod("web", 7000, 10, None)

    assert {"18": {CHARGED: 1000}, "vision/web": {DISPUTED: 7000}} == who(
        run(18, 8000, 0, 100, node="h100-001"), lender, web
    )


# 2: slurm-bridge


def test_a_bridged_job_is_charged_once_to_its_pods() -> None:
    assert {"vision/solo": {CHARGED: 4000}, "": {IDLE: 4000}} == who(
        run(6001, 4000, 0, 100), pod("solo", 4000, 3, 95, bridged(6001))
    )


def test_what_slurm_gave_a_bridged_job_beyond_its_pods_stays_on_the_job() -> None:
    whole_node = run(6001, 8000, 0, 100)

    assert {"6001": {CHARGED: 6000}, "vision/solo": {CHARGED: 2000}} == who(
        whole_node, pod("solo", 2000, 3, 95, bridged(6001))
    )


def test_before_its_pods_and_after_them_the_whole_allocation_is_the_jobs() -> None:
    claims = (run(6001, 8000, 0, 100), pod("solo", 2000, 3, 95, bridged(6001)))

    assert {"6001": {CHARGED: 8000}} == who(*claims, at=1) == who(*claims, at=97)


def test_a_pod_within_the_grace_after_its_job_pays_for_itself() -> None:
    claims = (run(6001, 8000, 0, 100), pod("solo", 2000, 3, 105, bridged(6001)))

    assert {"vision/solo": {CHARGED: 2000}, "": {IDLE: 6000}} == who(*claims, at=102)


def test_pods_named_by_an_admin_comment_are_the_job_too() -> None:
    job = run(6001, 8000, 0, 100, names_pod("vision/solo"))

    assert {"6001": {CHARGED: 6000}, "vision/solo": {CHARGED: 2000}} == who(job, pod("solo", 2000, 3, 95))


# 2b: hybrid: slurmd takes cards that kubelet believes free


def test_a_nodeset_pod_without_cards_lends_what_it_has_not_and_the_job_pays() -> None:
    lender = pod("worker-0", 0, 0, None, lends("gn05"))

    assert {"18": {CHARGED: 3000}, "": {IDLE: 5000}} == who(lender, run(18, 3000, 0, 100, node="gn05"))


# 3: pods made by a job


def test_pods_made_by_a_job_are_shown_under_it_and_it_pays_for_all_its_cards() -> None:
    claims = (run(5120, 8000, 0, 100), *(pod(f"bert-{n}", 3000, 4, 90, made_by(5120)) for n in range(2)))

    found = nested(claims)

    assert {"5120": {CHARGED: 8000}} == who(*claims)
    assert (1, 2) == found.shown
    assert {0: 2000} == found.orphaned


def test_a_second_pod_that_does_not_fit_into_the_job_is_disputed_with_the_count() -> None:
    claims = (
        run(5120, 4000, 0, 100),
        pod("bert-0", 3000, 4, 90, made_by(5120)),
        pod("bert-1", 2000, 5, 90, made_by(5120)),
    )

    assert {"5120": {CHARGED: 4000}, "vision/bert-1": {DISPUTED: 2000}, "": {IDLE: 2000}} == who(*claims)
    assert {2: "count does not fit: 5000 milliGPU inside the 4000 of Slurm job 5120"} == nested(claims).reasons
    assert {0: 1000} == nested(claims).orphaned


def test_it_is_disputed_only_while_it_does_not_fit() -> None:
    claims = (
        run(5120, 4000, 0, 100),
        pod("bert-0", 4000, 4, 50, made_by(5120)),
        pod("bert-1", 4000, 45, 90, made_by(5120)),  # scheduled while the first one is still ending
    )

    assert {"5120": {CHARGED: 4000}, "vision/bert-1": {DISPUTED: 4000}} == who(*claims, at=47)
    assert {"5120": {CHARGED: 4000}, "": {IDLE: 4000}} == who(*claims, at=50)


def test_a_count_that_does_not_fit_says_when_the_share_of_the_node_is_assumed() -> None:
    claims = (run(5120, 4000, 0, 100, split_assumed=True), pod("bert-0", 6000, 4, 90, made_by(5120)))

    (reason,) = nested(claims).reasons.values()

    assert reason.endswith("of Slurm job 5120, its share of this node being assumed")


def test_a_false_key_makes_nobody_pay_and_bills_nobody() -> None:
    sneaky = pod("sneaky", 2000, 0, None, made_by(4711))

    assert {"vision/sneaky": {DISPUTED: 2000}, "": {IDLE: 6000}} == who(sneaky)


def test_bridged_and_made_pods_of_one_job_are_each_counted_by_their_own_rule() -> None:
    claims = (
        run(6001, 8000, 0, 100),
        pod("bridged", 4000, 3, 95, bridged(6001)),
        pod("made", 2000, 3, 95, made_by(6001)),
    )

    assert {"6001": {CHARGED: 4000}, "vision/bridged": {CHARGED: 4000}} == who(*claims)


# 4: stand-ins


def test_a_stand_in_holds_nothing_and_the_slurm_job_pays() -> None:
    assert {"18": {CHARGED: 1000}, "": {IDLE: 7000}} == who(run(18, 1000), pod("cow-job", 1000, 0, None, stands_in()))


# 5: everything nested


def test_pods_inside_a_job_inside_a_nodeset_pod_are_counted_once() -> None:
    claims = (
        pod("worker-0", 8000, 0, None, lends("h100-001")),
        run(18, 6000, 0, 100, node="h100-001"),
        pod("bert-0", 4000, 4, 90, made_by(18)),
    )

    assert {"18": {CHARGED: 6000}, "vision/worker-0": {RESERVED: 2000}} == who(*claims)
    assert {1: 2000} == nested(claims).orphaned


def test_slurm_inside_pods_that_a_slurm_job_made_is_paid_by_the_outermost_job() -> None:
    claims = (
        run(5120, 8000, 0, 100),
        pod("inner-slurmd", 8000, 2, 98, lends("inner-0", "inner"), made_by(5120)),
        run(7, 3000, 5, 90, node="inner-0", cluster="inner"),
    )

    assert {"5120": {CHARGED: 8000}} == who(*claims)
    assert (1, 2) == nested(claims).shown


def test_a_nodeset_that_slurm_bridge_placed_is_counted_once() -> None:
    claims = (
        run(6001, 8000, 0, 100),
        pod("worker-0", 6000, 3, 95, bridged(6001), lends("inner-0", "inner")),
        run(7, 1000, 5, 90, node="inner-0", cluster="inner"),
    )

    assert {"6001": {CHARGED: 2000}, "7": {CHARGED: 1000}, "vision/worker-0": {RESERVED: 5000}} == who(*claims)


def test_two_nodesets_inside_each_others_jobs_still_come_to_the_capacity() -> None:
    """Nobody can write this by accident, and it must not send anybody's cards nowhere."""
    claims = (
        pod("a", 4000, 0, 100, lends("a"), made_by(2)),
        pod("b", 4000, 0, 100, lends("b"), made_by(1)),
        run(1, 4000, 0, 100, node="a"),
        run(2, 4000, 0, 100, node="b"),
    )

    found = who(*claims)

    assert 8000 == sum(sum(held.values()) for held in found.values())
    assert not found.get("", {}).get(IDLE)


# 7, 8: runs of one job; 12: no key at all


def test_two_runs_of_one_job_are_two_claims() -> None:
    assert {"61": {CHARGED: 8000}} == who(run(61, 4000, 0, 60, submit=1), run(61, 4000, 0, 90, submit=2))


def test_a_pod_of_kjob_is_a_plain_pod_whatever_its_environment_says() -> None:
    """Its container has SLURM_JOB_ID=1 and no Slurm: no source makes a key of that, so nothing links to job 1."""
    claims = (run(1, 4000, 0, 100), pod("slurm-like-0-jljj7", 1000, 5, 90))

    assert {"1": {CHARGED: 4000}, "vision/slurm-like-0-jljj7": {CHARGED: 1000}, "": {IDLE: 3000}} == who(*claims)


def test_the_same_cards_without_any_key_are_disputed_and_name_both() -> None:
    claims = (run(18, 8000, 0, 100), pod("web", 8000, 5, None))

    parts = divide(8000, nested(claims).leaves, IDLE)

    assert [Part(DISPUTED, 0, 0, 1), Part(DISPUTED, 1, 8000, 0)] == parts
