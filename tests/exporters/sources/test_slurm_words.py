"""Hostlists, TRES and GRES lists, runs: the small languages of Slurm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.model import JobKey, LinkKind, Scheduler
from exporters.sources.slurm import gres, runs
from exporters.sources.slurm.gres import Cards
from exporters.sources.slurm.hostlist import MAX_HOSTS, expand, task_count
from exporters.sources.slurm.live import queue_json
from exporters.sources.slurm.rest import rest_json

RUN = JobKey(Scheduler.SLURM, "hpc1", "7@100")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gn01", ["gn01"]),
        ("gn[01-03,07],mx1", ["gn01", "gn02", "gn03", "gn07", "mx1"]),
        ("n[9-11]", ["n9", "n10", "n11"]),
        ("n[099-101]", ["n099", "n100", "n101"]),
        ("r[1-2]n[1-2]x", ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]),
        ("a-b.c,d_e", ["a-b.c", "d_e"]),
        ("None assigned", []),
        ("(null)", []),
        ("", []),
    ],
)
def test_a_host_list_names_its_hosts_in_order(text: str, names: list[str]) -> None:
    assert tuple(names) == expand(text)


@pytest.mark.parametrize("text", ["gn[1", "gn1]", "a,,b", "a,", "n[3-1]", "n[x]", "n[]", "n[[1]]", f"n[0-{MAX_HOSTS}]"])
def test_what_is_no_host_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|range"):
        expand(text)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=30, unique=True))
def test_any_numbers_in_brackets_are_themselves(numbers: list[int]) -> None:
    assert tuple(f"n{n}" for n in numbers) == expand(f"n[{','.join(map(str, numbers))}]")


@pytest.mark.parametrize(("text", "tasks"), [("2-9%2", 8), ("[1,3,5-9:2]", 5), ("7", 1), ("[0-99]%4", 100)])
def test_a_task_list_counts_its_tasks(text: str, tasks: int) -> None:
    assert tasks == task_count(text)


@pytest.mark.parametrize(
    ("tres", "cards"),
    [
        ("billing=32,cpu=32,gres/gpu:h100=8,gres/gpu=8,mem=32000M,node=2", [("h100", 8)]),
        ("gres/gpu=8", [("", 8)]),
        ("gres/gpu:h100=8", [("h100", 8)]),
        ("gres/gpu=5,gres/gpu:a100=2,gres/gpu:1g.10gb=3", [("1g.10gb", 3), ("a100", 2)]),
        ("gres/gpu=5,gres/gpu:a100=2", [("", 3), ("a100", 2)]),
        ("gres/gpumem=0,gres/gpuutil=0,cpu=1", []),
        ("", []),
    ],
)
def test_typed_and_untyped_counts_are_the_same_cards(tres: str, cards: list[tuple[str, int]]) -> None:
    assert [Cards(*c) for c in cards] == list(gres.gpus_in(gres.parse_tres(tres)))


@pytest.mark.parametrize("tres", ["gres/gpu=1,gres/gpu:h100=2", "gres/gpu=x", "cpu", "=1"])
def test_a_tres_list_that_contradicts_itself_is_refused(tres: str) -> None:
    with pytest.raises(ValueError, match=r"types add up|not a count|not a TRES list"):
        gres.gpus_in(gres.parse_tres(tres))


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("gpu:h100:4(IDX:2-5)", [Cards("h100", 4, (2, 3, 4, 5))]),
        ("gpu:h100:3(IDX:0,5-6)", [Cards("h100", 3, (0, 5, 6))]),
        ("gpu:a100:2(IDX:0-1),gpu:1g.10gb:0(IDX:)", [Cards("a100", 2, (0, 1))]),
        ("gpu:a100:2(IDX:0-1),gpu:1g.10gb:3(IDX:4-6)", [Cards("a100", 2, (0, 1)), Cards("1g.10gb", 3, (4, 5, 6))]),
        ("gpu:8(S:0-1)", [Cards("", 8)]),
        ("gpu:h100:4(S:0),gpu:h100:4(S:1)", [Cards("h100", 4), Cards("h100", 4)]),
        ("gpu:h100(CNT:8)", [Cards("h100", 8)]),
        ("gpu:h100:0(IDX:N/A)", []),
        ("gpu:4090:2", [Cards("4090", 2)]),
        ("gres:gpu:2", [Cards("", 2)]),
        ("gres/gpu:h100=2", [Cards("h100", 2)]),
        ("gpu", [Cards("", 1)]),
        ("gpu:h100:2K", [Cards("h100", 2048)]),
        ("shard:h100:8(2/4),gpu:h100:2,nic:2", [Cards("h100", 2)]),
        ("(null)", []),
    ],
)
def test_a_gres_list_names_its_cards_and_their_indices(text: str, cards: list[Cards]) -> None:
    assert cards == list(gres.parse_gres(text))


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("gpu:a100:4(S:0-1),shard:a100:16(S:0-1)", {"a100": [("shard:a100", 4000, 16)]}),
        ("gpu:a100:4,shard:16", {"a100": [("shard", 4000, 16)]}),
        ("gpu:2,mps:200", {"": [("mps", 2000, 200)]}),
        ("gpu:a100:2,gpu:v100:2,shard:a100:8", {"a100": [("shard:a100", 2000, 8)]}),
        ("gpu:a100:2,gpu:v100:2,mps:400", {"a100": [("mps", 4000, 400)], "v100": [("mps", 4000, 400)]}),
        ("gpu:a100:4", {}),
        ("shard:8", {}),
        ("(null)", {}),
    ],
)
def test_a_node_tells_what_its_slots_share(text: str, shares: dict[str, list[tuple[str, int, int]]]) -> None:
    assert shares == {model: [*some] for model, some in gres.slot_shares(text).items()}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("shard", (4000, 16)),
        ("shard:a100", (4000, 16)),
        ("mps", (4000, 400)),
        ("mps:a100", (2000, 200)),
        ("mps:l4", None),
    ],
)
def test_slots_are_found_with_a_type_and_without(kind: str, told: tuple[int, int] | None) -> None:
    slots = [("shard", 4000, 16), ("mps:a100", 2000, 200), ("mps:v100", 2000, 200)]

    assert told == gres.shares_for(kind, slots)


def test_the_slots_of_a_job_on_a_node_are_its_gres_less_notes() -> None:
    assert {"shard:a100": 3} == gres.parse_slots("shard:a100:3(0/4,3/4,0/4,0/4)")
    assert {"mps": 50} == gres.parse_slots("gpu:0,mps:50(IDX:0)")
    with pytest.raises(ValueError, match="add up"):
        gres.slots_in(gres.parse_tres("gres/shard=1,gres/shard:a100=2"))


def test_what_is_no_gres_list_is_refused() -> None:
    with pytest.raises(ValueError, match="not a GRES list"):
        gres.parse_gres("gpu:h100:4(IDX:0-3")


@pytest.mark.parametrize(
    ("kind", "model", "profile", "milligpu"),
    [
        ("h100", "h100", "", 1000),
        ("", "", "", 1000),
        ("1g.10gb", "", "1g.10gb", 142),
        ("a100_3g.20gb", "a100", "3g.20gb", 500),
        ("nvidia_a100-sxm4-40gb_1g.5gb", "nvidia_a100-sxm4-40gb", "1g.5gb", 142),
        ("1g.10gb+me", "", "1g.10gb+me", 142),
        ("1c.2g.10gb", "", "1c.2g.10gb", 285),
        ("7g.80gb", "", "7g.80gb", 1000),
    ],
)
def test_a_mig_profile_is_a_part_of_a_card(kind: str, model: str, profile: str, milligpu: int) -> None:
    one = Cards(kind, 1)

    assert (model, profile, milligpu) == (one.model, one.profile, one.milligpu)


def test_slices_of_one_card_never_claim_more_than_it_and_all_of_it_together() -> None:
    assert sum(Cards("1g.10gb", 1).milligpu for _ in range(7)) <= 1000
    assert 1000 == Cards("1g.10gb", 7).milligpu


def test_a_node_has_whole_cards_also_where_slices_waste_some() -> None:
    cards = gres.parse_gres("gpu:a100:4,gpu:1g.10gb:7,gpu:3g.40gb:2,gpu:h100_3g.40gb:1")

    assert {"a100": 4000, "": 2000, "h100": 1000} == gres.capacity(cards)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), min_size=1, max_size=3, unique_by=lambda c: c[0]),
    st.integers(1, 20),
)
def test_dealing_loses_no_card_and_is_even(cards: list[tuple[str, int]], nodes: int) -> None:
    hands = runs.deal([Cards(*c) for c in cards], nodes)
    sizes = [sum(c.count for c in hand) for hand in hands]
    totals = {kind: sum(c.count for hand in hands for c in hand if c.type == kind) for kind, _ in cards}

    assert nodes == len(hands)
    assert dict(cards) == totals
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) - min(sizes) <= 1


def test_several_types_of_one_run_are_claims_of_their_own() -> None:
    cards, slices = Cards("a100", 2, (0, 1)), Cards("1g.10gb", 1, (4,))
    mixed = runs.claims_of(RUN, "7", runs.parts_on("c", [("n1", [cards, slices])]), 5, None)
    plain = runs.claims_of(RUN, "7", runs.parts_on("c", [("n1", [cards])]), 5, 9)

    assert [("7@100/a100", (0, 1)), ("7@100/1g.10gb", ())] == [(c.unit, c.indices) for c in mixed]
    assert [("7@100", "finished")] == [(c.unit, c.end_basis) for c in plain]


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "JS1:Short",
        '"pods"',
        '{"pods":[]}',
        '{"pods":"a/b"}',
        '{"pods":[1]}',
        '{"pods":[""]}',
        '["pods"]',
        '{"pods":',
    ],
)
def test_what_is_not_the_bridges_comment_is_no_key(comment: str) -> None:
    assert () == runs.bridge_keys(comment)


def test_the_bridges_comment_links_the_job_to_its_pods() -> None:
    keys = runs.bridge_keys('{"pods":["a/b","a/c","a/b"]}')

    assert [
        (LinkKind.SAME, "", "a/b", "AdminComment names pod a/b"),
        (LinkKind.SAME, "", "a/c", "AdminComment names pod a/c"),
    ] == [(k.kind, k.cluster, k.value, k.evidence) for k in keys]


@pytest.mark.parametrize(("text", "release"), [("slurm-wlm 22.05.8", (22, 5)), ("slurm 26.05.5\n", (26, 5))])
def test_a_version_names_its_release(text: str, release: tuple[int, int]) -> None:
    assert release == runs.release_of(text)


def test_a_version_without_a_release_is_refused() -> None:
    with pytest.raises(ValueError, match="does not name a Slurm release"):
        runs.release_of("command not found")


@pytest.mark.parametrize(
    ("has", "cards"),
    [
        ("gpu:nvidia_h200_3g.71gb:16(S:0-1)", {"nvidia_h200": 8000}),
        ("gpu:a100l:2(S:0-1),gpu:a100l.2g.20gb:6(S:0-1)", {"a100l": 4000}),
        ("gpu:h100_4g.40gb:8,gpu:h100_3g.40gb:8", {"h100": 8000}),
        ("gpu:a100_3g.20gb:1,gpu:a100_2g.10gb:1,gpu:a100_1g.5gb:2", {"a100": 1000}),
        ("gpu:1g.10gb:56", {"": 8000}),
        ("gpu:H200_3G.71GB:16", {"H200": 8000}),
        ("gpu:nvidia_b200_1g.45gb:32", {"nvidia_b200": 8000}),
    ],
)
def test_slices_of_a_full_node_are_its_cards(has: str, cards: dict[str, int]) -> None:
    assert cards == gres.capacity(gres.parse_gres(has))


@pytest.mark.parametrize(
    ("kind", "card", "profile"),
    [
        ("a100l.2g.20gb", "a100l", "2g.20gb"),
        ("nvidia_a100_1c.3g.20gb", "nvidia_a100", "1c.3g.20gb"),
        ("2c.3g.40gb", "", "2c.3g.40gb"),
        ("1g.10gb+me", "", "1g.10gb+me"),
        ("h100-1g.24gb-me", "h100", "1g.24gb-me"),
        ("A100_3G.20GB", "A100", "3g.20gb"),
        ("a100_3g_20gb", "a100", "3g.20gb"),
        ("a100-1g5gb", "a100", "1g.5gb"),
        ("a100-sxm4-40gb_1g.10gb", "a100-sxm4-40gb", "1g.10gb"),
        ("a100_80gb", "a100_80gb", ""),
        ("h100", "h100", ""),
    ],
)
def test_a_type_is_a_card_and_a_profile(kind: str, card: str, profile: str) -> None:
    assert (card, profile) == gres.split_type(kind)


# numbers and names in JSON


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        ("7", 7),
        (7.9, 7),
        (None, None),
        ({"set": True, "infinite": False, "number": 0}, 0),
        ({"set": False, "infinite": False, "number": 7}, None),
        ({"set": True, "infinite": True, "number": 7}, None),
        (2**63 - 1, 2**63 - 1),
    ],
)
def test_a_number_in_either_form(value: object, expected: int | None) -> None:
    assert expected == queue_json.number(value)


@pytest.mark.parametrize("value", [True, False, [1], "x", 2**63, -(2**63), float("inf"), {"set": True, "number": True}])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"number|invalid literal"):
        queue_json.number(value)


@pytest.mark.parametrize(
    ("more", "shown"),
    [
        ({}, "9"),
        ({"array_job_id": 7, "array_task_id": {"set": True, "number": 0}}, "7_0"),
        ({"array_job_id": 7, "array_task_id": {"set": True, "number": 3}}, "7_3"),
        ({"array_job_id": 7}, "9"),
        ({"array_job_id": 7, "waiting": "1-3"}, "7_[1-3]"),
        ({"array_job_id": 0, "array_task_id": {"set": True, "number": 3}}, "9"),
        ({"array_job_id": 0, "waiting": "1-3"}, "9"),
        ({"het_job_id": 8, "het_job_offset": 0}, "8+0"),
        ({"het_job_id": 8, "het_job_offset": 2}, "8+2"),
        ({"array_job_id": 7, "array_task_id": {"set": True, "number": 3}, "het_job_id": 8}, "7_3"),
    ],
)
def test_what_people_type_for_a_job(more: dict[str, object], shown: str) -> None:
    job = {"array_job_id": 0, "array_task_id": None, "het_job_id": 0, "het_job_offset": None} | more

    assert shown == queue_json._display_id(job, "9", str(more.get("waiting", "")))


def test_what_was_not_counted_is_no_tres_and_the_others_are_in_order() -> None:
    counts = [("node", "", 1), ("energy", "", None), ("gres", "gpu", 2), ("cpu", "", 0), ("mem", "", -2)]
    told = [{"type": kind, "name": name, "count": count} for kind, name, count in counts]

    assert "cpu=0,gres/gpu=2,node=1" == rest_json._tres(told)
