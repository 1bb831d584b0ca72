"""Pods that the kubelet rejects or that end without a word when: what nobody can date is not billed.

The objects are as the kubelet leaves them: ``rejectPod`` writes phase, reason and message only, and merging that with
what was there drops the kubelet's conditions and container statuses.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.sources.kubernetes.nodes import NodeFacts, node_facts
from exporters.sources.kubernetes.pod_facts import HoldFrom
from tests.exporters.sources.book_world import World, interval, restarted
from tests.lab.kube_fake import iso, node

REASONS = ("UnexpectedAdmissionError", "OutOfnvidia.com/gpu", "OutOfcpu", "NodeAffinity", "Evicted", "Preempting")


WAITS: dict[str, Any] = {"node": "", "status": {"phase": "Pending", "conditions": []}}


def rejected(reason: str = REASONS[0], **more: Any) -> dict[str, Any]:
    return {"status": {"phase": "Failed", "reason": reason, "message": "Pod was rejected", "conditions": []}, **more}


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("listed", [True, False])
def test_a_rejected_pod_that_nobody_saw_before_holds_nothing(reason: str, listed: bool) -> None:
    world = World()
    if listed:
        world.store.replace_pods([world.facts("a", created=1000, **rejected(reason))], 500_000.0)
    else:
        world.put("a", 500_000.0, created=1000, **rejected(reason))

    assert ({}, {}) == (world.open(), world.told())


def test_an_evicted_pod_that_only_tells_when_it_was_bound_holds_nothing_that_somebody_could_date() -> None:
    world = World()
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": iso(1000)}
    world.put("a", 500_000.0, status={"phase": "Failed", "reason": "Evicted", "conditions": [bound]})

    assert ({}, {}) == (world.open(), world.told())


def test_a_pod_that_was_seen_bound_held_from_then_to_its_rejection() -> None:
    world = World()
    world.put("a", 9000.0, created=1000, **WAITS)
    world.put("a", 9010.0, created=1000, scheduled=9009)
    world.put("a", 9013.0, created=1000, **rejected())

    assert (9009, 9013, "finished") == interval(world.told(9020.0)["a"])


def test_a_pod_that_was_never_seen_bound_before_its_rejection_held_nothing() -> None:
    world = World()
    world.put("a", 9000.0, created=1000, **WAITS)
    world.put("a", 9013.0, created=1000, **rejected())

    assert {} == world.told(9020.0)


@pytest.mark.parametrize("hold_from", ["scheduled", "started"])
def test_a_pod_that_ran_and_is_rejected_after_its_kubelets_restart_keeps_its_start(hold_from: HoldFrom) -> None:
    world = World(hold_from)
    world.put("a", 7000.0, created=1000, scheduled=5000, started=5003)
    world.put("a", 9000.0, created=1000, **rejected())

    assert (5000 if hold_from == "scheduled" else 5003, 9000, "finished") == interval(world.told(9020.0)["a"])


def test_a_pod_that_was_rejected_while_nobody_watched_ends_when_it_was_last_seen() -> None:
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)

    after = restarted(world)  # at 2000
    after.store.replace_pods([after.facts("a", created=1000, meta={"resourceVersion": "77"}, **rejected())], 9000.0)
    after.store.caught_up()

    assert (1100, 2000, "vanished") == interval(after.told(9010.0)["a"])


def test_a_pod_that_was_rejected_in_a_gap_of_the_watch_ends_when_it_was_last_seen() -> None:
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)
    world.open(1530.0)
    world.store.replace_pods([world.facts("a", created=1000, **rejected())], 9000.0)

    assert (1100, 1530, "vanished") == interval(world.told(9010.0)["a"])


def test_a_rejection_that_a_watch_tells_after_it_was_cut_dates_nothing() -> None:
    """It happened at some time since the pod was last seen; a snapshot that is taken before the replay sees nothing."""
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)
    world.open(1530.0)
    world.store.behind()
    assert {"a"} == set(world.open(8990.0))
    world.put("a", 9000.0, created=1000, **rejected())

    assert (1100, 1530, "vanished") == interval(world.told(9010.0)["a"])


@pytest.mark.parametrize(("started", "end"), [(None, None), (1103, 1103)])
def test_a_pod_that_came_and_was_rejected_while_the_watch_was_cut_held_what_its_object_proves(
    started: int | None, end: int | None
) -> None:
    world = World()
    world.store.behind()
    world.put("a", 9000.0, created=1000, **WAITS)
    world.put("a", 9000.0, created=1000, scheduled=1100, **({} if started is None else {"started": started}))
    world.put("a", 9000.0, created=1000, **rejected())
    world.store.caught_up()

    told = world.told(9010.0)
    assert ([] if end is None else [(1100, end, "vanished")]) == [interval(c) for c in told.values()]
    assert {} == world.open(9010.0)


def test_what_a_watch_tells_after_it_has_caught_up_is_dated_by_when_it_is_told() -> None:
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)
    world.store.behind()
    world.store.caught_up()
    world.put("a", 9000.0, created=1000, **rejected())

    assert (1100, 9000, "finished") == interval(world.told(9010.0)["a"])


def test_a_pod_that_is_gone_without_a_date_when_the_watch_is_back_ends_when_it_was_last_seen() -> None:
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)
    world.open(1530.0)
    world.store.behind()
    world.drop("a", 9000.0, created=1000, scheduled=1100, started=1103)

    assert (1100, 1530, "vanished") == interval(world.told(9010.0)["a"])


def test_only_the_watch_that_was_cut_is_behind() -> None:
    world = World()
    world.put("a", 1500.0, created=1000, scheduled=1100, started=1103)
    world.store.behind("elsewhere")
    world.put("a", 9000.0, created=1000, **rejected())

    assert (1100, 9000, "finished") == interval(world.told(9010.0)["a"])


def test_conditions_that_turned_before_a_pod_was_last_seen_are_no_end() -> None:
    """A pod that never became ready is Ready=False since it was bound: it held its cards all the same."""
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": iso(1101)}
    world = World()
    world.put("a", 8000.0, scheduled=1100, started=1103)
    world.put("a", 9000.0, scheduled=1100, status={"phase": "Failed", "conditions": [unready]})

    assert (1100, 9000, "finished") == interval(world.told(9010.0)["a"])


def test_what_a_pod_held_in_an_earlier_life_stands_for_what_its_node_cannot_tell_now() -> None:
    world = World()
    world.store.nodes["n"] = world_node({"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.count": "2"}, "8")
    world.put("a", 1500.0, scheduled=1100, started=1103)

    after = restarted(world)
    after.store.nodes["n"] = world_node({"nvidia.com/gpu.replicas": "4"}, "0")
    after.put("a", 3000.0, scheduled=1100, started=1103)

    assert [(1100, 250)] == [(c.start, c.milligpu) for c in after.open(3000.0).values()]


def world_node(labels: dict[str, str], slots: str) -> NodeFacts:
    return node_facts(node("n", labels=labels, **{"nvidia.com/gpu": slots}))


STEPS = st.lists(st.sampled_from(["runs", "rejected", "bare", "list", "vanishes"]), min_size=1, max_size=8)


@given(STEPS, st.sampled_from(["scheduled", "started"]))
def test_poorer_and_later_evidence_never_replaces_a_known_start_or_end(steps: list[str], hold_from: HoldFrom) -> None:
    """However its object is overwritten, a pod that was seen to run held from its own start to its first end."""
    world, at = World(hold_from), 10_000
    start = 9000 if hold_from == "scheduled" else 9003
    world.put("a", float(at), created=1000, scheduled=9000, started=9003)
    ends: list[tuple[int, int | None, str]] = []
    for step in steps:
        at += 100
        known = world.store.pods.get("uid-a")
        if step == "vanishes":
            world.store.replace_pods([], float(at))
        elif step == "list" or known is None:
            world.store.replace_pods([known.facts] if known else [], float(at))
        else:
            bare = {"status": {"phase": "Running", "conditions": []}}
            runs = {"scheduled": 9000, "started": 9003}
            world.put("a", float(at), created=1000, **{"runs": runs, "rejected": rejected(), "bare": bare}[step])
        ends += [interval(c) for c in world.told(float(at)).values()][: 1 - len(ends)]
        for claim in world.open(float(at)).values():
            assert (start, None) == (claim.start, claim.end)
        for claim in world.told(float(at)).values():
            assert ends == [interval(claim)]
            assert claim.start == start
            assert 10_000 <= (claim.end or 0) <= at
    over = {"rejected", "vanishes"} & set(steps)
    assert bool(over) == bool(ends)
