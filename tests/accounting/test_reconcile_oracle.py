"""Reconciling against a naive oracle that paints every milliGPU of every second, and every node-day's invariants."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.model import CAPACITY, NodeDay, NodeDayResult, Posting
from accounting.reconcile.rule import Rules, reconcile
from exporters.model import Disposition, JobKey
from tests.accounting.node_days import END, GRACE, START, node_days
from tests.accounting.oracle import Painting, paint

RULES = Rules(grace=GRACE)


def quantities(*results: NodeDayResult) -> Counter[tuple[str, str, JobKey | None]]:
    """MilliGPU-seconds per account, model and owner."""
    sums: Counter[tuple[str, str, JobKey | None]] = Counter()
    for result in results:
        for p in result.postings:
            if p.quantity:
                sums[p.account, p.model, p.job] += p.quantity
    return sums


def held(*results: NodeDayResult) -> Counter[JobKey]:
    sums: Counter[JobKey] = Counter()
    for p in (p for result in results for p in result.postings):
        if p.job is not None:
            sums[p.job] += p.held
    return sums


def painted(painting: Painting) -> Counter[tuple[str, str, JobKey | None]]:
    found = Counter({k: v for k, v in painting.quantities.items() if v})
    found.update({(CAPACITY, model, None): -size for model, size in painting.capacity.items()})
    return found


@settings(max_examples=300)
@given(node_days())
def test_every_account_model_and_owner_comes_to_what_the_oracle_painted(day: NodeDay) -> None:
    result, painting = reconcile(day, RULES), paint(day, GRACE)

    assert painted(painting) == quantities(result)
    assert +painting.held == +held(result)


@given(node_days())
def test_the_postings_of_each_model_sum_to_zero_and_the_six_dispositions_to_the_capacity(day: NodeDay) -> None:
    postings = reconcile(day, RULES).postings

    for model in {p.model for p in postings}:
        assert 0 == sum(p.quantity for p in postings if p.model == model)
    assert {p.account for p in postings} <= {CAPACITY, "", *Disposition}
    assert all((p.quantity < 0) == (p.account == CAPACITY) for p in postings if p.quantity)
    assert all(p.quantity == 0 for p in postings if not p.account)
    assert all(START <= p.start < p.end <= END for p in postings)


@given(node_days())
def test_nobody_has_more_than_he_holds(day: NodeDay) -> None:
    result = reconcile(day, RULES)

    for job, most in held(result).items():
        assert sum(p.quantity for p in result.postings if p.job == job) <= most


@given(node_days())
def test_every_claim_of_the_day_is_posted_or_told_as_unplaced(day: NodeDay) -> None:
    result = reconcile(day, RULES)
    seen = {p.unit for p in result.postings} | {c.unit for c, _ in result.unplaced}
    known = {(scheduler, cluster): second for scheduler, cluster, second in day.known_until}

    for claim in day.claims:
        last = known.get((claim.job.scheduler, claim.job.cluster), END) if claim.end is None else claim.end
        stands_in = any(k.kind == "stand_in" for k in claim.keys)
        if max(claim.start, START) < min(last, END) and not stands_in:
            assert claim.unit in seen


@given(node_days(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_never_changes_a_byte(day: NodeDay, random: object) -> None:
    def shuffled(values: tuple[object, ...]) -> tuple[object, ...]:
        mixed = list(values)
        random.shuffle(mixed)  # type: ignore[attr-defined]
        return tuple(mixed)

    mixed = replace(
        day,
        claims=shuffled(day.claims),  # type: ignore[arg-type]
        capacity=shuffled(day.capacity),  # type: ignore[arg-type]
        coverage=shuffled(day.coverage),  # type: ignore[arg-type]
        projects=shuffled(day.projects),  # type: ignore[arg-type]
    )

    assert repr(reconcile(day, RULES)) == repr(reconcile(mixed, RULES))


def _additive(postings: list[Posting]) -> dict[Posting, tuple[int, int]]:
    """Quantity and held per posting, whatever stretch it covers."""
    sums: dict[Posting, tuple[int, int]] = {}
    for p in postings:
        key = replace(p, quantity=0, held=0, start=0, end=0)
        before = sums.get(key, (0, 0))
        sums[key] = (before[0] + p.quantity, before[1] + p.held)
    return sums


@given(node_days(), st.integers(START + 1, END - 1))
def test_a_day_cut_in_two_comes_to_the_same(day: NodeDay, cut: int) -> None:
    whole = reconcile(day, RULES)
    halves = [reconcile(replace(day, end=cut), RULES), reconcile(replace(day, start=cut), RULES)]

    assert _additive(list(whole.postings)) == _additive([p for h in halves for p in h.postings])
    assert {c for c, _ in whole.unplaced} == {c for h in halves for c, _ in h.unplaced}


@given(node_days())
def test_more_evidence_never_makes_a_charge_smaller(day: NodeDay) -> None:
    """Coverage decides only what nobody holds: whoever is known to hold cards is charged all the same."""
    blind = replace(day, coverage=())

    def charged(day: NodeDay) -> Counter[tuple[str, str, JobKey | None]]:
        return Counter({k: v for k, v in quantities(reconcile(day, RULES)).items() if k[0] in ("charged", "disputed")})

    assert charged(day) == charged(blind)
