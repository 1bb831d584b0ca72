"""A statement by columns has the bytes of one that is made line by line."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from accounting.arrays import Ints
from accounting.bulk import names as bulk_names
from accounting.bulk import wording
from accounting.bulk.charges import amounts, priced
from accounting.bulk.lines import Frame, Slice, Who, rendered
from accounting.bulk.names import Names, Part, part_of, parts_of, plain_part
from accounting.bulk.order import statement_order
from accounting.bulk.readers import readers
from accounting.bulk.shelf import shelf
from accounting.bulk.statement import month_statement, month_sums
from accounting.bulk.sums import WORDS, Sums
from accounting.bulk.texts import Said
from accounting.bulk.wording import measured_of, taken
from accounting.model import Usage
from accounting.rates.rating import Rates, RatingError, rate
from accounting.statements import Statement, chargeback_csv, compose, summary_csv
from accounting.statements.csvtext import cell, csv_lines
from accounting.statements.csvtext import text as safe
from accounting.statements.usage import corrections, usage
from accounting.store.calendar import period_named
from accounting.store.database import LedgerError, write
from accounting.store.tables import node_days, postings, telemetry
from exporters.model import JobKey
from tests.accounting.october import Site, october, run_1, told
from tests.accounting.site import T0, ended
from tests.accounting.usages import PERIOD, RATES, pencil_month, wild_usages

DIGITS = RATES.minor_digits


def columns(usages: list[Usage]) -> tuple[Sums, dict[int, Said]]:
    """Usages as a ledger sums them, and what is known of the jobs."""
    jobs = sorted({k for u in usages for k in (u.job, u.linked) if k}, key=lambda k: (k.id, k))
    ids: dict[JobKey | None, int] = {None: 0} | {key: n for n, key in enumerate(jobs, start=1)}
    projects, models = sorted({u.project for u in usages}), sorted({u.gpu_model for u in usages})
    said = {ids[k]: Said(k.scheduler.value, k.cluster, k.id, "", "", "", "") for k in jobs}
    for u in usages:
        if u.job:
            said[ids[u.job]] = Said(*said[ids[u.job]][:3], u.job_name, u.user, u.account, u.partition)
    numbers = np.array(
        [
            (
                projects.index(u.project), ids[u.job], models.index(u.gpu_model), WORDS.index(u.disposition),
                ids[u.linked], u.charged, u.held, u.start, u.end,
            )
            for u in usages
        ],
        dtype=np.int64,
    ).reshape(-1, 9)  # fmt: skip
    measured = {
        n: (u.observed_gpu_seconds, u.active_seconds, u.energy_joules, u.samples_seen, u.samples_expected)
        for n, u in enumerate(usages)
        if u.samples_expected
    }
    return Sums(projects, models, *numbers.T, measured), said


def alike(usages: list[Usage]) -> list[Usage]:
    """Every line of a job says the same of it, and nobody's lines say nothing."""
    first: dict[JobKey, Usage] = {}
    found = []
    for u in usages:
        who = first.setdefault(u.job, u) if u.job else None
        found.append(
            Usage(
                u.project, u.job, u.gpu_model, u.disposition, u.held, u.charged, u.start, u.end,
                job_name=who.job_name if who else "", user=who.user if who else "",
                account=who.account if who else "", partition=who.partition if who else "", linked=u.linked,
                observed_gpu_seconds=u.observed_gpu_seconds, active_seconds=u.active_seconds,
                energy_joules=u.energy_joules, samples_seen=u.samples_seen, samples_expected=u.samples_expected,
            )
        )  # fmt: skip
    return found


def named(said: dict[int, Said]) -> Names:
    """What lines say of jobs, two at a time."""
    ids = [*said]
    return Names(_part(said, ids[n : n + 2]) for n in range(0, len(ids), 2))


def _part(said: dict[int, Said], ids: list[int]) -> Part:
    """The second job comes first, as a database may have it."""
    cells = {n: "".join(f"{text}," for text in said[n][2:]) for n in reversed(ids)}
    numbers = np.array([(n, len(some), len(said[n].run)) for n, some in cells.items()], dtype=np.int64)
    return part_of(*numbers.T, "".join(cells.values()), lambda odd: pick(said, odd))


def pick(said: dict[int, Said], ids: Ints) -> Mapping[int, Said]:
    return {n: said[n] for n in ids.tolist() if n}


