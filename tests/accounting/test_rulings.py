"""Rulings on disputes: what the pure rule makes of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from accounting.evidence.rulings import dispute_id
from accounting.model import ALSO, NodeDay, NodeDayResult, Posting, Ruling
from accounting.reconcile.rule import Rules, parties, reconcile
from exporters.model import Claim, JobKey, Scheduler
from tests.accounting.naive import inputs_hash
from tests.accounting.node_days import GRACE, node_days
from tests.accounting.pencil import GPU_HOUR, at, day, lines, posting
from tests.exporters.records import lends, made_by, pod, run

RULES = Rules(grace=GRACE)
TRAIN, WEB = run(5, 6000, at(1), at(3)), pod("web", 4000, at(2), at(4))


def ruling(to: Claim, *others: Claim) -> Ruling:
    return Ruling(parties(to.job, *(c.job for c in others)), to.job, "ada", "it was first")


def ruled(*rulings: Ruling, claims: tuple[Claim, ...] = (TRAIN, WEB)) -> NodeDayResult:
    return reconcile(replace(day(*claims), rulings=rulings), Rules())


def test_without_a_ruling_the_cards_are_in_dispute() -> None:
    assert ["charged h100 unmapped web 6", "charged h100 unmapped 5 10", "disputed h100 unmapped web 2"] == lines(
        ruled()
    )[:3]


def test_a_ruling_for_the_one_who_came_later_charges_him() -> None:
    result = ruled(ruling(WEB, TRAIN))

    assert ["charged h100 unmapped web 6", "charged h100 unmapped web 2", "charged h100 unmapped 5 10"] == lines(
        result
    )[:3]
    [moved] = [p for p in result.postings if p.reason]
    assert ("ruled by ada: it was first", TRAIN.job) == (moved.reason, moved.linked)


def test_a_ruling_on_a_claim_alone_is_found_whoever_else_is_on_the_machine() -> None:
    liar, later = pod("liar", 2000, at(1), at(3), made_by(999)), pod("later", 1000, at(2), at(4))
    before = [line for line in lines(ruled(claims=(liar, later))) if "liar" in line]
    after = [line for line in lines(ruled(ruling(liar), claims=(liar, later))) if "liar" in line]

    assert ["disputed h100 unmapped liar 4"] == before
    assert ["charged h100 unmapped liar 4"] == after


def test_a_ruling_for_the_one_who_was_there_charges_him_and_the_other_pays_for_the_rest() -> None:
    result = ruled(ruling(TRAIN, WEB))

    assert [
        "shown h100 unmapped web 0",
        "charged h100 unmapped web 6",
        "charged h100 unmapped 5 10",
        "charged h100 unmapped 5 2",
    ] == lines(result)[:4]
    [moved] = [p for p in result.postings if p.account == "charged" and p.reason]
    assert (TRAIN.job, TRAIN.unit, WEB.job, at(2), at(3)) == (
        moved.job, moved.unit, moved.linked, moved.start, moved.end
    )  # fmt: skip


def test_a_party_that_loses_all_its_cards_is_shown_beside_the_winner() -> None:
    web = replace(WEB, start=at(1), end=at(2), milligpu=8000)
    train = replace(TRAIN, start=at(0), end=at(2), milligpu=8000)
    shown = posting(ruled(ruling(train, web), claims=(train, web)), "", "web")

    assert (0, 8 * GPU_HOUR, train.job, "ruled by ada: it was first") == (
        shown.quantity, shown.held, shown.linked, shown.reason
    )  # fmt: skip


FIRST, SECOND, THIRD = (pod(f"p{n}", 8000, at(n), at(6)) for n in range(3))


def test_of_three_that_need_the_same_all_are_named() -> None:
    disputed = [p for p in ruled(claims=(FIRST, SECOND, THIRD)).postings if p.account == "disputed" and p.quantity]

    assert [parties(FIRST.job, SECOND.job), parties(FIRST.job, SECOND.job, THIRD.job)] == [sides(p) for p in disputed]
    assert f"same cards as {FIRST.job}, and no link between them{ALSO}{SECOND.job}" == disputed[1].reason


def test_what_three_need_is_ruled_to_any_of_them() -> None:
    for winner in (FIRST, SECOND, THIRD):
        result = ruled(ruling(winner, FIRST, SECOND, THIRD), claims=(FIRST, SECOND, THIRD))
        moved = [p for p in result.postings if p.reason.startswith("ruled by") and p.quantity]

        assert [("charged", winner.job, 32 * GPU_HOUR)] == [(p.account, p.job, p.quantity) for p in moved]
        assert [parties(FIRST.job, SECOND.job, THIRD.job)] == [sides(p) for p in moved]
        assert [parties(FIRST.job, SECOND.job)] == [
            sides(p) for p in result.postings if p.account == "disputed" and p.quantity
        ]


def test_a_ruling_between_two_decides_nothing_among_three() -> None:
    three = (FIRST, SECOND, THIRD)

    assert contested(ruled(claims=three))[parties(*(c.job for c in three))] == 32 * GPU_HOUR
    assert contested(ruled(ruling(FIRST, SECOND), claims=three)) == Counter(
        {parties(*(c.job for c in three)): 32 * GPU_HOUR}
    )


def test_a_key_that_does_not_verify_may_be_ruled_to_its_own_job() -> None:
    liar = pod("web", 2000, at(2), at(4), made_by(77))

    assert "disputed h100 unmapped web 4" in lines(ruled(claims=(liar,)))
    assert "charged h100 unmapped web 4" in lines(ruled(ruling(liar), claims=(liar,)))


def test_the_free_rest_of_a_pool_that_wins_its_cards_is_reserved_and_nobody_pays() -> None:
    pool = pod("worker-0", 8000, at(1), at(2), lends("gn09"))
    web = pod("web", 3000, at(0), at(2))

    assert "disputed h100 unmapped worker-0 3" in lines(ruled(claims=(pool, web)))
    assert "reserved h100 unmapped worker-0 3" in lines(ruled(ruling(pool, web), claims=(pool, web)))


def test_a_ruling_on_what_is_not_in_dispute_changes_nothing() -> None:
    shorter = replace(TRAIN, end=at(2))

    assert ruled(claims=(shorter, WEB)) == ruled(ruling(WEB, TRAIN), claims=(shorter, WEB))


def test_a_ruling_is_part_of_the_inputs_and_so_are_its_author_and_its_reason() -> None:
    one = ruling(TRAIN, WEB)
    told = [(), (one,), (replace(one, to=WEB.job),), (replace(one, author="bob"),), (replace(one, why="so"),)]

    assert len(told) == len({inputs_hash(replace(day(TRAIN, WEB), rulings=r)) for r in told})


def test_a_dispute_has_one_name_whoever_is_told_first() -> None:
    a, b = TRAIN.job, WEB.job

    assert dispute_id("gn01", parties(a, b)) == dispute_id("gn01", parties(b, a))
    assert 4 == len(
        {dispute_id("gn01", p) for p in (parties(a, b), parties(a), parties(b))} | {dispute_id("gn02", (a,))}
    )


def contested(result: NodeDayResult) -> Counter[tuple[JobKey, ...]]:
    """Disputed quantities by the dispute's parties."""
    sums: Counter[tuple[JobKey, ...]] = Counter()
    for p in result.postings:
        if p.account == "disputed" and p.job is not None:
            sums[sides(p)] += p.quantity
    return sums


