"""The sweep makes the postings that the scalar rules make, node-day by node-day."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.model import CAPACITY, DAY, CapacityStretch, CoverageStretch, NodeDay, NodeDayResult, Posting, Ruling
from accounting.reconcile.rule import REMAINDER, Rules, parties, reconcile
from accounting.reconcile.sweep import ACCOUNTS, Batch, Sweep
from accounting.reconcile.sweep import chunk as chunks
from accounting.reconcile.sweep import run as sweep_run
from accounting.reconcile.sweep.site_columns import PER_CLAIM
from accounting.reconcile.sweep.table import KEY
from exporters.model import Claim, LinkKey, NodeKey
from tests.accounting.columns_of import columns_of, node_day, postings_of
from tests.accounting.sites import FIRST, Site, sites
from tests.bench.month import PERIOD, month
from tests.exporters.records import KUBE, SLURM, bridged, lends, made_by, pod, run, stands_in

Place = tuple[str, int]


def swept(site: Site) -> tuple[dict[Place, list[Posting]], dict[Place, list[tuple[Claim, str]]]]:
    """Postings and unplaced claims by machine and day, as the sweep says."""
    sweep = Sweep(site.columns, site.rules, site.period)
    postings: dict[Place, list[Posting]] = {}
    unplaced: dict[Place, list[tuple[Claim, str]]] = defaultdict(list)
    for batch in sweep:
        found = postings_of(batch, sweep)
        assert not postings.keys() & found.keys()
        postings |= found
        for lost in batch.unplaced:
            machine = int(np.searchsorted(site.columns.first, lost.row, side="right")) - 1
            claim = site.columns.claims(np.array([lost.row]))[0]
            unplaced[site.columns.machines[machine], lost.day].append((claim, lost.reason))
    return postings, unplaced


def node_days(site: Site) -> dict[Place, NodeDay]:
    """Every node-day of the site's period."""
    start, end = site.period
    return {
        (machine, day): node_day(site.columns, number, max(start, day * DAY), min(end, (day + 1) * DAY))
        for number, machine in enumerate(site.columns.machines)
        for day in range(start // DAY, -(-end // DAY))
    }


@pytest.mark.slow
@settings(max_examples=150)
@given(sites())
def test_every_node_day_has_the_postings_that_the_scalar_rules_make(site: Site) -> None:
    postings, unplaced = swept(site)
    expected: dict[Place, NodeDayResult] = {at: reconcile(day, site.rules) for at, day in node_days(site).items()}

    assert {at: list(r.postings) for at, r in expected.items() if r.postings} == postings
    assert {at: sorted(map(str, r.unplaced)) for at, r in expected.items() if r.unplaced} == {
        at: sorted(map(str, lost)) for at, lost in unplaced.items()
    }


@pytest.mark.slow
@given(sites(), st.randoms())
def test_the_order_of_claims_does_not_matter(site: Site, rng: random.Random) -> None:
    columns = site.columns
    claims = {
        name: columns.claims(np.arange(columns.first[n], columns.first[n + 1]))
        for n, name in enumerate(columns.machines)
    }
    projects = dict(zip(columns.job.tolist(), columns.project.tolist(), strict=True))
    shuffled = columns_of(
        {name: rng.sample(claims[name], len(claims[name])) for name in rng.sample([*claims], len(claims))},
        {name: columns.capacity[n] for n, name in enumerate(columns.machines)},
        {name: columns.coverage[n] for n, name in enumerate(columns.machines)},
        {columns.names.jobs[job]: columns.names.projects[project] for job, project in projects.items()},
    )

    for name in PER_CLAIM:
        assert np.array_equal(getattr(columns, name), getattr(shuffled, name))
    for one, other in zip(astuple(columns.keys), astuple(shuffled.keys), strict=True):
        assert np.array_equal(one, other)


def test_a_month_of_many_claims_has_on_any_node_day_the_postings_of_the_scalar_rules() -> None:
    site, rng = month(20), random.Random(1)
    sweep = Sweep(site, Rules(), PERIOD)
    places = 0
    disputed = []
    for batch in sweep:
        c = batch.columns
        place = c["machine"].astype(np.int64) * DAY + c["day"]
        every = np.unique(place)
        places += len(every)
        disputed += np.unique(place[c["account"] == ACCOUNTS.index("disputed")]).tolist()
        for chosen in {*rng.sample(every.tolist(), min(8, len(every))), *disputed[-2:]} & {*every.tolist()}:
            number, day = divmod(chosen, DAY)
            some = Batch({name: column[place == chosen] for name, column in c.items()})
            expected = reconcile(node_day(site, number, day * DAY, (day + 1) * DAY), Rules()).postings

            assert {(site.machines[number], day): list(expected)} == postings_of(some, sweep)
    assert 20 * 31 == places
    assert disputed


def test_the_rows_of_every_model_and_node_day_of_a_month_sum_to_zero() -> None:
    for batch in Sweep(month(12), Rules(), PERIOD):
        frame = batch.frame()

        assert 0 == frame.groupby(["machine", "day", "model"]).quantity.sum().abs().max()
        assert -8000 * DAY == frame[frame.account == ACCOUNTS.index(CAPACITY)].quantity.max()
        assert not frame.duplicated([*KEY]).any()
        assert (frame.start < frame.end).all()
        assert (frame.start // DAY == frame.day).all()
        assert ((frame.end - 1) // DAY == frame.day).all()


def test_node_days_come_whole_and_in_order() -> None:
    seen: set[tuple[int, int]] = set()
    for batch in Sweep(month(12), Rules(), PERIOD):
        places = list(zip(batch.columns["machine"].tolist(), batch.columns["day"].tolist(), strict=True))

        assert places == sorted(places)
        assert not seen & set(places)
        seen |= set(places)


def test_what_nests_and_fits_never_needs_the_scalar_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lenders that are replaced, PyTorchJobs in jobs, bridged jobs, drains and hours that nobody could read."""
    asked = watch_windows(monkeypatch)
    hour = 3600
    claims = [
        pod("worker-a", 8000, FIRST - DAY, FIRST + 30 * hour, lends("gn09")),
        pod("worker-b", 8000, FIRST + 30 * hour + 60, None, lends("gn09")),
        run(18, 4000, FIRST + hour, FIRST + 40 * hour),
        pod("bert-0", 2000, FIRST + hour + 5, FIRST + 40 * hour - 1, made_by(18)),
        pod("bert-1", 1000, FIRST + hour + 5, FIRST + 39 * hour, made_by(18)),
        run(6001, 8000, FIRST + 50 * hour, FIRST + 60 * hour, node="gn09-bridge"),
        pod("solo", 6000, FIRST + 50 * hour + 3, FIRST + 60 * hour + 20, bridged(6001)),
        pod("vk", 8000, FIRST, FIRST + 60 * hour, stands_in()),
    ]
    claims[1] = replace(claims[1], end=FIRST + 45 * hour)
    capacity = [
        CapacityStretch(FIRST, FIRST + 20 * hour, SLURM, "hpc1", "gn09", "h100", 8000, up=True),
        CapacityStretch(FIRST + 20 * hour, FIRST + 26 * hour, SLURM, "hpc1", "gn09", "h100", 8000, False, "bad fan"),
        CapacityStretch(FIRST + 26 * hour, FIRST + 3 * DAY, SLURM, "hpc1", "gn09", "h100", 8000, up=True),
        CapacityStretch(FIRST, FIRST + 3 * DAY, KUBE, "prod", "gn09", "NVIDIA-H100", 8000, up=True),
    ]
    coverage = [
        CoverageStretch(FIRST, FIRST + 5 * hour, SLURM, "hpc1"),
        CoverageStretch(FIRST + 6 * hour, FIRST + 3 * DAY, SLURM, "hpc1"),
        CoverageStretch(FIRST, FIRST + 3 * DAY, KUBE, "prod"),
    ]
    site = Site(
        columns_of({"gn09": claims}, {"gn09": capacity}, {"gn09": coverage}, {}), (FIRST, FIRST + 3 * DAY), Rules()
    )
    postings, _ = swept(site)

    assert {at: list(reconcile(day, Rules()).postings) for at, day in node_days(site).items()} == postings
    assert [] == asked
    accounts = {p.account for found in postings.values() for p in found}
    assert {"charged", "reserved", "idle", "down", "unknown", "capacity", ""} == accounts


def test_what_is_not_known_of_one_machine_is_known_of_another_of_its_cluster() -> None:
    hour = 3600
    capacity = {
        name: [CapacityStretch(FIRST, FIRST + DAY, SLURM, "hpc1", name, "h100", 8000, up=True)]
        for name in ("gn09", "gn10")
    }
    coverage = {
        "gn09": [CoverageStretch(FIRST, FIRST + hour, SLURM, "hpc1")],
        "gn10": [CoverageStretch(FIRST, FIRST + DAY, SLURM, "hpc1")],
    }
    site = Site(columns_of({}, capacity, coverage, {}), (FIRST, FIRST + DAY), Rules())
    postings, _ = swept(site)

    assert {at: list(reconcile(day, Rules()).postings) for at, day in node_days(site).items()} == postings
    assert {("unknown", 23 * hour * 8000), ("idle", hour * 8000), ("capacity", -DAY * 8000)} == {
        (p.account, p.quantity) for (machine, _), found in postings.items() for p in found if machine == "gn09"
    }


def test_only_the_seconds_in_doubt_are_left_to_the_scalar_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watch_windows(monkeypatch)
    claims = [run(1, 6000, FIRST, FIRST + 5000), run(2, 6000, FIRST + 4000, FIRST + 9000), run(3, 1000, FIRST, None)]
    capacity = [CapacityStretch(FIRST, FIRST + DAY, SLURM, "hpc1", "gn09", "h100", 8000, up=True)]
    coverage = [CoverageStretch(FIRST, FIRST + DAY, SLURM, "hpc1")]
    site = Site(columns_of({"gn09": claims}, {"gn09": capacity}, {"gn09": coverage}, {}), (FIRST, FIRST + DAY), Rules())
    postings, _ = swept(site)

    assert {at: list(reconcile(day, Rules()).postings) for at, day in node_days(site).items()} == postings
    assert [(FIRST + 4000, FIRST + 5000)] == [(day.start, day.end) for day in asked]


def test_a_site_in_many_chunks_is_the_site_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(month(6), PERIOD, Rules())
    whole = swept(site)
    monkeypatch.setattr(chunks, "ROWS", 1)

    assert whole == swept(site)


def test_a_machine_that_had_nothing_is_there_too() -> None:
    capacity = [CapacityStretch(FIRST, FIRST + DAY, SLURM, "hpc1", "gn09", "h100", 8000, up=True)]
    site = Site(columns_of({}, {"gn09": capacity}, {}, {}), (FIRST, FIRST + DAY), Rules())
    postings, unplaced = swept(site)

    assert {at: list(reconcile(day, Rules()).postings) for at, day in node_days(site).items()} == postings
    assert {} == unplaced


def test_columns_that_do_not_belong_together_are_refused() -> None:
    site = month(1)

    with pytest.raises(ValueError, match="different lengths"):
        replace(site, milligpu=site.milligpu[:-1])
    with pytest.raises(ValueError, match="milliGPU of a claim must be within 0 and 2147483647"):
        replace(site, milligpu=site.milligpu << 32)
    with pytest.raises(ValueError, match="time is out of range"):
        replace(site, end=site.end + (1 << 62))


def test_a_claim_on_another_clusters_node_is_refused() -> None:
    claim = replace(run(1, 1000), node=NodeKey(KUBE, "prod", "gn09"))

    with pytest.raises(ValueError, match="claim of job slurm/hpc1/1@0 is on node kubernetes/prod/gn09"):
        columns_of({"gn09": [claim]}, {}, {}, {})


def test_a_period_without_a_second_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Sweep(month(1), Rules(), (FIRST, FIRST))


def test_numbers_that_do_not_fit_into_64_bits_are_refused() -> None:
    site = month(1)
    huge = replace(site, milligpu=np.full(len(site.milligpu), 2**31 - 1))

    with pytest.raises(ValueError, match="shorten the period"):
        list(Sweep(huge, Rules(), (FIRST, FIRST + 80 * 365 * DAY)))
    with pytest.raises(ValueError, match="month by month"):
        Sweep(site, Rules(), (0, 1 << 40))


def watch_windows(monkeypatch: pytest.MonkeyPatch) -> list[NodeDay]:
    """What the sweep asks the scalar rules, besides what empty machines are."""
    asked: list[NodeDay] = []

    def ask(days: Sequence[NodeDay], rules: Rules) -> list[NodeDayResult]:
        asked.extend(days)
        return [reconcile(day, rules) for day in days]

    monkeypatch.setattr(sweep_run, "reconcile_all", ask)
    return asked


def one_day(claims: Sequence[Claim], rulings: Sequence[Ruling] = ()) -> tuple[list[Posting], list[Posting]]:
    """A node-day of eight cards as the scalar rules see it, put together here, and as the sweep does."""
    capacity = (CapacityStretch(FIRST, FIRST + DAY, SLURM, "hpc1", "gn09", "h100", 8000, up=True),)
    coverage = (CoverageStretch(FIRST, FIRST + DAY, SLURM, "hpc1"),)
    projects = {c.job: f"of {c.native_id}" for c in claims}
    day = NodeDay(
        "gn09", FIRST, FIRST + DAY, tuple(claims), capacity, coverage, tuple(projects.items()), rulings=tuple(rulings)
    )
    columns = columns_of({"gn09": claims}, {"gn09": capacity}, {"gn09": coverage}, projects, rulings={"gn09": rulings})
    postings, _ = swept(Site(columns, (FIRST, FIRST + DAY), Rules()))
    return list(reconcile(day, Rules()).postings), postings["gn09", FIRST // DAY]


def test_what_a_pod_holds_before_and_after_its_job_is_one_posting() -> None:
    expected, found = one_day(
        [run(18, 4000, FIRST + 1000, FIRST + 5000), pod("bert", 1000, FIRST + 940, FIRST + 5060, made_by(18))]
    )

    assert expected == found


def test_the_pods_of_a_requeued_external_job_pay_for_its_remainder() -> None:
    expected, found = one_day(
        [
            run(5, 8000, FIRST + 1000, FIRST + 5000),
            run(5, 8000, FIRST + 6000, FIRST + 9000, submit=1),
            pod("solo", 2000, FIRST + 6010, FIRST + 8990, bridged(5)),
        ]
    )

    assert expected == found
    assert {"of vision/solo"} == {p.project for p in found if p.reason == REMAINDER}


def test_a_ruling_moves_the_cards_of_a_conflict_and_of_a_key_in_doubt() -> None:
    first, second = run(1, 6000, FIRST, FIRST + 5000), run(2, 6000, FIRST + 4000, FIRST + 9000)
    doubtful = pod("lost", 1000, FIRST + 20_000, FIRST + 21_000, made_by(99))
    rulings = [
        Ruling(parties(first.job, second.job), first.job, "ann", "asked both"),
        Ruling((doubtful.job,), doubtful.job, "ann", "a typing error"),
    ]
    expected, found = one_day([first, second, doubtful], rulings)

    assert expected == found
    assert {r.reason for r in rulings} <= {p.reason for p in found}


# Borders and ties, which sites drawn at random seldom meet.


def linked_to(claims: Sequence[Claim]) -> set[tuple[str, str, str]]:
    """What the postings of a day say of its pods, by the sweep: account, link and whose link; as the rule says it."""
    expected, found = one_day(claims)

    assert expected == found
    return {(p.account, p.link or "", str(p.linked or "")) for p in found if p.job and p.job.scheduler is KUBE}


@pytest.mark.parametrize("keys", [(made_by(18), made_by(20)), (made_by(20), made_by(18))])
def test_of_two_keys_of_one_strength_the_first_by_its_text_is_followed(keys: tuple[LinkKey, ...]) -> None:
    runs = [run(number, 4000, FIRST, FIRST + 5000) for number in (20, 18)]

    assert {("", "inside", str(runs[1].job))} == linked_to([*runs, pod("bert", 1000, FIRST, FIRST + 5000, *keys)])


@pytest.mark.parametrize("keys", [(bridged(18), bridged(20)), (bridged(20), bridged(18))])
def test_so_it_is_of_two_external_jobs(keys: tuple[LinkKey, ...]) -> None:
    runs = [run(number, 4000, FIRST, FIRST + 5000) for number in (20, 18)]

    assert {("charged", "same", str(runs[1].job))} == linked_to([*runs, pod("solo", 1000, FIRST, FIRST + 5000, *keys)])


@pytest.mark.parametrize("keys", [(made_by(18), bridged(20)), (bridged(20), made_by(18))])
def test_what_the_system_wrote_is_followed_before_what_a_user_wrote(keys: tuple[LinkKey, ...]) -> None:
    runs = [run(number, 4000, FIRST, FIRST + 5000) for number in (20, 18)]

    assert {("charged", "same", str(runs[0].job))} == linked_to([*runs, pod("solo", 1000, FIRST, FIRST + 5000, *keys)])


@pytest.mark.parametrize(
    ("start", "end", "fits"),
    [
        (1000 - 120, 5000 + 120, True),
        (1000 - 121, 5000, False),
        (1000, 5000 + 121, False),
        (5000 - 1, 5000 + 120, True),
        (5000, 5000 + 120, False),  # it only begins when the job is over
        (1000 - 120, 1000, False),
    ],
)
def test_a_pod_is_inside_its_job_give_or_take_the_grace(start: int, end: int, fits: bool) -> None:
    claims = [run(18, 4000, FIRST + 1000, FIRST + 5000), pod("bert", 1000, FIRST + start, FIRST + end, made_by(18))]

    assert fits is ("disputed" not in {account for account, _, _ in linked_to(claims)})


@pytest.mark.parametrize("owners", [("y", "z"), ("z", "y")])
def test_of_two_lenders_that_began_in_the_same_second_the_last_by_its_pods_name_has_the_job(
    owners: tuple[str, str],
) -> None:
    lenders = [
        pod(unit, 2000, FIRST, FIRST + 5000, lends("h1"), owner=owner)
        for unit, owner in zip(("a", "b"), owners, strict=True)
    ]

    expected, found = one_day([*lenders, run(18, 1000, FIRST + 10, FIRST + 5000, node="h1")])

    assert expected == found
    assert {lenders[1].job} == {p.linked for p in found if p.account == "charged"}


@pytest.mark.parametrize("milligpu", [2000, 2001])
def test_pods_that_just_fit_into_their_job_are_inside_it(milligpu: int) -> None:
    claims = [run(18, 4000, FIRST, FIRST + 5000)]
    claims += [pod(n, size, FIRST, FIRST + 5000, made_by(18)) for n, size in (("a", 2000), ("b", milligpu))]

    assert (milligpu > 2000) is ("disputed" in {account for account, _, _ in linked_to(claims)})