def text(usages: list[Usage]) -> str:
    """The lines of a month by columns."""
    sums, said = columns(usages)
    prices = priced(sums, RATES, lambda _: JobKey("slurm", "", ""))  # type: ignore[arg-type]
    places = sorted({said[n][:2] for n in said})
    of = np.array([-1, *(places.index(said[n][:2]) for n in said)], dtype=np.int64)
    frame = Frame(PERIOD, RATES.currency, DIGITS, sums.projects, sums.models, prices.prices, places)
    order = statement_order(sums, of[sums.job], lambda ids: {n: s[:3] for n, s in pick(said, ids).items()}, frame)
    own = taken(Slice(sums, order * 0, prices.minor, prices.price), order, measured_of(sums.measured))
    whole = month(usages)
    own.micro[:] = whole.micro_hours
    names = named(said)
    who = [
        Who(names.told(names.places(jobs), cells=cells), of[jobs])
        for jobs, cells in ((own.sums.job, True), (own.sums.linked, False))
    ]
    return rendered(own, frame, *who).decode()


def month(usages: list[Usage]) -> Statement:
    return compose(rate(usages, RATES, PERIOD), RATES, PERIOD)


@given(usages=wild_usages(), rng=st.randoms(use_true_random=False))
def test_any_month_has_the_same_lines_in_the_same_order(usages: list[Usage], rng: random.Random) -> None:
    usages = alike(usages)
    rng.shuffle(usages)

    assert "".join([*chargeback_csv(month(usages))][1:]) == text(usages)


@pytest.mark.parametrize("odd", ["a,b", "-1", " x", "@x", "x" * 300, "x" * 2000, 'a"b', "é", "http://x:1/y", "_"])
def test_the_cells_of_a_job_are_those_of_each_name_by_itself(odd: str) -> None:
    said = {n: Said("slurm", "lab", *("x" if place else odd for place in places)) for n, places in _ODD.items()}
    names = named(said)
    told = names.told(names.places(np.array([*said], dtype=np.int64)), cells=True)

    assert [f"{job.run},".encode() for job in said.values()] == told.runs()
    assert ["".join(f"{cell(text)}," for text in job[2:]).encode() for job in said.values()] == told.cells()


@given(st.lists(st.lists(st.text("ab -.@,é_", max_size=3) | st.just("x" * 260), min_size=5, max_size=5), min_size=1))
def test_names_that_are_plain_are_read_as_all_are(names: list[list[str]]) -> None:
    ids = np.arange(len(names), 0, -1)
    text = "".join(f"{cell}," for job in names for cell in job)
    size = np.array([sum(map(len, job)) + 5 for job in names])
    whole = part_of(ids, size, np.array([len(job[0]) for job in names]), text, lambda odd: _said(names, odd))
    plain = plain_part(ids, text)

    if plain is not None:
        assert whole.plain.all()
        assert repr(whole) == repr(plain)
    else:
        assert not whole.plain.all() or int(size.max()) > 255


def _said(names: list[list[str]], ids: Ints) -> Mapping[int, Said]:
    return {n: Said("slurm", "lab", *names[len(names) - n]) for n in ids.tolist()}


_ODD = {n: [place != n - 2 for place in range(5)] for n in range(1, 7)}
"""Six jobs: each name is odd in turn, of the first none; the second one comes first."""


def test_a_month_with_telemetry_has_the_same_lines() -> None:
    usages = alike(pencil_month())

    assert "".join([*chargeback_csv(month(usages))][1:]) == text(usages)


@given(
    quantities=st.lists(st.integers(0, 10**15), max_size=5),
    price=st.decimals("0", "1e6", allow_nan=False, places=4) | st.decimals("0", "100", places=9),
    digits=st.sampled_from([0, 2, 3]),
)
def test_amounts_are_exact(quantities: list[int], price: Decimal, digits: int) -> None:
    rates = Rates({}, {0: "JPY", 2: "EUR", 3: "KWD"}[digits], default=price)
    expected = [int(rates.amount(q, price).scaleb(digits)) for q in quantities]

    assert expected == [int(a) for a in amounts(np.array(quantities, dtype=np.int64), price, digits)]


def test_halves_are_rounded_to_even() -> None:
    quantities = np.arange(40, dtype=np.int64) * 1_800_000
    rates = Rates({}, default=Decimal("0.01"))
    expected = [int(rates.amount(q, Decimal("0.01")).scaleb(2)) for q in quantities.tolist()]

    assert expected == amounts(quantities, Decimal("0.01"), 2).tolist()
    assert {0, 2} <= set(expected)


