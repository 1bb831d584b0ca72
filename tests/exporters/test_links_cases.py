"""The double-counting cases of sites with both schedulers, one test each: who pays, and that cards are counted once.

Each test states a moment on one machine: claims as the real systems record them, and what the machine's cards are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from exporters.links import find_links
from exporters.model import Claim, Disposition
from exporters.nesting import Nest, nest, rest_of_lender
from exporters.occupancy import Part, divide
from tests.exporters.records import bridged, lends, made_by, names_pod, pod, run, stands_in

CHARGED, RESERVED, IDLE, DOWN, DISPUTED, UNKNOWN = (
    Disposition.CHARGED,
    Disposition.RESERVED,
    Disposition.IDLE,
    Disposition.DOWN,
    Disposition.DISPUTED,
    Disposition.UNKNOWN,
)


def nested(
    claims: Sequence[Claim],
    at: int = 50,
    cards: Mapping[int, Sequence[int]] | None = None,
    down: Sequence[tuple[str, str]] = (),
    unread: Sequence[str] = (),
) -> Nest:
    active = [i for i, c in enumerate(claims) if c.start <= at and (c.end is None or at < c.end)]
    return nest(active, claims, find_links(claims, grace=120), cards, down=down, unread=unread)


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


# the rest of a lender


def test_the_rest_of_a_lender_goes_with_its_own_slurm_node() -> None:
    claims = (pod("a", 4000, 0, None, lends("a")), pod("b", 4000, 0, None, lends("b")))

    leaves = nested(claims, down=[("hpc1", "a"), ("hpc2", "b")]).leaves

    assert [DOWN, RESERVED] == [leaf.disposition for leaf in leaves]


def test_the_rest_of_a_lender_is_unknown_while_its_slurm_cannot_be_read() -> None:
    claims = (pod("a", 4000, 0, None, lends("a")), pod("b", 4000, 0, None, lends("b", "hpc2")))

    leaves = nested(claims, down=[("hpc1", "a")], unread=["hpc1"]).leaves

    assert [UNKNOWN, RESERVED] == [leaf.disposition for leaf in leaves]


def test_a_lender_that_names_no_cluster_goes_with_any_node_of_its_name() -> None:
    lender = pod("a", 4000, 0, None, lends("a", ""))

    assert DOWN is rest_of_lender(lender, [("hpc1", "a")], [])
    assert UNKNOWN is rest_of_lender(lender, [], ["hpc1"])
    assert RESERVED is rest_of_lender(lender, [("hpc1", "b")], [])
    assert rest_of_lender(pod("web", 1000), [("hpc1", "a")], []) is None


# known cards


def test_a_lenders_rest_is_on_the_cards_that_its_jobs_do_not_have() -> None:
    claims = (pod("worker-0", 8000, 0, None, lends("h100-001")), run(18, 2000, node="h100-001"))

    found = nested(claims, cards={0: range(8), 1: (4, 5)})

    assert [(0, 1, 2, 3, 6, 7), (4, 5)] == [leaf.cards for leaf in found.leaves]


def test_a_job_that_pods_are_inside_keeps_its_cards() -> None:
    claims = (run(5120, 4000), pod("bert-0", 2000, 0, None, made_by(5120)))

    (leaf,) = nested(claims, cards={0: (0, 1, 2, 3), 1: (2, 3)}).leaves

    assert (0, 1, 2, 3) == leaf.cards


# whatever comes


@st.composite
def machine_day(draw: st.DrawFn) -> list[Claim]:
    """Lenders, jobs in and beside them, bridged and made pods, some of it false, on one machine over 100 seconds."""

    def span() -> tuple[int, int | None]:
        start = draw(st.integers(0, 90))
        return start, draw(st.one_of(st.none(), st.integers(start, 100)))

    keys = [lends("gn09"), lends("h1"), bridged(1), bridged(2), made_by(1), made_by(2), made_by(9), stands_in()]
    found: list[Claim] = []
    for n in range(draw(st.integers(0, 4))):
        size = draw(st.sampled_from([1000, 2000, 4000, 8000]))
        found.append(run(n % 3, size, *span(), node=draw(st.sampled_from(["gn09", "h1"])), submit=n))
    for n in range(draw(st.integers(0, 4))):
        size = draw(st.sampled_from([0, 143, 1000, 4000, 8000]))
        found.append(pod(f"p{n}", size, *span(), *draw(st.lists(st.sampled_from(keys), max_size=2, unique=True))))
    return found


@given(machine_day(), st.integers(0, 99))
def test_nesting_never_makes_cards(claims: list[Claim], at: int) -> None:
    found = nested(claims, at)

    assert {leaf.owner for leaf in found.leaves}.isdisjoint(found.shown)
    assert {i for i, c in enumerate(claims) if c.start <= at and (c.end is None or at < c.end)} == {
        *(leaf.owner for leaf in found.leaves),
        *found.shown,
    }
    assert all(0 < leaf.milligpu <= claims[leaf.owner].milligpu for leaf in found.leaves)
    assert all(v >= 0 for v in found.orphaned.values())


@given(machine_day(), st.integers(0, 99))
def test_a_link_holds_only_between_two_claims_that_are_there(claims: list[Claim], at: int) -> None:
    found = nested(claims, at)

    for inner, link in found.within.items():
        for i in (inner, link.outer):
            assert claims[i].start <= at
            assert claims[i].end is None or at < (claims[i].end or 0)
    assert set(found.reasons).isdisjoint(found.within)
