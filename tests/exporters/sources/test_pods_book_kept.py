"""What the store keeps over a restart, and of cards that pods share."""

from __future__ import annotations

import pytest

from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.kubernetes.watch.entries import Kept
from exporters.sources.kubernetes.watch.store import Store
from tests.exporters.sources.book_world import FINAL, World, interval, restarted, sharing
from tests.lab.kube_fake import pod


def test_a_pod_of_an_earlier_life_that_is_missing_vanished_when_that_saw_it_last() -> None:
    world = World()
    world.put("gone", scheduled=1000, started=1010)
    world.put("here", scheduled=1000, started=1010)

    after = restarted(world)
    after.store.replace_pods([after.facts("here", scheduled=1000, started=1010)], 3000.0)
    waiting = after.told()
    after.store.caught_up()

    assert {} == waiting, "its end may still be replayed"
    assert (1000, 2000, "vanished") == interval(after.told()["gone"])
    assert {"here"} == set(after.open())


def test_its_end_is_exact_where_the_server_still_remembers() -> None:
    world = World()
    world.put("gone", scheduled=1000, started=1010)
    world.version = 50

    after = restarted(world)
    after.store.replace_pods([], 3000.0)
    after.drop("gone", 3001, scheduled=1000, started=1010, finished=2500, meta=FINAL)
    after.drop("short", 3001, scheduled=2100, started=2110, finished=2200, meta=FINAL)
    after.store.caught_up()

    assert {"gone": (1000, 2500, "finished"), "short": (2100, 2200, "finished")} == {
        name: interval(c) for name, c in after.told().items()
    }


def test_what_nobody_took_over_is_told_again_and_what_was_taken_is_not() -> None:
    world = World()
    world.put("taken", scheduled=1000, started=1010, finished=1200)
    world.told(1.0)
    world.store.acknowledge(1.0)
    world.put("left", scheduled=1000, started=1010, finished=1300)

    after = restarted(world)
    present = [
        after.facts(name, scheduled=1000, started=1010, finished=f) for name, f in (("taken", 1200), ("left", 1300))
    ]
    after.store.replace_pods(present, 3000.0)
    after.store.caught_up()

    assert {"left"} == set(after.told())


def test_a_first_start_is_remembered_over_the_restart() -> None:
    world = World("started")
    world.put("a", scheduled=1000, started=1010)

    after = restarted(world)
    after.store.replace_pods([after.facts("a", scheduled=1000, started=1500)], 3000.0)

    assert 1010 == after.open()["a"].start


def test_an_end_that_no_snapshot_carried_is_not_acknowledged() -> None:
    world = World()
    world.put("gone", scheduled=1000, started=1010)

    after = restarted(world)
    after.store.replace_pods([], 3000.0)
    after.store.caught_up()
    after.store.acknowledge(9000.0)

    assert {"gone"} == set(after.told())


def test_what_was_told_of_pods_that_are_gone_is_not_kept_for_ever() -> None:
    world = World()
    world.put("a", scheduled=1000, started=1010, finished=1200)
    world.told(1.0)
    world.store.acknowledge(1.0)

    after = restarted(world)
    before = after.store.kept().told
    after.store.replace_pods([], 3000.0)
    after.store.caught_up()

    assert {"uid-a"} == before
    assert Kept() == after.store.kept()


def test_the_next_user_takes_over_where_the_first_ended_even_when_that_one_is_long_gone() -> None:
    world = sharing(World())
    for name in ("a", "b"):
        world.put(name, gpus=0, scheduled=1000, started=1010, claims={"c": "c"})
    both = world.open()
    world.drop("a", 1700, gpus=0, scheduled=1000, started=1010, finished=1500, claims={"c": "c"})
    told = world.told(5.0)
    world.store.acknowledge(5.0)
    alone = world.open()
    after = sharing(restarted(world))
    after.put("b", gpus=0, scheduled=1000, started=1010, claims={"c": "c"})

    assert {"a"} == set(both)
    assert (1000, 1500) == (told["a"].start, told["a"].end)
    assert {"b": 1500} == {name: c.start for name, c in alone.items()}
    assert {"b": 1500} == {name: c.start for name, c in after.open().items()}, "also after a restart"


def test_a_user_of_an_earlier_life_holds_until_it_is_known_to_have_gone() -> None:
    world = sharing(World())
    for name in ("a", "b"):
        world.put(name, gpus=0, scheduled=1000, started=1010, claims={"c": "c"})

    after = sharing(restarted(world))
    after.store.replace_pods([after.facts("b", gpus=0, scheduled=1000, started=1010, claims={"c": "c"})], 3000.0)
    before = after.open()
    after.store.caught_up()

    assert {} == before
    assert {"a": (1000, 2000, "vanished")} == {name: interval(c) for name, c in after.told().items()}
    assert {"b": (2000, None, "")} == {name: interval(c) for name, c in after.open().items()}


@pytest.mark.parametrize("over", [False, True])
def test_namespaces_vanish_each_on_its_own(over: bool) -> None:
    store = Store("k", "scheduled", {}, None, ("one", "two"))
    for namespace in ("one", "two"):
        store.put_pod(pod_facts(pod("a", namespace=namespace, uid=namespace, node="n", scheduled=1000)), 0)
    if over:
        store.replace_pods([], 3000.0, "one")

    assert ({"two"} if over else {"one", "two"}) == set(store.pods)
