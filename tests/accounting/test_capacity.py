from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accounting.evidence.capacity import Event, NodeFacts, Sighting, stretches
from tests.accounting.site import gn


def told(facts: NodeFacts, start: int = 0, end: int = 100) -> list[tuple[Any, ...]]:
    return [(s.start, s.end, s.model, s.milligpu, s.up, s.reason) for s in stretches(facts, start, end)]


def seen(
    start: int, end: int, milligpu: int = 8000, *, up: bool = True, basis: str = "silent", **more: Any
) -> Sighting:
    return Sighting(start, end, more.pop("model", "h100"), milligpu, up, more.pop("reason", ""), basis)


def test_a_node_has_what_was_seen_and_keeps_it_until_somebody_says_otherwise() -> None:
    facts = NodeFacts(gn(1), [seen(10, 30)])

    assert [(10, 100, "h100", 8000, True, "")] == told(facts)


def test_a_hole_between_two_sightings_is_carried_from_the_first() -> None:
    facts = NodeFacts(gn(1), [seen(10, 30, 8000), seen(60, 90, 4000)])

    assert [(10, 60, "h100", 8000, True, ""), (60, 100, "h100", 4000, True, "")] == told(facts)


def test_a_node_that_left_has_nothing_until_it_is_back() -> None:
    facts = NodeFacts(gn(1), [seen(10, 30, basis="left"), seen(60, 90, basis="left")])

    assert [(10, 30, "h100", 8000, True, ""), (60, 90, "h100", 8000, True, "")] == told(facts)


def test_before_it_was_first_seen_a_node_reaches_back_to_the_first_record_that_names_it() -> None:
    assert [(20, 100, "h100", 8000, True, "")] == told(NodeFacts(gn(1), [seen(50, 60)], mentioned=20))
    assert [(15, 100, "h100", 8000, True, "")] == told(
        NodeFacts(gn(1), [seen(50, 60)], [Event(15, 18, up=True)], mentioned=20)
    )


def test_a_node_never_seen_and_without_events_has_no_known_capacity() -> None:
    assert [] == told(NodeFacts(gn(1), mentioned=5))


def test_events_that_name_no_cards_give_a_node_that_was_never_seen_none() -> None:
    assert [] == told(NodeFacts(gn(1), (), [Event(20, 30, up=False, reason="bad fan")], read=[(0, 100)]))


def test_a_node_never_seen_has_what_its_events_say() -> None:
    events = [Event(20, 30, up=False, milligpu=8000, reason="bad fan"), Event(60, None, up=True, milligpu=4000)]

    assert [
        (5, 20, "", 8000, True, ""),
        (20, 30, "", 8000, False, "bad fan"),
        (30, 60, "", 8000, True, ""),
        (60, 100, "", 4000, True, ""),
    ] == told(NodeFacts(gn(1), (), events, mentioned=5))


def test_an_event_takes_a_seen_node_down() -> None:
    facts = NodeFacts(gn(1), [seen(0, 100)], [Event(20, 30, up=False, reason="bad fan", seen_at=90)])

    assert [
        (0, 20, "h100", 8000, True, ""),
        (20, 30, "h100", 8000, False, "bad fan"),
        (30, 100, "h100", 8000, True, ""),
    ] == told(facts)


def test_an_open_event_counts_in_seen_time_until_it_was_last_told() -> None:
    facts = NodeFacts(gn(1), [seen(0, 70)], [Event(20, None, up=False, reason="bad fan", seen_at=50)])

    assert [
        (0, 20, "h100", 8000, True, ""),
        (20, 50, "h100", 8000, False, "bad fan"),
        (50, 70, "h100", 8000, True, ""),
        (70, 100, "h100", 8000, False, "bad fan"),
    ] == told(facts)


def test_in_carried_time_that_history_was_read_for_events_alone_say_whether_it_was_up() -> None:
    facts = NodeFacts(gn(1), [seen(0, 20, up=False, reason="drained")], read=[(0, 60)])

    assert [
        (0, 20, "h100", 8000, False, "drained"),
        (20, 60, "h100", 8000, True, ""),
        (60, 100, "h100", 8000, False, "drained"),
    ] == told(facts)


def test_an_event_may_say_that_a_carried_node_had_other_cards_than_seen() -> None:
    facts = NodeFacts(gn(1), [seen(60, 100)], [Event(10, 30, up=True, milligpu=4000)])

    assert [(10, 30, "h100", 4000, True, ""), (30, 100, "h100", 8000, True, "")] == told(facts)


def test_two_models_are_two_pools_and_one_may_leave_alone() -> None:
    facts = NodeFacts(
        gn(1), [seen(0, 50, 4000, model="a100", basis="changed"), seen(0, 90, 7000, model="1g.10gb", basis="silent")]
    )

    assert [
        (0, 50, "a100", 4000, True, ""),
        (0, 100, "1g.10gb", 7000, True, ""),
    ] == told(facts)


