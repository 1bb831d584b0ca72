"""The sweep with known cards: where these agree with counts nothing is asked, elsewhere the scalar rules are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from accounting.model import DAY, CapacityStretch, CoverageStretch, HoldingStretch, NodeDay, Posting
from accounting.reconcile.rule import Rules, reconcile
from accounting.reconcile.sweep.cards import Claimed, Told, seen
from accounting.reconcile.sweep.site_columns import Seen
from exporters.model import Claim
from tests.accounting.columns_of import columns_of
from tests.accounting.sites import FIRST, Site
from tests.accounting.test_sweep import node_days, swept, watch_windows
from tests.exporters.records import KUBE, SLURM, bridged, lends, made_by, pod, run

HOUR = 3600
RULES = Rules()


def saw(claim: Claim, *cards: int, end: int = FIRST + 2 * DAY) -> list[HoldingStretch]:
    begun, over = max(FIRST, claim.start), min(end, claim.end or end)
    return [HoldingStretch(begun, over, claim.job, claim.unit, n, f"GPU-{n}", 1000) for n in cards]


def both(
    monkeypatch: pytest.MonkeyPatch, claims: Sequence[Claim], holdings: Sequence[HoldingStretch]
) -> tuple[list[tuple[int, int]], list[Posting]]:
    """What the sweep asked the scalar rules about (seconds of the period), and its postings, which are theirs."""
    capacity = [
        CapacityStretch(FIRST, FIRST + 2 * DAY, SLURM, "hpc1", "gn09", "h100", 8000, up=True),
        CapacityStretch(FIRST, FIRST + 2 * DAY, KUBE, "prod", "gn09", "NVIDIA-H100", 8000, up=True),
    ]
    coverage = [CoverageStretch(FIRST, FIRST + 2 * DAY, s, c) for s, c in ((SLURM, "hpc1"), (KUBE, "prod"))]
    columns = columns_of({"gn09": claims}, {"gn09": capacity}, {"gn09": coverage}, {}, holdings={"gn09": holdings})
    site = Site(columns, (FIRST, FIRST + 2 * DAY), RULES)
    asked: list[NodeDay] = watch_windows(monkeypatch)
    postings, _ = swept(site)

    assert {at: list(reconcile(d, RULES).postings) for at, d in node_days(site).items()} == postings
    return [(d.start - FIRST, d.end - FIRST) for d in asked], [p for found in postings.values() for p in found]


WORKER = pod("worker", 8000, FIRST - DAY, None, lends("gn09"))
JOB = run(18, 4000, FIRST + HOUR, FIRST + 30 * HOUR)
NEXT = run(19, 4000, FIRST + 30 * HOUR, FIRST + 40 * HOUR)
BERT = pod("bert", 2000, FIRST + HOUR + 5, FIRST + 30 * HOUR, made_by(18))


def test_known_cards_that_agree_with_counts_never_need_the_scalar_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    holdings = [*saw(WORKER, *range(8)), *saw(JOB, 0, 1, 2, 3), *saw(NEXT, 2, 3, 4, 5), *saw(BERT, 1, 3)]
    claims = [WORKER, replace(JOB, indices=(0, 1, 2, 3)), NEXT, BERT]

    asked, postings = both(monkeypatch, claims, holdings)

    assert [] == asked
    assert "disputed" not in {p.account for p in postings}


def test_cards_of_bridged_pods_that_slurm_wrote_down_otherwise_need_no_scalar_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, part = run(5, 2000, FIRST, FIRST + HOUR), pod("solo", 2000, FIRST, FIRST + HOUR, bridged(5))

    asked, _ = both(monkeypatch, [replace(whole, indices=(0, 1)), part], saw(part, 6, 7))

    assert [] == asked


def test_a_bridged_pod_is_found_on_a_strangers_card_though_slurm_wrote_down_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, part = run(5, 2000, FIRST, FIRST + HOUR), pod("solo", 2000, FIRST, FIRST + HOUR, bridged(5))
    web = pod("web", 1000, FIRST, FIRST + HOUR)

    asked, _ = both(monkeypatch, [replace(whole, indices=(0, 1)), part, web], [*saw(part, 6, 7), *saw(web, 7)])

    assert [(0, HOUR)] == asked


def test_only_while_a_card_is_in_two_hands_the_scalar_rules_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    web = pod("web", 1000, FIRST + 2 * HOUR, FIRST + 4 * HOUR)

    asked, postings = both(monkeypatch, [JOB, web], [*saw(JOB, 0, 1, 2, 3), *saw(web, 3, end=FIRST + 3 * HOUR)])

    assert [(2 * HOUR, 3 * HOUR)] == asked
    assert HOUR * 1000 == sum(p.quantity for p in postings if p.account == "disputed")


def test_only_while_a_pod_is_on_other_cards_than_its_job_the_scalar_rules_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    holdings = [*saw(JOB, 0, 1, 2, 3), *saw(BERT, 1, 4, end=FIRST + 3 * HOUR)]

    asked, postings = both(monkeypatch, [JOB, BERT], holdings)

    assert [(HOUR + 5, 3 * HOUR)] == asked
    assert {"holds card 4, which Slurm job 18 does not: it holds cards 0, 1, 2, 3"} == {
        p.reason for p in postings if p.account == "disputed"
    }


def test_jobs_of_one_lender_on_one_card_are_found_though_the_lender_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    other = run(20, 1000, FIRST + HOUR, FIRST + 2 * HOUR)

    asked, postings = both(
        monkeypatch, [WORKER, JOB, other], [*saw(WORKER, *range(8)), *saw(JOB, 0, 1, 2, 3), *saw(other, 3)]
    )

    assert [(HOUR, 2 * HOUR)] == asked
    assert "disputed" in {p.account for p in postings}


def test_a_uuid_is_the_card_whose_index_somebody_told(monkeypatch: pytest.MonkeyPatch) -> None:
    web = replace(pod("web", 1000, FIRST + 2 * HOUR, FIRST + 4 * HOUR), uuids=("GPU-3",))

    asked, postings = both(monkeypatch, [JOB, web], saw(JOB, 0, 1, 2, 3))

    assert [(2 * HOUR, 4 * HOUR)] == asked
    assert "disputed" in {p.account for p in postings}


# what is seen


def of(
    told: list[tuple[int, ...]], milligpu: Sequence[int] = (2000, 2000, 2000), unit: Sequence[int] = (0, 1, 2)
) -> Seen:
    """Three rows on one machine, held from second 0 to 100; ``told`` are rows of `Told`."""
    columns = [np.array(column, dtype=np.int64) for column in zip(*told, strict=True)]
    claimed = Claimed(
        np.array([0, 3]),
        np.array(unit, dtype=np.int32),
        np.zeros(3, dtype=np.int64),
        np.full(3, 100),
        np.array(milligpu),
    )
    return seen(claimed, Told(*columns[:6], columns[6].astype(bool)))


def rows(found: Seen) -> list[tuple[int, ...]]:
    return [*zip(*(c.tolist() for c in (found.row, found.start, found.end, found.card, found.milligpu)), strict=True)]


def test_what_is_told_of_a_card_is_joined_and_clipped_to_the_claim() -> None:
    found = of([(1, -5, 10, 3, -1, 1000, 0), (1, 10, 40, 3, 7, 1000, 0), (1, 60, 1 << 62, 3, 7, 1000, 0)])

    assert [(1, 0, 40, 3, 1000), (1, 60, 100, 3, 1000)] == rows(found)
    assert not found.unsure.any()


def test_a_uuid_without_an_index_is_a_card_of_its_own() -> None:
    found = of([(0, 0, 9, 3, 7, 1000, 0), (1, 0, 9, -1, 7, 1000, 0), (2, 0, 9, -1, 8, 1000, 0)])

    assert [3, 3] == found.card[:2].tolist()
    assert 3 != found.card[2]


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ([(0, 0, 9, 3, -1, 1000, 0), (0, 0, 100, 4, -1, 1000, 1)], {}),  # the claim says otherwise than was seen
        ([(0, 0, 9, 3, -1, 1000, 0), (0, 0, 9, 4, -1, 1000, 0), (0, 0, 9, 5, -1, 1000, 0)], {}),  # more than it holds
        ([(0, 0, 9, 3, -1, 1000, 0)], {"unit": (0, 0, 2)}),  # which claim of the unit?
        ([(0, 0, 9, 3, 7, 1000, 0), (1, 50, 60, 3, 8, 1000, 0)], {}),  # the card was replaced
        ([(0, 0, 9, 3, 7, 1000, 0), (1, 50, 60, 4, 7, 1000, 0)], {}),  # the card was moved
    ],
)
def test_what_may_be_seen_otherwise_at_some_moment_is_unsure(
    told: list[tuple[int, ...]], more: dict[str, object]
) -> None:
    assert of(told, **more).unsure.all()  # type: ignore[arg-type]
