"""Per card where cards are known, per count where they are not; and both the same where both apply."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from accounting.model import CapacityStretch, CoverageStretch, HoldingStretch, NodeDay, NodeDayResult, Ruling
from accounting.reconcile.rule import Rules, parties, reconcile
from exporters.model import Claim, JobKey, LinkKind
from tests.accounting.naive import inputs_hash
from tests.accounting.pencil import KUBE, SLURM, START, at, day, lines, posting
from tests.exporters.records import bridged, lends, made_by, pod, run


def saw(claim: Claim, *cards: int, first: float = 0, last: float = 24, milligpu: int = 1000) -> list[HoldingStretch]:
    return [HoldingStretch(at(first), at(last), claim.job, claim.unit, card, f"GPU-{card}", milligpu) for card in cards]


def books(claims: list[Claim], holdings: list[HoldingStretch], *rulings: Ruling) -> NodeDayResult:
    return reconcile(replace(day(*claims), holdings=tuple(holdings), rulings=rulings), Rules())


JOB, WEB = run(18, 2000, at(0), at(12), model=""), pod("web", 1000, at(2), at(6), model="")


def test_two_claims_on_one_card_are_disputed_although_the_count_would_fit() -> None:
    result = books([JOB, WEB], [*saw(JOB, 2, 3), *saw(WEB, 3)])

    assert ["charged h100 unmapped 18 20", "disputed h100 unmapped web 4", "idle h100 - - 168"] == lines(result)
    assert (LinkKind.OBSERVED, JOB.job) == (
        posting(result, "disputed", "web").link,
        posting(result, "disputed", "web").linked,
    )


def test_a_ruling_decides_what_was_observed() -> None:
    ruling = Ruling(parties(JOB.job, WEB.job), WEB.job, "ann", "asked both")

    result = books([JOB, WEB], [*saw(JOB, 2, 3), *saw(WEB, 3)], ruling)

    assert ["charged h100 unmapped web 4", "charged h100 unmapped 18 20", "idle h100 - - 168"] == lines(result)[:3]


def test_claims_on_different_cards_are_not_in_each_others_way() -> None:
    assert ["charged h100 unmapped web 4", "charged h100 unmapped 18 24", "idle h100 - - 164"] == lines(
        books([JOB, WEB], [*saw(JOB, 2, 3), *saw(WEB, 4)])
    )


def test_only_while_both_cards_are_known_they_are_compared() -> None:
    result = books([JOB, WEB], [*saw(JOB, 2, 3, last=3), *saw(WEB, 3)])

    assert ["charged h100 unmapped web 3", "charged h100 unmapped 18 23", "disputed h100 unmapped web 1"] == lines(
        result
    )[:3]


def test_cards_that_claims_name_themselves_are_compared_by_uuid() -> None:
    one = replace(pod("one", 1000, at(0), at(4), model=""), uuids=("GPU-a",))
    two = replace(pod("two", 1000, at(0), at(4), model=""), uuids=("GPU-a::0",))
    three = replace(pod("three", 1000, at(0), at(4), model=""), uuids=("GPU-b",))

    assert {"charged h100 unmapped three 4", "disputed h100 unmapped two 4", "idle h100 - - 184"} == {
        line for line in lines(books([one, two, three], [])) if not line.endswith(" 0")
    }


def test_an_index_meets_a_uuid_where_somebody_was_seen_with_both() -> None:
    job = replace(JOB, indices=(2, 3))
    web = replace(WEB, uuids=("GPU-3",))
    other = pod("other", 1000, at(5), at(24), model="")

    assert not [p for p in books([job, web], []).postings if p.account == "disputed"]
    seen = saw(other, 3, first=5, last=24)
    told = books([job, web, other], seen)
    assert {web.job, other.job} == {p.job for p in told.postings if p.account == "disputed"}


def test_slices_of_one_card_share_it_and_one_too_many_is_disputed() -> None:
    pods = [pod(f"p{n}", 400, at(0), at(5), model="", profile="3g.40gb") for n in range(3)]
    seen = [h for p in pods for h in saw(p, 0, milligpu=400)]

    result = books(pods, seen)

    assert 200 * 5 * 3600 == sum(p.quantity for p in result.postings if p.account == "disputed")
    assert not [p for p in books(pods, seen[:2] + saw(pods[2], 1, milligpu=400)).postings if p.account == "disputed"]


def test_a_pod_on_other_cards_than_its_job_is_disputed_with_that_reason() -> None:
    bert = pod("bert", 1000, at(2), at(6), made_by(18), model="")

    result = books([JOB, bert], [*saw(JOB, 0, 1), *saw(bert, 5, last=4)])

    assert "disputed h100 unmapped bert 2" in lines(result)
    assert (
        "holds card 5, which Slurm job 18 does not: it holds cards 0, 1" == posting(result, "disputed", "bert").reason
    )
    assert 2 * 3600 * 1000 == posting(result, "", "bert").held  # from 4 o'clock on nobody saw where it was


def test_of_several_claims_of_a_unit_nobody_knows_which_is_on_which_card() -> None:
    whole = pod("two", 1000, at(0), at(4), model="")
    twin = replace(whole, uuids=("GPU-7",))
    web = pod("web", 1000, at(0), at(4), model="")

    result = books([whole, twin, web], [*saw(whole, 3), *saw(web, 3)])

    assert not [p for p in result.postings if p.account == "disputed"]


def test_a_pod_that_is_seen_tells_where_its_job_is_when_nobody_saw_the_job() -> None:
    worker = pod("worker", 8000, at(0), at(24), lends("h1"))
    job = run(18, 2000, at(2), at(6), node="h1")
    placed = pod("placed", 1000, at(2), at(6), bridged(18))
    claims = [worker, job, placed]

    assert lines(books(claims, [])) == lines(books(claims, [*saw(worker, 0), *saw(placed, 0)]))


def test_a_pod_whose_owner_became_known_later_is_seen_on_its_cards_all_the_same() -> None:
    before = replace(WEB, job=JobKey(KUBE, "prod", "vision/ReplicaSet/web"))

    assert "disputed h100 unmapped web 4" in lines(books([JOB, WEB], [*saw(JOB, 2, 3), *saw(before, 3)]))


def test_more_cards_than_a_claim_holds_are_an_old_sighting() -> None:
    assert not [p for p in books([JOB, WEB], [*saw(JOB, 2, 3), *saw(WEB, 3, 4)]).postings if p.account == "disputed"]


def test_what_two_recorders_saw_is_one_sighting() -> None:
    twice = [*saw(JOB, 2, 3), *saw(JOB, 2, 3, first=1), *saw(WEB, 3), *saw(WEB, 3, last=5)]

    assert "disputed h100 unmapped web 4" in lines(books([JOB, WEB], twice))


# the same totals


CARDS = 4
FIRST, LAST = START, START + 24


@st.composite
def without_conflict(draw: st.DrawFn) -> tuple[list[Claim], list[HoldingStretch]]:
    """Claims with a card each to themselves, pods inside jobs and jobs inside pods on those of the outer one; all of it
    seen, or some, all of the time or not. A pod that lends has all of the machine, or part of it.
    """
    free = {second: set(range(CARDS)) for second in range(FIRST, LAST)}
    held: list[tuple[Claim, list[int]]] = []
    lent = draw(st.sampled_from([0, 0, 2, CARDS]))
    if lent:
        held.append((pod("worker", 1000 * lent, FIRST, LAST, lends("h1")), list(range(CARDS))[-lent:]))
    for n in range(draw(st.integers(0, 6))):
        start = draw(st.integers(FIRST, LAST - 1))
        end = draw(st.integers(start + 1, LAST))
        room = sorted(set.intersection(*(free[s] for s in range(start, end))))
        inside = bool(lent) and draw(st.booleans())
        room = [card for card in room if (card >= CARDS - lent) == inside or not lent]
        if not room:
            continue
        cards = draw(st.lists(st.sampled_from(room), min_size=1, unique=True))
        for second in range(start, end):
            free[second] -= set(cards)
        size, node = 1000 * len(cards), "h1" if inside else "gn09"
        if inside or draw(st.booleans()):
            job = run(n, size, start, end, node=node)
            held.append((job, cards))
            if kind := draw(st.sampled_from([None, made_by, bridged])):
                mine = draw(st.lists(st.sampled_from(cards), min_size=1, unique=True))
                held.append((pod(f"in-{n}", 1000 * len(mine), start, end, kind(n)), mine))
        else:
            held.append((pod(f"p{n}", size, start, end), cards))
    seen = []
    for claim, cards in held:
        part = draw(st.sampled_from([cards, cards, cards[:1], []]))
        first = draw(st.sampled_from([FIRST, claim.start, claim.start + 1]))
        last = draw(st.sampled_from([LAST, LAST, first + 2]))
        seen += [HoldingStretch(first, last, claim.job, claim.unit, c, f"GPU-{c}", 1000) for c in part if first < last]
    return [claim for claim, _ in held], seen


def one_day(claims: list[Claim], seen: list[HoldingStretch]) -> NodeDay:
    there = (
        CapacityStretch(FIRST, LAST, SLURM, "hpc1", "h1", "h100", 1000 * CARDS, up=True),
        CapacityStretch(FIRST, LAST, KUBE, "prod", "gn09", "h100", 1000 * CARDS, up=True),
    )
    read = tuple(CoverageStretch(FIRST, LAST, s, c) for s, c in ((SLURM, "hpc1"), (KUBE, "prod")))
    return NodeDay("n1", FIRST, LAST, tuple(claims), there, read, holdings=tuple(seen))


@given(without_conflict())
def test_where_nobody_is_in_conflict_cards_and_counts_give_the_same_postings(
    told: tuple[list[Claim], list[HoldingStretch]],
) -> None:
    by_card, by_count = (reconcile(one_day(told[0], seen), Rules()) for seen in (told[1], []))

    assert by_count == by_card
    assert not [p for p in by_card.postings if p.account == "disputed"]


@given(st.integers(1, CARDS), st.integers(1, CARDS), st.booleans(), st.permutations(range(CARDS)))
def test_claims_that_meet_on_no_more_cards_than_they_must_come_to_what_counting_says(
    one: int, other: int, same: bool, cards: list[int]
) -> None:
    job = run(1, 1000 * one, FIRST, LAST)
    rival = run(2, 1000 * other, FIRST, LAST) if same else pod("rival", 1000 * other, FIRST, LAST)
    seen = [
        HoldingStretch(FIRST, LAST, claim.job, claim.unit, card, "", 1000)
        for claim, some in ((job, cards[:one]), (rival, cards[CARDS - other :]))
        for card in some
    ]

    by_card, by_count = (reconcile(one_day([job, rival], some), Rules()) for some in (seen, []))

    assert by_count == by_card


def test_the_hash_of_what_was_seen_is_part_of_the_days() -> None:
    known = one_day([WEB], saw(WEB, 3))

    assert inputs_hash(known) != inputs_hash(replace(known, holdings=()))
    assert inputs_hash(known) != inputs_hash(replace(known, holdings=tuple(saw(WEB, 4))))