def test_two_sources_that_see_the_same_cards_do_not_add_up() -> None:
    facts = NodeFacts(gn(1), [seen(0, 100, 8000), seen(0, 100, 7000, up=False, reason="cordoned")])

    assert [(0, 100, "h100", 8000, False, "cordoned")] == told(facts)


def test_a_node_that_one_source_lost_and_another_last_saw_there_stays_whatever_the_order() -> None:
    there, gone = seen(10, 11, 8000, basis="silent"), seen(10, 11, 8000, basis="left")

    assert [(0, 100, "h100", 8000, True, "")] == told(NodeFacts(gn(1), [there, gone], mentioned=0))
    assert [(0, 100, "h100", 8000, True, "")] == told(NodeFacts(gn(1), [gone, there], mentioned=0))


def test_of_events_of_the_same_second_the_larger_number_and_the_last_reason_by_name_count_in_any_order() -> None:
    few, many = Event(10, None, up=True, milligpu=4000), Event(10, None, up=True, milligpu=8000)
    bad, worse = Event(20, 30, up=False, reason="bad fan"), Event(20, 30, up=False, reason="no power")

    for events in ([few, many, bad, worse], [worse, bad, many, few]):
        assert [
            (10, 20, "", 8000, True, ""),
            (20, 30, "", 8000, False, "no power"),
            (30, 100, "", 8000, True, ""),
        ] == told(NodeFacts(gn(1), (), events))


def test_a_node_that_was_seen_once_was_there_for_that_second_and_is_carried_from_it() -> None:
    assert [(10, 100, "h100", 8000, True, "")] == told(NodeFacts(gn(1), [seen(10, 10)]))
    assert [(10, 20, "h100", 8000, True, "")] == told(NodeFacts(gn(1), [seen(10, 10), seen(20, 20, basis="left")]))


def test_an_event_counts_from_its_first_second_to_the_one_before_its_end() -> None:
    facts = NodeFacts(gn(1), [seen(0, 100)], [Event(20, 21, up=False, reason="blink", seen_at=90)])

    assert [(20, 21)] == [(start, end) for start, end, _, _, up, _ in told(facts) if not up]


def test_before_the_first_sighting_it_is_the_earliest_that_counts_whatever_their_order() -> None:
    first, later = seen(50, 60, 4000, model="h100"), seen(60, 70, 8000, model="a100")

    for sightings in ([first, later], [later, first]):
        assert (20, 60, "h100", 4000, True, "") == told(NodeFacts(gn(1), sightings, mentioned=20))[0]


def test_carried_time_is_up_in_each_of_the_times_that_history_was_read_for() -> None:
    facts = NodeFacts(gn(1), [seen(0, 20, up=False, reason="drained")], read=[(20, 30), (40, 50)])

    assert [(20, 30), (40, 50)] == [(start, end) for start, end, _, _, up, _ in told(facts) if up]


def test_what_is_seen_goes_before_the_number_of_cards_that_an_event_tells() -> None:
    facts = NodeFacts(gn(1), [seen(0, 100)], [Event(10, 30, up=True, milligpu=4000, seen_at=90)])

    assert [(0, 100, "h100", 8000, True, "")] == told(facts)


_SEEN = st.builds(
    lambda a, n, m, up, basis: seen(a, a + n, m, up=up, basis=basis),
    st.integers(0, 90),
    st.integers(0, 30),
    st.sampled_from([4000, 8000]),
    st.booleans(),
    st.sampled_from(["silent", "left", "changed"]),
)
_EVENT = st.builds(
    lambda a, n, up, m, at: Event(a, None if n is None else a + n, up, m, "why", at),
    st.integers(0, 90),
    st.none() | st.integers(0, 30),
    st.booleans(),
    st.none() | st.just(2000),
    st.integers(0, 100),
)


@given(data=st.data(), sightings=st.lists(_SEEN, max_size=5), events=st.lists(_EVENT, max_size=3))
def test_the_order_of_the_facts_and_the_borders_of_the_question_change_nothing(
    data: st.DataObject, sightings: list[Sighting], events: list[Event]
) -> None:
    mentioned = data.draw(st.none() | st.integers(0, 100))
    facts = NodeFacts(gn(1), sightings, events, [(10, 60)], mentioned)
    shuffled = NodeFacts(
        gn(1), data.draw(st.permutations(sightings)), data.draw(st.permutations(events)), [(10, 60)], mentioned
    )
    cut = data.draw(st.integers(0, 100))

    def seconds(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
        return {(second, *row[2:]) for row in rows for second in range(row[0], row[1])}

    whole = told(facts)

    assert whole == told(shuffled)
    assert seconds(whole) == seconds(told(facts, 0, cut)) | seconds(told(facts, cut, 100))
    assert sum(r[1] - r[0] for r in whole) == len({(second, r[2]) for r in whole for second in range(r[0], r[1])})