@given(st.text(st.sampled_from('ab,"\r\n=\x00é'), max_size=6))
def test_a_cell_is_what_the_csv_writer_makes_of_it(value: str) -> None:

    assert [*csv_lines(("x", safe(value)), [])] == [f"x,{cell(value)}\r\n"]


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    """October closed, and a late record that corrects it in November."""
    site = october(engine, tmp_path)
    site.run("close", "2026-10")
    told(engine, run_1(end=T0 + 4 * 3600, note="late"), ended(2, T0 + 100, T0 + 200))
    site.run("reconcile", "--period", "2026-10")
    return site


def test_a_ledgers_months_have_the_same_files_with_corrections_and_without(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wording, "PART", 1)
    monkeypatch.setattr(bulk_names, "TOGETHER", 2)
    rates = Rates({"h100": Decimal("2.10")})
    for name in ("2026-10", "2026-11"):
        files = site.month(name)
        stated = site_statement(site, name, rates)

        assert "".join(chargeback_csv(stated)).encode() == files[0]
        assert "".join(summary_csv(stated)).encode() == files[1]
        own = [t for t in stated.totals if not t.corrects]
        sums = sum(t.quantity for t in own), sum((t.amount for t in own), Decimal(0))
        capacity, _, minor = month_sums(site.engine, period_named(name), rates)
        assert sums == (capacity, Decimal(minor).scaleb(-2))
    assert b"correction/2026-10/" in files[0]


def site_statement(site: Site, name: str, rates: Rates) -> Statement:
    """A month's statement line by line."""
    from accounting.rates.rating import rate_corrections

    period = period_named(name)
    own = rate(usage(site.engine, period.start, period.end), rates, name)
    later = rate_corrections(corrections(site.engine, name), {"2026-10": rates}, rates, name)
    return compose(own + later, rates, name)


@pytest.mark.parametrize("measured", [False, True])
def test_processes_beside_this_one_give_the_same_bytes(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    monkeypatch.setattr(wording, "PART", 1)
    if measured:
        gauge(site.engine)
    rates, period = Rates({"h100": Decimal("2.10")}), period_named("2026-10")
    expected = "".join(chargeback_csv(site_statement(site, "2026-10", rates))).encode()
    with readers(site.engine, much=False) as here:
        alone = month_statement(site.engine, here, period, rates, []).csv(here)

        assert expected == b"".join(part.encode() if isinstance(part, str) else part for part in alone)
    with readers(site.engine, much=True) as beside, shelf(tmp_path / "new" / "folder") as shared:
        month = month_statement(site.engine, beside, period, rates, [], shared)
        parts = [
            part.read_bytes() if isinstance(part, Path) else part if isinstance(part, bytes) else part.encode()
            for part in month.csv_parts(beside)
        ]
        left = len([*shared.folder.iterdir()])

    assert expected == b"".join(parts)
    assert measured == (b",1000.0" in expected)
    assert (2, []) == (left, [*(tmp_path / "new" / "folder").iterdir()])  # the columns and the jobs; then nothing


def gauge(engine: Engine) -> None:
    """Measure a joule or so of each job."""
    with write(engine) as connection:
        for number, unit, start in connection.execute(
            select(postings.c.job_id, func.min(postings.c.unit), func.min(node_days.c.start_at))
            .join(node_days, node_days.c.transaction_id == postings.c.transaction_id)
            .where(postings.c.job_id.is_not(None))
            .group_by(postings.c.job_id)
        ).all():
            amounts = dict.fromkeys(("gpu_seconds", "active_seconds", "tensor_seconds"), 60.0)
            bytes_ = dict.fromkeys(("nvlink_transmit_bytes", "nvlink_receive_bytes"), 0.0)
            found = (
                {"energy_joules": 3600.0 * (1_000_000 + number), "samples_seen": 1, "samples_expected": 2}
                | amounts
                | bytes_
            )
            row = {"job_id": number, "unit": unit, "machine": "gn0001", "start_at": start}
            connection.execute(telemetry.insert().values(**row, **found))


def test_names_of_a_job_that_is_not_there_are_refused(site: Site) -> None:
    with readers(site.engine, much=False) as here:
        some = np.array([1, 77], dtype=np.int64)
        with pytest.raises(LedgerError, match="no job 77, of which something is booked"):
            Names(parts_of(here, some)).places(some)
        with pytest.raises(LedgerError, match="no job 77, of which something is booked"):
            Names(parts_of(here, some[1:]))


def test_a_model_without_a_price_is_named_with_its_job(site: Site) -> None:
    with (
        readers(site.engine, much=False) as here,
        pytest.raises(RatingError, match=r"no price for GPU model 'h100' \(job \w+/"),
    ):
        month_statement(site.engine, here, period_named("2026-10"), Rates({}), [])
