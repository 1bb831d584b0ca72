from __future__ import annotations

from collections.abc import Sequence

from exporters.join.attribution import attribute
from exporters.join.fabric_jobs import Presence, jobs_by_machine, machines_by_job
from exporters.join.machines import machines_of
from exporters.join.site_picture import Picture, Reading
from exporters.model import Claim, Node
from tests.exporters import world as w


def picture(claims: Sequence[Claim], nodes: Sequence[Node]) -> Picture:
    machines = machines_of(nodes, claims)
    readings = [Reading(None, "", True, claims=claims, nodes=nodes)]
    return attribute(readings, machines, {}, grace=120, now=2000.0)


def test_an_external_job_and_the_pods_that_it_is_are_one_job() -> None:
    job, pod = w.slurm_job(18), w.pod_job("bridge")
    claims = [w.slurm_claim(job, "gn01", 8000), w.pod_claim(pod, "gn01", 4000, w.same(job))]
    found = jobs_by_machine(picture(claims, [w.slurm_node("gn01"), w.kube_node("gn01")]))

    assert {"gn01": (pod.key,)} == found


def test_pods_inside_a_job_are_the_jobs() -> None:
    job, pod = w.slurm_job(18), w.pod_job("workers")
    claims = [w.slurm_claim(job, "gn01", 8000), w.pod_claim(pod, "gn01", 4000, w.inside(job))]

    assert {"gn01": (job.key,)} == jobs_by_machine(picture(claims, [w.slurm_node("gn01"), w.kube_node("gn01")]))


def test_a_pod_that_lends_its_cards_on_is_no_job() -> None:
    job, pod = w.slurm_job(18), w.pod_job("worker")
    claims = [w.slurm_claim(job, "slinky-0", 2000), w.pod_claim(pod, "k01", 8000, w.lends("slinky-0"))]
    found = jobs_by_machine(picture(claims, [w.slurm_node("slinky-0"), w.kube_node("k01")]))

    assert {"k01": (job.key,)} == found
    assert {job.key: frozenset({"k01"})} == machines_by_job(found)


def test_a_job_on_a_machine_of_unknown_capacity_is_there_too() -> None:
    job = w.slurm_job(18)

    assert {"gn09": (job.key,)} == jobs_by_machine(picture([w.slurm_claim(job, "gn09", 8000)], []))


def test_who_was_there_all_along_and_who_at_some_time() -> None:
    first, second = w.slurm_job(18).key, w.slurm_job(19).key
    presence = Presence(keep=10)
    presence.step(1, {"gn01": (first,)})
    presence.step(2, {"gn01": (first, second)})
    presence.step(3, {"gn01": (second,)})

    assert ([second], [second, first]) == presence.owners("gn01", 2)
    assert ([], [second, first]) == presence.owners("gn01", 1)
    assert ([second], [second]) == presence.owners("gn01", 3)
    assert ([], []) == presence.owners("gn02", 1)


def test_who_left_long_ago_is_forgotten() -> None:
    first, second = w.slurm_job(18).key, w.slurm_job(19).key
    presence = Presence(keep=3)
    presence.step(1, {"gn01": (first, second)})
    for step in range(2, 8):
        presence.step(step, {"gn01": (second,)})

    assert ([second], [second]) == presence.owners("gn01", 1)
    assert {} == presence._left


def test_a_pod_that_keeps_its_cards_is_there_though_another_of_its_workload_lends_them_on() -> None:
    job, workload = w.slurm_job(18), w.pod_job("worker")
    claims = [
        w.slurm_claim(job, "slinky-0", 2000),
        w.pod_claim(workload, "k01", 4000, w.lends("slinky-0")),
        w.pod_claim(workload, "k01", 1000, pod="worker-1"),
    ]

    assert {"k01": (workload.key, job.key)} == jobs_by_machine(picture(claims, [w.kube_node("k01")]))


def test_a_pod_that_lends_its_cards_on_is_no_job_on_a_machine_of_unknown_capacity_either() -> None:
    plain, lender = w.pod_job("plain"), w.pod_job("worker")
    claims = [w.pod_claim(plain, "k09", 1000), w.pod_claim(lender, "k09", 4000, w.lends("slinky-0"))]

    assert {"k09": (plain.key,)} == jobs_by_machine(picture(claims, []))
