from __future__ import annotations

from exporters.join.samples import one_per_card
from exporters.model import Field, Sample

BUSY = {Field.ENGINE_ACTIVE: 0.5}
POD = ("llm", "vllm-0", "u1")


def read(uuid: str, index: int, instance: str = "", **owners: object) -> Sample:
    return Sample("gn01", uuid, index, "H100", BUSY, 1.0, "1g.10gb" if instance else "", instance, **owners)


def told(uuid: str = "", index: int = -1, **owners: object) -> Sample:
    return Sample("gn01", uuid, index, "", {}, 1.0, **owners)


def owners(samples: list[Sample]) -> list[tuple[str, int, tuple[str, ...], tuple[tuple[str, str, str], ...]]]:
    return [(s.uuid, s.index, s.hpc_jobs, s.pods) for s in samples]


def test_a_card_that_both_tell_is_one_card_with_both_owners() -> None:
    found = one_per_card([told("GPU-1", hpc_jobs=("18",)), read("GPU-1", 3, pods=(POD,)), told(index=3, pods=(POD,))])

    assert [("GPU-1", 3, ("18",), (POD,))] == owners(found)
    assert BUSY == found[0].values


def test_a_uuid_that_was_not_read_is_not_the_card_of_the_same_index() -> None:
    found = one_per_card([read("GPU-1", 3), told("GPU-9", 3, hpc_jobs=("18",))])

    assert [("GPU-1", 3, (), ()), ("GPU-9", 3, ("18",), ())] == owners(found)


def test_cards_that_only_the_agent_tells_stand_for_themselves_once() -> None:
    found = one_per_card([told(minor=2, hpc_jobs=("18",)), told(minor=2, pods=(POD,)), told("GPU-1", hpc_jobs=("19",))])

    assert [("GPU-1", -1, ("19",), ()), ("", -1, ("18",), (POD,))] == owners(found)
    assert [-1, 2] == [s.minor for s in found]


def test_a_number_of_slurms_is_a_cards_only_where_somebody_maps_it() -> None:
    cards = [read("GPU-A", 0), read("GPU-B", 6)]
    held = told(minor=0, hpc_jobs=("18",))

    mapped = one_per_card([held, *cards, told("GPU-B", minor=0)])

    assert [("GPU-A", 0, (), ()), ("GPU-B", 6, ("18",), ())] == owners(mapped)
    assert [-1, 0] == [s.minor for s in mapped]
    assert [("GPU-A", 0, (), ()), ("GPU-B", 6, (), ()), ("", -1, ("18",), ())] == owners(one_per_card([held, *cards]))


def test_a_replicas_uuid_is_its_cards() -> None:
    found = one_per_card([read("GPU-1", 3), told("GPU-1::4", pods=(POD,))])

    assert [("GPU-1", 3, (), (POD,))] == owners(found)


def test_a_mig_device_is_left_to_the_readings_of_instances_where_there_are_some() -> None:
    mig = told("MIG-7", 0, pods=(POD,))

    assert [("GPU-1", 0, (), ())] == owners(one_per_card([read("GPU-1", 0, "7"), mig]))
    assert [("MIG-7", 0, (), (POD,))] == owners(one_per_card([mig]))


def test_who_is_told_by_index_holds_the_card_of_that_index_and_none_of_its_instances() -> None:
    found = one_per_card([read("GPU-1", 0, "7"), read("GPU-1", 0), told(index=0, hpc_jobs=("18",))])

    assert [("GPU-1", 0, (), ()), ("GPU-1", 0, ("18",), ())] == owners(found)


def test_who_is_told_of_a_card_that_nobody_numbered_is_not_put_on_another_without_a_number() -> None:
    found = one_per_card([read("GPU-1", -1), told(index=-1, uuid="GPU-2", hpc_jobs=("18",)), told(hpc_jobs=("19",))])

    assert [("GPU-1", -1, (), ()), ("GPU-2", -1, ("18",), ()), ("", -1, ("19",), ())] == owners(found)


def test_a_card_without_a_uuid_takes_no_owner_that_is_told_by_one() -> None:
    assert [("", 3, (), ()), ("GPU-1", 3, ("18",), ())] == owners(
        one_per_card([read("", 3), told("GPU-1", 3, hpc_jobs=("18",))])
    )


def test_beside_instances_only_mig_devices_are_left_out() -> None:
    found = one_per_card([read("GPU-1", 0, "7"), told("MIG-7", pods=(POD,)), told("GPU-2", pods=(POD,)), told(index=5)])

    assert [("GPU-1", 0), ("GPU-2", -1), ("", 5)] == [(s.uuid, s.index) for s in found]
