"""What ends a claim, when, and how often that is told."""

from __future__ import annotations

import pytest

from exporters.sources.kubernetes.claims import Root, wanted
from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.kubernetes.watch.snapshot import PATIENCE, snapshot
from tests.exporters.sources.book_world import FINAL, GRACEFUL, World, interval
from tests.lab.kube_fake import iso, node, pod


def test_a_finished_pod_ends_with_its_last_container() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010)
    world.put("a", scheduled=1000, started=1010, finished=1200)

    assert (1000, 1200, "finished") == interval(world.told()["a"])
    assert {} == world.open()


def test_its_later_deletion_changes_nothing() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.drop("a", 1600, scheduled=1000, started=1010, finished=1200, meta=FINAL)

    assert [(1000, 1200, "finished")] == [interval(c) for c in world.told().values()]


def test_a_deletion_that_carries_the_end_is_an_end_by_finishing() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010)
    world.drop("a", 1600, scheduled=1000, started=1010, finished=1480, meta=FINAL)

    assert (1000, 1480, "finished") == interval(world.told()["a"])


def test_a_forced_delete_ends_at_the_servers_final_delete() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010)
    world.drop("a", 1777, scheduled=1000, started=1010, meta=FINAL)

    assert (1000, 1500, "deleted") == interval(world.told()["a"])


def test_a_pod_that_a_finalizer_kept_ends_when_it_is_gone() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, finalizers=["x/y"], meta=FINAL)
    world.drop("a", 1777, scheduled=1000, started=1010, meta=FINAL)

    assert (1000, 1777, "deleted") == interval(world.told()["a"])


def test_a_deletion_in_its_grace_ends_nothing() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, meta=GRACEFUL)

    assert (1000, None, "") == interval(world.open(9999.0)["a"])
    assert {} == world.told()


def test_a_pod_on_an_unreachable_node_goes_on_holding() -> None:
    world = World()
    raw = node("n")
    raw["status"]["conditions"] = [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]
    world.put("a", scheduled=1000, started=1010, meta=GRACEFUL)
    world.store.nodes["n"] = node_facts(raw)

    found = snapshot(world.store, 9999.0)

    assert [None] == [c.end for c in world.open().values()]
    assert [(8000, False, "not ready (NodeStatusUnknown)")] == [(n.milligpu, n.up, n.reason) for n in found.nodes]


def test_a_pod_that_a_list_misses_vanished_when_it_was_last_seen() -> None:
    world = World()
    world.put("a", 1020.0, scheduled=1000, started=1010, meta=GRACEFUL)
    world.put("b", 1700.9, scheduled=1000, started=1010)
    world.open(1500.9)
    world.store.replace_pods([], 2000.9)

    found = world.told()

    assert {"a": (1000, 1500, "vanished"), "b": (1000, 1700, "vanished")} == {n: interval(c) for n, c in found.items()}


def test_a_successor_of_the_name_proves_that_the_first_had_gone() -> None:
    world = World()
    world.put("a", 1020.0, scheduled=1000, started=1010)
    world.open(1500.0)
    successor = pod_facts(pod("a", node="n", created=1400, scheduled=1401, meta={"uid": "other"}))
    world.store.replace_pods([successor], 2000.0)

    assert (1000, 1400, "vanished") == interval(world.told()["a"])


def test_a_pod_whose_final_delete_was_seen_vanished_then() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, meta=FINAL)
    world.store.replace_pods([], 2000.9)

    assert (1000, 1500, "vanished") == interval(world.told()["a"])


def test_a_restart_in_place_ends_nothing_and_hides_no_start() -> None:
    world = World("started")
    world.put("a", scheduled=1000, started=1010)
    crash = {
        "phase": "Running",
        "startTime": iso(1004),
        "containerStatuses": [
            {
                "restartCount": 3,
                "state": {"running": {"startedAt": iso(1400)}},
                "lastState": {"terminated": {"startedAt": iso(1300), "finishedAt": iso(1390)}},
            }
        ],
    }
    fresh = World("started")

    world.put("a", scheduled=1000, status={**crash, "startTime": iso(1300)})
    fresh.put("a", scheduled=1000, status=crash)

    assert (1010, None, "") == interval(world.open()["a"]), "remembered"
    assert (1004, None, "") == interval(fresh.open()["a"]), "nobody saw it: the kubelet's own start time"


def test_a_reused_name_is_another_pod() -> None:
    world = World()
    world.put("web-0", uid="old", scheduled=1000, started=1010)
    world.put("web-0", uid="new", scheduled=1600, started=1610)
    world.drop("web-0", 1700, uid="old", scheduled=1000, started=1010, finished=1500)

    assert ["old"] == [c.unit for c in world.told().values()]
    assert ["new"] == [c.unit for c in world.open().values()]