def sides(posting: Posting) -> tuple[JobKey, ...]:
    """The parties that a posting names: its job, the linked one, and those that its reason ends with."""
    words = posting.reason.partition(ALSO)[2].split(", ")
    more = [JobKey(Scheduler(s), cluster, run) for s, cluster, run in (w.split("/") for w in words if w)]
    return parties(*(j for j in (posting.job, posting.linked, *more) if j is not None))


@st.composite
def ruled_days(draw: st.DrawFn) -> tuple[NodeDay, NodeDay]:
    """A day, and the same with some of its disputes ruled to either party."""
    plain = draw(node_days())
    found = sorted(contested(reconcile(plain, RULES)))
    chosen = [f for f in found if draw(st.booleans())]
    rulings = tuple(Ruling(f, draw(st.sampled_from(f)), "ada", "so be it") for f in chosen)
    return plain, replace(plain, rulings=rulings)


def _totals(postings: list[Posting]) -> tuple[Counter[str], Counter[JobKey]]:
    models: Counter[str] = Counter()
    held: Counter[JobKey] = Counter()
    for p in postings:
        models[p.model] += p.quantity
        if p.job is not None:
            held[p.job] += p.held
    return models, held


@given(ruled_days())
def test_rulings_move_what_is_in_dispute_and_nothing_else(days: tuple[NodeDay, NodeDay]) -> None:
    plain, decided = days
    before, after = reconcile(plain, RULES), reconcile(decided, RULES)
    were, are = contested(before), contested(after)
    open_ones = Counter({k: v for k, v in were.items() if k not in {r.parties for r in decided.rulings}})
    models, held = _totals(list(after.postings))

    assert +open_ones == +are
    assert set() == {v for v in models.values() if v}
    assert +_totals(list(before.postings))[1] == +held
    assert all(p.quantity >= 0 for p in after.postings if p.account != "capacity")
    assert all(p.quantity == 0 for p in after.postings if not p.account)
    for r in decided.rulings:
        moved = [p for p in after.postings if p.reason.partition(ALSO)[0] == r.reason and p.quantity]
        of_it = [p for p in moved if sides(p) == r.parties]
        assert were[r.parties] == sum(p.quantity for p in of_it)
        assert {p.job for p in of_it} <= {r.to}


@given(ruled_days(), st.randoms(use_true_random=False))
def test_the_order_of_rulings_changes_nothing(days: tuple[NodeDay, NodeDay], random: object) -> None:
    rulings = list(days[1].rulings)
    random.shuffle(rulings)  # type: ignore[attr-defined]
    mixed = replace(days[1], rulings=tuple(rulings))

    assert repr(reconcile(days[1], RULES)) == repr(reconcile(mixed, RULES))
    assert inputs_hash(days[1]) == inputs_hash(mixed)
