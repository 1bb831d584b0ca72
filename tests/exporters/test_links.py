"""Keys are followed and verified: node in list, interval inside; what does not verify says why."""

from __future__ import annotations

import pytest

from exporters.join.links import FOREVER, Link, end_of, find_links
from exporters.model import Claim, LinkKey, LinkKind
from tests.exporters.records import bridged, lends, made_by, names_pod, pod, run, stands_in

LENDS, SAME, INSIDE, STAND_IN = LinkKind.LENDS, LinkKind.SAME, LinkKind.INSIDE, LinkKind.STAND_IN


def links(*claims: Claim, grace: int = 120) -> list[Link]:
    return find_links(claims, grace=grace)


def joined(*claims: Claim, grace: int = 120) -> list[tuple[int, int]]:
    """Pairs (inner, outer) of verified links."""
    return [(n.inner, n.outer) for n in links(*claims, grace=grace) if n.verified]


def refusal(*claims: Claim, grace: int = 120) -> str:
    """The reason of the only link, which does not verify."""
    (link,) = links(*claims, grace=grace)

    assert not link.verified
    assert -1 == link.outer
    return link.reason


def test_claims_without_keys_are_not_linked() -> None:
    assert [] == links(run(18, 4000), pod("web", 4000))


# lends


def test_a_job_on_the_node_that_a_nodeset_pod_is_lives_inside_the_pod() -> None:
    found = links(run(18, 4000, 100, 200, node="h100-001"), pod("worker-0", 8000, 0, None, lends("h100-001")))

    assert [Link(LENDS, 0, 1, "pod vision/worker-0 is Slurm node h100-001")] == found


def test_a_job_on_another_node_or_cluster_does_not() -> None:
    lender = pod("worker-0", 8000, 0, None, lends("h100-001"))

    assert [] == links(run(18, 4000, node="h100-002"), lender)
    assert [] == links(run(18, 4000, node="h100-001", cluster="hpc2"), lender)


def test_a_lender_that_names_no_cluster_lends_to_whichever_there_is() -> None:
    assert [(0, 1)] == joined(run(18, 4000, node="h100-001"), pod("worker-0", 8000, 0, None, lends("h100-001", "")))


def test_a_job_outlives_its_lender_and_goes_on_in_the_next() -> None:
    job = run(18, 4000, 100, 500, node="h100-001")
    first = pod("worker-0-a", 8000, 0, 300, lends("h100-001"))
    second = pod("worker-0-b", 8000, 320, None, lends("h100-001"))

    assert [(0, 1), (0, 2)] == joined(job, first, second)


def test_a_job_that_ended_before_its_lender_came_was_never_inside_it() -> None:
    job = run(18, 4000, 100, 300, node="h100-001")

    assert [] == links(job, pod("worker-0", 8000, 300, None, lends("h100-001")))


# same


def test_a_bridged_pod_is_its_external_job() -> None:
    found = links(run(6001, 8000, 0, 100), pod("bridge-train-njqlq", 2000, 3, 95, bridged(6001)))

    assert [Link(SAME, 1, 0, "scheduler.slinky.slurm.net/slurm-jobid=6001")] == found


def test_all_pods_of_one_external_job_are_it() -> None:
    pods = [pod(f"group-{n}", 2000, 3, 95, bridged(6001)) for n in range(3)]

    assert [(1, 0), (2, 0), (3, 0)] == joined(run(6001, 8000, 0, 100), *pods)


def test_an_external_job_that_names_its_pods_is_found_when_the_label_is_gone() -> None:
    job = run(6001, 8000, 0, 100, names_pod("vision/bridge-solo"))

    assert [(1, 0)] == joined(job, pod("bridge-solo", 4000, 3, 95))


def test_a_pod_of_the_same_name_at_another_time_is_none_of_the_jobs_business() -> None:
    job = run(6001, 8000, 0, 100, names_pod("vision/notebook-0"))

    assert [] == links(job, pod("notebook-0", 4000, 100, None))


def test_a_named_pod_that_does_not_end_with_the_job_is_disputed() -> None:
    job = run(6001, 8000, 0, 100, names_pod("vision/notebook-0"))

    assert "interval is not inside that of Slurm job 6001 of hpc1" == refusal(job, pod("notebook-0", 4000, 3, None))


def test_a_pods_own_key_goes_before_its_name_in_an_admin_comment() -> None:
    claims = (run(6001, 4000, 0, 100, names_pod("vision/solo")), run(6002, 4000, 0, 100))

    assert [(2, 1)] == joined(*claims, pod("solo", 4000, 3, 95, bridged(6002)))


# inside: node, interval


def test_pods_made_by_a_job_are_inside_it() -> None:
    found = links(run(5120, 8000, 0, 100), pod("bert-ft-worker-0", 4000, 4, 90, made_by(5120)))

    assert [Link(INSIDE, 1, 0, "meterbridge.io/slurm-job-id=5120")] == found


def test_a_key_to_a_job_that_is_not_on_this_node_does_not_verify() -> None:
    sneaky = pod("sneaky-worker-0", 2000, 4, 90, made_by(4711))

    assert "no run of Slurm job 4711 of hpc1 is on this node" == refusal(sneaky, run(18, 8000, 0, 100))


def test_a_key_to_the_same_number_of_another_cluster_does_not_verify() -> None:
    worker = pod("worker-0", 2000, 4, 90, made_by(5120, "hpc2"))

    assert "no run of Slurm job 5120 of hpc2 is on this node" == refusal(worker, run(5120, 8000, 0, 100))