def test_history_that_is_replayed_does_not_undo_what_is_known() -> None:
    world = World()
    old = world.facts("a", scheduled=1000, started=1010)
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.store.put_pod(old, 1300)

    assert {} == world.open()
    assert (1000, 1200, "finished") == interval(world.told()["a"])


def test_history_that_is_replayed_does_not_take_back_a_key() -> None:
    world = World()
    old = world.facts("a", scheduled=1000)
    world.put("a", scheduled=1000, labels={"scheduler.slinky.slurm.net/slurm-jobid": "7"})
    world.store.put_pod(old, 1300)

    assert ["7"] == [k.value for k in world.open()["a"].keys]


def test_a_pod_that_never_held_is_never_told() -> None:
    world = World()
    world.put("unscheduled", node="")
    world.drop("unscheduled", 1500, node="", meta=FINAL)
    world.put("rejected", scheduled=1000, status={"phase": "Failed", "reason": "UnexpectedAdmissionError"}, at=1000)

    assert {} == world.told()
    assert {} == world.open()


def test_before_its_first_start_a_pod_holds_only_by_its_binding() -> None:
    pulling, waiting = World("scheduled"), World("started")
    for world in (pulling, waiting):
        world.put("a", scheduled=1000)

    assert (1000, None, "") == interval(pulling.open()["a"])
    assert {} == waiting.open()


def test_an_end_before_its_start_is_a_reject_and_the_rest_goes_on() -> None:
    world = World()
    world.put("skewed", scheduled=1000, started=900, finished=950)
    world.put("fine", scheduled=1000, started=1010, finished=1200)

    found = snapshot(world.store, 9000.0)

    assert {"fine"} == set(world.told())
    assert [
        "pod lab/skewed ends at 950, before it starts at 1000: are the clocks of its node and the API server in step?"
    ] == [r.reason for r in found.rejects]


def test_ends_and_rejects_are_repeated_until_acknowledged() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.put("skewed", scheduled=1000, started=900, finished=950)
    world.roots()

    first, second = snapshot(world.store, 10.0), snapshot(world.store, 20.0)
    world.put("b", scheduled=1000, started=1010, finished=1300)
    world.store.acknowledge(20.0)
    third = world.told(30.0)
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.put("skewed", scheduled=1000, started=900, finished=950)

    assert first.ended == second.ended != ()
    assert first.rejects == second.rejects != ()
    assert {"b"} == set(third)
    assert () == snapshot(world.store, 40.0).rejects, "the same complaint is made once"
    assert {"b"} == set(world.told(50.0))


def test_what_a_node_offers_later_changes_no_claim() -> None:
    world = World()
    world.store.nodes["n"] = node_facts(
        node("n", labels={"nvidia.com/gpu.count": "1"}, **{"nvidia.com/gpu.shared": "4"})
    )
    world.put("a", scheduled=1000, resource="nvidia.com/gpu.shared")
    world.store.nodes["n"] = node_facts(
        node("n", labels={"nvidia.com/gpu.count": "1"}, **{"nvidia.com/gpu.shared": "2"})
    )
    world.put("b", scheduled=1000, resource="nvidia.com/gpu.shared")
    world.put("a", scheduled=1000, resource="nvidia.com/gpu.shared", finished=1200, started=1100)

    assert 250 == world.told()["a"].milligpu
    assert 500 == world.open()["b"].milligpu


def test_a_pod_on_an_unknown_node_is_counted_once_the_node_is_known() -> None:
    world = World()
    world.put("a", scheduled=1000, node="m", resource="nvidia.com/gpu.shared")
    world.roots()

    before = snapshot(world.store, 10.0)
    world.store.nodes["m"] = node_facts(
        node("m", labels={"nvidia.com/gpu.count": "1"}, **{"nvidia.com/gpu.shared": "4"})
    )

    assert (False, ()) == (before.complete, before.claims)
    assert "1 pods cannot be counted yet: pod lab/a: node m is not known" in before.problems
    assert 250 == world.open()["a"].milligpu
    assert snapshot(world.store, 30.0).complete


def test_what_stays_unknown_of_an_ended_pod_is_a_reject_in_time() -> None:
    world = World()
    world.put("a", at=2000, scheduled=1000, started=1010, finished=1200, claims={"c": "gone"})

    early = world.told(2000 + PATIENCE)
    late = world.told(2001 + PATIENCE)
    reasons = [r.reason for r in snapshot(world.store, 9000.0).rejects]

    assert {} == early
    assert 1000 == late["a"].milligpu, "what is known of it is told"
    assert "ResourceClaim lab/gone shows no allocation" in reasons[0]


