"""What cards a machine has, merged from what each scheduler tells, and which of them a claim draws on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.occupancy import Leaf, divide
from exporters.join.pools import Pool, allot, canonical_model, merge_pools, pool_of
from exporters.model import Claim, Disposition, Scheduler
from tests.exporters.records import pod, run

SLURM, KUBE, OTHER = (Scheduler.SLURM, "hpc1"), (Scheduler.KUBERNETES, "prod"), (Scheduler.SLURM, "hpc2")
TWO = (Pool("a100", 4000), Pool("h100", 4000))


def merged(*views: tuple[tuple[Scheduler, str], Sequence[Pool]], **models: str) -> dict[str, int]:
    return {p.model: p.milligpu for p in merge_pools(dict(views), models)}


# the same cards, told twice


def test_two_spellings_of_one_model_are_the_same_cards_under_slurms_name() -> None:
    assert {"h100": 8000} == merged((KUBE, [Pool("NVIDIA-H100", 8000)]), (SLURM, [Pool("h100", 8000)]))


def test_the_sites_own_name_goes_before_both() -> None:
    views = ((SLURM, [Pool("gpu_type_1", 8000)]), (KUBE, [Pool("NVIDIA-H100", 8000)]))

    assert {"H100 SXM": 8000} == merged(*views, **{"nvidia-h100": "H100 SXM"})


def test_a_view_without_a_name_takes_the_others() -> None:
    assert {"nvidia-h100": 8000} == merged((SLURM, [Pool("", 8000)]), (KUBE, [Pool("NVIDIA-H100", 8000)]))


def test_the_larger_view_is_the_capacity() -> None:
    assert {"h100": 8000} == merged((SLURM, [Pool("h100", 4000)]), (KUBE, [Pool("NVIDIA-H100", 8000)]))
    assert {"h100": 8000} == merged((SLURM, [Pool("h100", 8000)]), (KUBE, [Pool("NVIDIA-H100", 4000)]))


def test_a_scheduler_that_sees_no_cards_takes_none_away() -> None:
    assert {"h100": 8000} == merged((SLURM, [Pool("", 0)]), (KUBE, [Pool("h100", 8000)]))


def test_a_machine_without_cards_has_no_pools() -> None:
    assert {} == merged()
    assert {} == merged((SLURM, [Pool("h100", 0)]))


def test_two_nodes_of_one_cluster_on_one_machine_add_up() -> None:
    assert {"h100": 8000} == merged((SLURM, [Pool("h100", 4000), Pool("h100", 4000)]))


def test_two_clusters_of_one_scheduler_see_the_same_cards() -> None:
    assert {"h100": 8000} == merged((SLURM, [Pool("h100", 8000)]), (OTHER, [Pool("h100", 8000)]))


# two models


def test_a_kubernetes_nodes_one_product_label_adds_no_cards_to_two_models() -> None:
    for label in ("", "NVIDIA-H100", "h100"):
        assert {"a100": 4000, "h100": 4000} == merged((SLURM, TWO), (KUBE, [Pool(label, 8000)]))


def test_the_view_that_tells_more_models_apart_names_them_whichever_it_is() -> None:
    assert {"a100": 4000, "h100": 4000} == merged((SLURM, [Pool("", 8000)]), (KUBE, TWO))


def test_cards_beyond_the_finer_views_total_are_added_where_they_are_told() -> None:
    assert {"a100": 4000, "h100": 5000} == merged((SLURM, TWO), (KUBE, [Pool("h100", 9000)]))
    assert {"a100": 5000, "h100": 4000} == merged((SLURM, TWO), (KUBE, [Pool("", 9000)]))


def test_a_model_that_only_the_other_scheduler_has_is_a_pool_of_its_own() -> None:
    views = (
        (SLURM, [Pool("a100", 2000), Pool("h100", 2000)]),
        (KUBE, [Pool("a100", 2000), Pool("h100", 2000), Pool("l4", 1000)]),
    )

    assert {"a100": 2000, "h100": 2000, "l4": 1000} == merged(*views)


def test_slices_that_slurm_tells_apart_are_cards_that_kubernetes_counts_whole() -> None:
    mig = [Pool("a100", 7000), Pool("1g.10gb", 1000)]

    assert {"1g.10gb": 1000, "a100": 7000} == merged((SLURM, mig), (KUBE, [Pool("NVIDIA-A100", 8000)]))


def test_pools_are_in_the_order_of_their_models() -> None:
    views: dict[tuple[Scheduler, str], Sequence[Pool]] = {SLURM: [Pool("h100", 4000), Pool("a100", 4000)]}

    assert ["a100", "h100"] == [pool.model for pool in merge_pools(views, {})]


def test_a_view_of_fewer_cards_takes_none_from_a_finer_one() -> None:
    three = (*TWO, Pool("l4", 1000))

    assert {"a100": 4000, "h100": 4000, "l4": 1000} == merged((SLURM, three), (KUBE, TWO))
    assert {"a100": 4000, "h100": 4000} == merged((SLURM, TWO), (KUBE, [Pool("a100", 2000)]))


def test_cards_beyond_the_total_are_the_first_models_by_name_as_far_as_that_view_has_more_of_it() -> None:
    three = [Pool("a100", 1000), Pool("h100", 1000), Pool("l4", 1000)]

    assert {"a100": 3000, "h100": 2000, "l4": 1000} == merged(
        (SLURM, three), (KUBE, [Pool("h100", 3000), Pool("a100", 3000)])
    )


def test_cards_by_another_name_are_those_of_the_largest_pool_that_the_view_does_not_name() -> None:
    two = [Pool("a100", 1000), Pool("h100", 2000)]

    assert {"a100": 1000, "h100": 3000} == merged((SLURM, two), (KUBE, [Pool("gpu", 4000)]))


_views = st.dictionaries(
    st.sampled_from([SLURM, KUBE, OTHER]),
    st.lists(
        st.builds(Pool, st.sampled_from(["", "a100", "h100", "1g.10gb"]), st.integers(0, 8).map(lambda n: 1000 * n)),
        max_size=3,
    ),
)


@given(_views)
def test_the_capacity_is_that_of_the_larger_view(views: dict[tuple[Scheduler, str], list[Pool]]) -> None:
    found = merge_pools(views, {})

    assert max((sum(p.milligpu for p in v) for v in views.values()), default=0) == sum(p.milligpu for p in found)
    assert len(found) == len({p.model for p in found})
    assert all(p.milligpu > 0 for p in found)


@pytest.mark.parametrize("pool", [Pool("h100", 8000), Pool("H100", 0), Pool("", 4000), Pool("NVIDIA-H100", 2000)])
@pytest.mark.parametrize("models", [{}, {"nvidia-h100": "h100"}])
def test_what_one_scheduler_tells_is_what_two_tell_that_say_the_same(pool: Pool, models: dict[str, str]) -> None:
    assert merge_pools({SLURM: [pool], KUBE: [pool]}, models) == merge_pools({SLURM: [pool]}, models)


@given(_views)
def test_the_order_of_the_views_does_not_matter(views: dict[tuple[Scheduler, str], list[Pool]]) -> None:
    backwards = {k: list(reversed(v)) for k, v in reversed(views.items())}

    assert merge_pools(views, {}) == merge_pools(backwards, {})


def test_a_models_spelling_is_found_in_any_letter_case() -> None:
    names = {"nvidia-h100": "H100"}

    assert ("H100", "H100", "a100") == tuple(canonical_model(m, names) for m in ("nvidia-h100", "NVIDIA-H100", "A100"))


# which pool a claim draws on


def drawn(pools: Sequence[Pool], *claims: Claim) -> list[list[tuple[int, int]]]:
    """Per pool, ``(claim, milliGPU)``."""
    leaves = [Leaf(i, c.job.scheduler, c.milligpu, Disposition.CHARGED) for i, c in enumerate(claims)]
    return [sorted((n.owner, n.milligpu) for n in found) for found in allot(pools, leaves, claims, {})]


def test_a_claim_draws_on_the_pool_of_its_model() -> None:
    assert [[(1, 2000)], [(0, 3000)]] == drawn(TWO, run(18, 3000, model="H100"), run(19, 2000, model="a100"))
    assert 1 == pool_of(run(18, 3000, model="h100"), TWO, {})


def test_a_slice_draws_on_the_pool_of_its_profile_before_that_of_its_card() -> None:
    pools = (Pool("1g.10gb", 1000), Pool("a100", 7000))
    slice_pod = pod("mig-small", 142, model="a100", profile="1g.10gb")

    assert [[(0, 142)], []] == drawn(pools, slice_pod)
    assert 0 == pool_of(slice_pod, pools, {})


def test_a_claim_that_names_no_pool_takes_what_the_named_ones_leave() -> None:
    claims = (run(18, 4000, model="a100"), pod("web", 2000, model=""))

    assert [[(0, 4000)], [(1, 2000)]] == drawn(TWO, *claims)


def test_a_claim_that_names_no_pool_begins_with_the_largest() -> None:
    pools = (Pool("a100", 2000), Pool("h100", 4000))

    assert [[], [(0, 1000)]] == drawn(pools, pod("web", 1000, model="unheard-of"))
    assert 1 == pool_of(pod("web", 1000, model="unheard-of"), pools, {})


def test_a_claim_on_the_whole_machine_spans_its_pools() -> None:
    assert [[(0, 4000)], [(0, 4000)]] == drawn(TWO, pod("worker-0", 8000, model=""))


def test_which_of_its_known_cards_are_of_which_model_is_not_known() -> None:
    leaf = Leaf(0, Scheduler.KUBERNETES, 6000, Disposition.CHARGED, (0, 1, 4, 5, 6, 7))

    assert [(), ()] == [n.cards for found in allot(TWO, [leaf], [pod("a", 6000, model="")], {}) for n in found]


def test_claims_without_a_model_that_do_not_fit_still_go_somewhere() -> None:
    claims = (pod("a", 8000, model=""), pod("b", 3000, model=""))

    assert [11_000] == [sum(milligpu for found in drawn(TWO, *claims) for _, milligpu in found)]


def test_a_claim_without_a_model_that_finds_no_room_is_laid_over_all_pools_it_needs() -> None:
    claims = (run(18, 4000, model="a100"), run(19, 4000, model="h100"), pod("b", 6000, model=""))

    assert [[(0, 4000), (2, 4000)], [(1, 4000), (2, 2000)]] == drawn(TWO, *claims)


def test_what_exceeds_the_whole_machine_stays_with_one_pool() -> None:
    assert [[(0, 5000)], [(0, 4000)]] == drawn(TWO, pod("a", 9000, model=""))


def test_a_machine_with_one_pool_has_no_choice() -> None:
    assert [[(0, 3000)]] == drawn(TWO[:1], run(18, 3000, model="h100"))
    assert 0 == pool_of(run(18, 3000, model="h100"), TWO[:1], {})


_claims = st.lists(
    st.builds(
        lambda n, size, model, slurm: run(n, size, model=model) if slurm else pod(f"p{n}", size, model=model),
        st.integers(0, 9),
        st.sampled_from([143, 1000, 2000, 4000, 9000]),
        st.sampled_from(["", "a100", "h100", "l4"]),
        st.booleans(),
    ),
    max_size=6,
)


@given(_claims)
def test_allotting_loses_nothing_and_splits_nothing_that_names_its_pool(claims: list[Claim]) -> None:
    found = drawn(TWO, *claims)

    for i, claim in enumerate(claims):
        shares = [dict(f).get(i, 0) for f in found]
        assert claim.milligpu == sum(shares)
        if claim.model in ("a100", "h100"):
            assert claim.milligpu == shares[["a100", "h100"].index(claim.model)]


@given(_claims)
def test_claims_that_fit_are_not_disputed_for_want_of_a_model(claims: list[Claim]) -> None:
    """Where a placement without conflict exists, it is found."""
    named = {m: sum(c.milligpu for c in claims if c.model == m) for m in ("a100", "h100")}
    if max(named.values()) > 4000 or sum(c.milligpu for c in claims) > 8000:
        return
    leaves = [Leaf(i, c.job.scheduler, c.milligpu, Disposition.CHARGED) for i, c in enumerate(claims)]

    parts = [p for f in allot(TWO, leaves, claims, {}) for p in divide(4000, f, Disposition.IDLE)]

    assert not [p for p in parts if p.disposition is Disposition.DISPUTED]