def test_a_key_that_names_no_cluster_is_verified_against_the_only_job_of_that_number() -> None:
    assert [(1, 0)] == joined(run(5120, 8000, 0, 100), pod("worker-0", 4000, 4, 90, made_by(5120, "")))


def test_a_key_that_names_no_cluster_is_refused_where_two_clusters_have_that_job() -> None:
    claims = (run(5120, 4000, 0, 100), run(5120, 4000, 0, 100, cluster="hpc2"))

    reason = refusal(*claims, pod("worker-0", 4000, 4, 90, made_by(5120, "")))

    assert "the key names no cluster, and hpc1 and hpc2 each have a Slurm job 5120" == reason


@pytest.mark.parametrize(
    ("start", "end", "fits"),
    [
        (100, 200, True),
        (98, 202, True),  # two seconds of skew each side, which is the grace
        (97, 200, False),
        (100, 203, False),
        (100, None, False),
        (0, 50, False),
        (98, 100, False),  # within the grace, but never together with the job
        (150, 150, True),
    ],
)
def test_a_pod_is_inside_when_its_interval_is_give_or_take_the_grace(start: int, end: int | None, fits: bool) -> None:
    claims = (run(5120, 8000, 100, 200), pod("worker-0", 4000, start, end, made_by(5120)))

    assert fits == (joined(*claims, grace=2) == [(1, 0)])
    if not fits:
        assert "interval is not inside that of Slurm job 5120 of hpc1" == refusal(*claims, grace=2)


def test_a_pod_still_held_is_inside_a_job_still_held() -> None:
    assert [(1, 0)] == joined(run(5120, 8000, 100), pod("worker-0", 4000, 100, None, made_by(5120)))


def test_of_the_runs_of_a_requeued_job_the_pod_is_inside_the_one_it_ran_with() -> None:
    first = run(61, 8000, 100, 200, submit=90)
    second = run(61, 8000, 330, 500, submit=201)

    assert [(2, 1)] == joined(first, second, pod("worker-0", 4000, 340, 490, made_by(61)))
    assert [(2, 0)] == joined(first, second, pod("worker-0", 4000, 110, 190, made_by(61)))


def test_a_pod_that_survives_the_requeue_of_its_job_does_not_verify() -> None:
    first = run(61, 8000, 100, 200, submit=90)
    second = run(61, 8000, 330, 500, submit=201)

    assert "interval is not inside" in refusal(first, second, pod("worker-0", 4000, 110, 490, made_by(61)))


def test_a_job_id_used_again_years_later_is_another_job() -> None:
    old, new = run(18, 8000, 100, 200, submit=90), run(18, 8000, 90_000, 91_000, submit=89_999)

    assert [(2, 1)] == joined(old, new, pod("worker-0", 4000, 90_010, 90_900, made_by(18)))


def test_pods_of_a_resized_job_are_inside_both_of_its_rows() -> None:
    before, after = run(75, 8000, 100, 200, submit=90), run(75, 4000, 200, 500, submit=200)

    assert [(2, 0), (2, 1)] == joined(before, after, pod("worker-0", 4000, 110, 490, made_by(75)))


def test_what_the_system_wrote_goes_before_what_a_user_wrote() -> None:
    claims = (run(6001, 8000, 0, 100), run(5120, 8000, 0, 100))

    (link,) = links(*claims, pod("bridge-solo", 4000, 3, 95, made_by(5120), bridged(6001)))

    assert (SAME, 0) == (link.kind, link.outer)


def test_a_nodeset_pod_cannot_be_inside_a_job_that_runs_inside_it() -> None:
    job = run(18, 8000, 0, 100, node="h100-001")
    lender = pod("worker-0", 8000, 0, 100, lends("h100-001"), made_by(18))

    refused = [n.reason for n in links(job, lender) if not n.verified]

    assert ["Slurm job 18 of hpc1 runs inside this pod, so the pod cannot be inside the job"] == refused
    assert [(0, 1)] == joined(job, lender)


def test_evidence_is_the_key_when_it_has_none_of_its_own() -> None:
    (link,) = links(run(18, 8000), pod("worker-0", 1000, 0, None, LinkKey(INSIDE, "hpc1", "18")))

    assert "inside hpc1/18" == link.evidence


# stand_in


def test_a_stand_in_needs_no_job_to_be_one() -> None:
    assert [Link(STAND_IN, 0, -1, "node vk-slurm-01 has label type=virtual-kubelet")] == links(
        pod("cow-job", 0, 0, None, stands_in())
    )


def test_the_end_of_a_claim_still_held_is_after_every_other() -> None:
    assert (FOREVER, 7) == (end_of(pod("web", 1000)), end_of(pod("web", 1000, 0, 7)))


@pytest.mark.parametrize("moment", [100, 150, 200])
def test_a_pod_of_no_length_touches_the_job_that_it_lies_in_borders_and_all(moment: int) -> None:
    (link,) = find_links([run(5120, 8000, 100, 200), pod("w", 1000, moment, moment, made_by(5120))], grace=0)

    assert (0, True) == (link.outer, link.verified)


@pytest.mark.parametrize("moment", [99, 201])
def test_a_pod_of_no_length_outside_of_its_job_is_not_inside_it(moment: int) -> None:
    (link,) = find_links([run(5120, 8000, 100, 200), pod("w", 1000, moment, moment, made_by(5120))], grace=60)

    assert not link.verified