def test_a_pod_waits_for_its_workload_to_be_known() -> None:
    world = World()
    world.put("a", scheduled=1000)

    fresh = snapshot(world.store, 5.0)
    world.store.rootless()
    before = snapshot(world.store, 10.0)

    assert (True, ()) == (fresh.complete, fresh.claims), "it has only just come"
    assert (False, ("1 pods wait for their owners to be read",), ()) == (
        before.complete,
        before.problems,
        before.claims,
    )
    assert {"a"} == set(world.open())


def test_the_state_of_a_job_follows_its_pods() -> None:
    world = World()
    root = Root("Job", "j", "job-uid", {})
    for name in ("a", "b"):
        world.put(name, scheduled=1000, started=1010)
    world.store.put_roots({"uid-a": root, "uid-b": root})

    running = snapshot(world.store, 10.0).jobs[0]
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.drop("b", 1700, scheduled=1000, started=1010, meta=FINAL)
    over = snapshot(world.store, 20.0).jobs[0]
    world.store.acknowledge(20.0)

    assert ("Running", 1000, None) == (running.state, running.start, running.end)
    assert ("Deleted", 1000, 1500) == (over.state, over.start, over.end)
    assert () == snapshot(world.store, 30.0).jobs


def test_a_deletion_that_does_not_say_when_is_one_when_it_is_told() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010)
    world.drop("a", 1777.9, scheduled=1000, started=1010)

    assert (1000, 1777, "deleted") == interval(world.told()["a"])


def test_a_pod_that_a_finalizer_kept_vanished_when_it_was_last_seen() -> None:
    world = World()
    world.put("a", 1900.9, scheduled=1000, started=1010, finalizers=["x/y"], meta=FINAL)
    world.store.replace_pods([], 2000.9)

    assert (1000, 1900, "vanished") == interval(world.told()["a"])


def test_what_a_later_snapshot_carried_is_not_acknowledged_with_an_earlier_one() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.put("skewed", scheduled=1000, started=900, finished=950)
    world.roots()
    first = snapshot(world.store, 10.0)

    world.store.acknowledge(9.9)
    second = snapshot(world.store, 20.0)
    world.store.acknowledge(10.0)
    third = snapshot(world.store, 30.0)

    assert (first.ended, first.rejects) == (second.ended, second.rejects)
    assert ((), ()) == (third.ended, third.rejects)


def test_waiting_pods_of_one_workload_and_queue_ask_together() -> None:
    world = World()
    waiting = {"kueue.x-k8s.io/queue-name": "night"}
    for name, gpus, labels in (("a", 2, {}), ("b", 3, {}), ("c", 1, waiting)):
        world.store.put_pod(pod_facts(pod(name, gpus=gpus, labels=labels)), 0.0)
    done = pod("done", gpus=8, phase="Failed")
    world.store.put_pod(pod_facts(done), 0.0)
    world.put("placed", scheduled=1000, gpus=4)
    world.store.put_pod(pod_facts(pod("rootless", gpus=7)), 0.0)
    job = Root("Job", "train", "uid-train", {})
    world.store.put_roots({p.uid: job for p in world.store.rootless() if p.name != "rootless"})

    asked = {(d.job.id, d.partition): d.milligpu for d in snapshot(world.store, 10.0).demands}

    assert {("uid-train", ""): 5000, ("uid-train", "night"): 1000} == asked


def test_a_waiting_pod_asks_for_what_its_slices_are_on_a_node_or_by_their_names() -> None:
    labels = {"nvidia.com/gpu.count": "2", "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    offers = node_facts(node("n", labels=labels, **{"nvidia.com/mig-1g.20gb": "4"}))
    waits = pod_facts(pod("a", gpus=2, resource="nvidia.com/mig-1g.20gb"))
    odd = pod_facts(pod("b", gpus=2, resource="nvidia.com/mig-odd"))

    assert [1000, 500, 2000] == [wanted(waits, [offers], None), wanted(waits, [], None), wanted(odd, [], None)]


@pytest.mark.parametrize("told", [False, True])
def test_a_deletion_that_is_told_late_was_before_its_successor_was_created(told: bool) -> None:
    world = World()
    world.put("a", 1020.0, scheduled=1000, started=1010)
    world.drop("a", 1500.0, scheduled=1000, started=1010)
    if told:
        world.told(1501.0)
    world.put("a", 1502.0, created=1400, scheduled=1401, meta={"uid": "other"})

    assert (1000, 1400, "deleted") == interval(world.told(1510.0)["a"])
