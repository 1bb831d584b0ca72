"""What a claim holds for itself at one moment, whatever lives inside what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporters.join.nesting import rest_of_lender
from exporters.model import Claim, Disposition
from tests.exporters.records import bridged, lends, made_by, nested, pod, run, stands_in

RESERVED, DOWN, UNKNOWN = Disposition.RESERVED, Disposition.DOWN, Disposition.UNKNOWN


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
