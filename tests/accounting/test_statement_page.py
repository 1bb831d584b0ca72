"""The page of a statement: what it says is what the CSV says, and no name gets out of its text."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, update

from accounting.rates.rating import Rates
from accounting.site.statement_pages import file_names
from accounting.statements import Statement, chargeback_csv
from accounting.statements.html.against import Cost, Difference, difference
from accounting.statements.html.formats import Formats
from accounting.statements.html.statement_page import MonthSum, Pages, Standing, Surroundings
from accounting.store.database import write
from accounting.store.tables import periods
from exporters.model import Disposition
from tests.accounting.october import SETTLED, october, run_1, told
from tests.accounting.plain_lines import Usage
from tests.accounting.produced import alike, produced
from tests.accounting.reading_pages import HARMLESS, Page, number
from tests.accounting.test_dated_prices import Dated
from tests.accounting.usages import GPU_HOUR, OCTOBER, charged, kube, pencil_month, slurm, wild_usages

PLAIN = Surroundings("hall")


def lines(month: Statement) -> list[dict[str, str]]:
    text = b"".join(chargeback_csv(month)).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def amounts(month: Statement) -> dict[str, Decimal]:
    """What each project pays, out of the CSV."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines(month):
        found[line["project"]] += Decimal(line["amount"])
    return found


def site(month: Statement, around: Surroundings = PLAIN) -> Page:
    return Page(Pages.of(month, around).site(lambda name: f"2026-10/{name}.html"))


def project(month: Statement, name: str = "vision", around: Surroundings = PLAIN) -> Page:
    return Page(Pages.of(month, around).project(name))


def measured(job: str, hours: float, busy: float, **more: object) -> Usage:
    told = {"observed_gpu_seconds": hours * 3600, "active_seconds": busy * hours * 3600, "energy_joules": 3.6e6 * hours}
    return charged(slurm(job), hours, samples_seen=10, samples_expected=10, **told, **more)


@settings(max_examples=40)
@given(wild_usages())
def test_every_table_of_money_adds_up_to_the_csv_to_the_cent(usages: list[Usage]) -> None:
    month = produced(alike(usages))
    owed = amounts(month)
    whole = site(month)

    assert Decimal(whole.owed) == sum(owed.values())
    for page, paid in [
        (whole, sum(owed.values())),
        *((project(month, n), owed[n]) for n in Pages.of(month, PLAIN).projects),
    ]:
        assert Decimal(page.owed) == paid
        for where in ("used", "projects", "jobs", "users"):
            for n in range(len(page.tables.get(where, []))):
                *rows, total = page.amounts(where, n)
                assert (paid, paid) == (sum(rows), total), where


@settings(max_examples=40)
@given(wild_usages())
def test_printed_hours_add_up_to_the_printed_total(usages: list[Usage]) -> None:
    page = site(produced(alike(usages)))

    for where in ("used", "projects", "users"):
        for table in page.tables.get(where, []):
            _, *rows, total = [row[2].text for row in table]
            assert number(total) == sum(number(text) for text in rows)


def test_a_page_of_a_project_says_nothing_of_another() -> None:
    month = produced([*pencil_month(), charged(slurm("9"), 2, "secretlab", job_name="secretjob", user="mallory")])
    text = project(month, "vision").text

    assert "resnet" in text
    assert not re.search("secretlab|secretjob|mallory|nlp|idle, and|Who pays|Capacity", text)


def test_what_was_not_measured_is_unknown_and_never_zero() -> None:
    page = project(produced([charged(slurm("1"), 2)]))

    assert "utilization" in page.text
    assert "nothing was measured" in page.text
    assert ["unknown", "unknown"] == [cell.text for cell in page.tables["used"][0][1][-2:]]
    assert "0 %" not in page.text


def test_utilization_stands_beside_how_much_of_it_was_seen() -> None:
    page = project(produced([measured("1", 3, 0.5), charged(slurm("2"), 1)]))

    assert ["50 %", "75 %"] == [cell.text for cell in page.tables["used"][0][1][-2:]]


def test_waste_has_hours_and_money() -> None:
    """Half of 4 measured hours idle, a failed job of 2, a requeued one of 1, and 3 of 6 hours outside of its pods."""
    outer = slurm("5")
    usages = [
        measured("1", 4, 0.5),
        charged(slurm("2"), 2, state="FAILED"),
        charged(slurm("3"), 1, state="REQUEUED"),
        charged(slurm("4"), 0.5, state="NODE_FAIL"),
        charged(outer, 6),
        Usage("vision", kube("p"), "h100", None, 3 * GPU_HOUR, 0, OCTOBER, OCTOBER + 3600, linked=outer),
        Usage("vision", kube("d"), "h100", Disposition.DISPUTED, GPU_HOUR, GPU_HOUR, OCTOBER, OCTOBER + 3600),
    ]
    rows = [[cell.text for cell in row[:3]] for row in project(produced(usages)).tables["waste"][0][1:]]

    assert [
        ["Held, and idle", "2.0", "4.20"],
        ["Orphaned", "3.0", "6.30"],
        ["Jobs that failed", "2.0", "4.20"],
        ["Lost with a machine", "0.5", "1.05"],
        ["Requeued or preempted", "1.0", "2.10"],
        ["Disputed", "1.0", "not charged"],
    ] == rows


def test_idle_time_that_nobody_measured_is_unknown() -> None:
    rows = project(produced([charged(slurm("1"), 2)])).tables["waste"][0]

    assert ["Held, and idle", "unknown", "unknown"] == [cell.text for cell in rows[1][:3]]


def test_the_difference_to_the_month_before_is_told_by_its_reasons() -> None:
    """10 h at 2.10 before; the same and 10 h of a dearer model now: 10 h more at 2.10, and 1.90 for each of these."""
    rates = Rates({"h100": Decimal("2.10"), "b200": Decimal("4.00")})
    before = produced([charged(slurm("1"), 10)], rates, "2026-09")
    now = produced([charged(slurm("2"), 10), charged(slurm("3"), 10, gpu_model="b200")], rates)
    page = project(now, around=replace(PLAIN, before=before))

    assert [
        ["More GPU-hours", "+21.00"],
        ["Dearer GPU models", "+19.00"],
        ["Difference", "+40.00"],
    ] == [[row[0].text, row[2].text] for row in page.tables["difference"][0][1:]]


def test_a_month_in_another_currency_is_not_compared() -> None:
    before = produced([charged(slurm("1"), 10)], Rates({"h100": Decimal(2)}, "USD"), "2026-09")
    page = project(produced([charged(slurm("2"), 10)]), around=replace(PLAIN, before=before))

    assert "2026-09 was charged in USD, so it is not compared." in page.text


_models = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.integers(0, 10**12), st.fractions(0, 10**9, max_denominator=10**6)),
    max_size=4,
)
_cost = st.builds(Cost, _models, st.integers(0, 10**10), st.integers(-(10**6), 10**6))


@given(_cost, _cost)
def test_the_parts_of_a_difference_add_up_to_it_exactly(now: Cost, before: Cost) -> None:
    assert now.total - before.total == difference(now, before).total


def test_the_rounding_of_lines_is_no_change_of_price() -> None:
    """A third of a cent an hour: three jobs of an hour come to 0.00 EUR, and one of three hours to 0.01."""
    rates = Rates({"h100": Decimal("0.0033")})
    before = produced([charged(slurm(str(n)), 1) for n in range(3)], rates, "2026-09")
    page = project(produced([charged(slurm("9"), 3)], rates), around=replace(PLAIN, before=before))

    assert [["Rounding of lines", "+0.01"], ["Difference", "+0.01"]] == [
        [row[0].text, row[2].text] for row in page.tables["difference"][0][1:]
    ]


def test_a_price_that_changed_is_a_part_for_its_model() -> None:
    same = (10, Fraction(500))
    before, now = Cost({"a": (10, Fraction(100)), "b": same}, 600), Cost({"a": (10, Fraction(120)), "b": same}, 620, -7)

    assert Difference(0, 0, {"a": 20}, 0, -7) == difference(now, before)


def test_the_trend_has_a_row_and_a_bar_for_each_month() -> None:
    months = [
        MonthSum(f"2026-{n:02}", "EUR", {"vision": n * GPU_HOUR, "nlp": 1}, {"vision": Decimal(n)}) for n in (8, 9)
    ]
    page = project(produced([charged(slurm("1"), 10)]), around=replace(PLAIN, months=months))

    assert [["2026-10", "10.0", "21.00"], ["2026-09", "9.0", "9.00"], ["2026-08", "8.0", "8.00"]] == [
        [cell.text for cell in row[:3]] for row in page.tables["trend"][0][1:]
    ]
    assert 3 == [tag for tag, _ in page.tags].count("rect")


@pytest.mark.parametrize(
    ("standing", "as_of", "said"),
    [
        (
            Standing("open"),
            OCTOBER,
            "Open, as of 2026-10-01 00:00 UTC: figures may still change. This is not an invoice.",
        ),
        (Standing("closed", OCTOBER), None, "Closed 2026-10-01 00:00 UTC: final."),
        (Standing("sealed", OCTOBER, "ab" * 32), None, "proved by seal abababababababab"),
    ],
)
def test_the_state_of_the_month_is_said_first(standing: Standing, as_of: int | None, said: str) -> None:
    month = replace(produced(pencil_month()), as_of=as_of)
    page = site(month, replace(PLAIN, standing=standing))

    assert said in " ".join(page.text.split())


def test_numbers_and_dates_are_written_as_the_site_writes_them() -> None:
    formats = Formats("1.234,56", "31.10.2026")
    month = replace(produced([charged(slurm("1"), 1000)]), as_of=OCTOBER)
    page = project(month, around=replace(PLAIN, formats=formats))

    assert "2.100,00" in page.text
    assert "01.10.2026 00:00 UTC" in page.text
    assert "2100.00" == page.owed


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; </style><svg onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "\u202egnp.exe\u202c",
    "\u0645\u0634\u0631\u0648\u0639",
    "\U0001f600" * 40,
    "x" * 5000,
    "javascript:alert(1)",
    "https://evil.example/x",
    "a\x00b\x1b[31m",
    "&amp;&lt;",
]


def safe(page: Page) -> None:
    """Only tags of the template, no handler, no address but of a page beside it, and one style with its hash."""
    for tag, attributes in page.tags:
        assert tag in HARMLESS, tag
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"style", "src", "srcset", "action"} & attributes.keys()
        for name in ("href", "xlink:href"):
            assert not re.match(r"\s*(?:[a-z][a-z0-9+.-]*:|//)", attributes.get(name) or "", re.IGNORECASE), attributes
    assert [tag for tag, _ in page.tags].count("style") == 1
    policy = [attributes["content"] for tag, attributes in page.tags if tag == "meta" and "http-equiv" in attributes]
    assert len(policy) == 1
    assert str(policy[0]).startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", page.text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(name: str) -> None:
    usages = alike([charged(slurm("1"), 2, name, job_name=name, user=name, gpu_model="h100", state=name)])
    month = produced(usages)
    pages = Pages.of(month, replace(PLAIN, site=name, doubts=[name]))
    (stored,) = pages.projects
    files = file_names([stored])

    for page in (Page(pages.site(lambda n: files[n])), Page(pages.project(stored))):
        safe(page)
        assert Decimal("4.20") == Decimal(page.owed)


def tags(who: str, job: str, state: str) -> list[str]:
    """The tags of a page with these names."""
    month = produced(alike([charged(slurm("1"), 2, "p", job_name=job, user=who, state=state)]))
    page = Page(Pages.of(month, replace(PLAIN, site=job, doubts=[job])).site(lambda _: "x.html"))
    safe(page)
    return [tag for tag, _ in page.tags]


@settings(max_examples=60)
@given(*[st.text(min_size=1, max_size=40)] * 3)
def test_no_text_gets_out_of_its_place(who: str, job: str, state: str) -> None:
    assert tags("a", "b", "c") == tags(who, job, state)


def test_the_command_writes_a_page_for_the_site_and_for_each_project(engine: Engine, tmp_path: Path) -> None:
    """October, closed, and a correction of it in November: the pages say what the CSVs say."""
    there = october(engine, tmp_path)
    there.run("close", "2026-10")
    told(engine, run_1(2, "late"), now=SETTLED + 1)
    there.run("reconcile")
    owed = sum(Decimal(line["amount"]) for line in there.lines("2026-11"))
    printed = there.run("statement", "2026-11", "--html", "--out", str(tmp_path / "out"))
    page = Page((tmp_path / "out" / "2026-11.html").read_text())

    assert [tmp_path / "out" / name for name in ("2026-11/vision.html", "2026-11.html")] == [
        Path(line) for line in printed.splitlines()[3:]
    ]
    assert owed == Decimal(page.owed)
    assert owed != 0
    assert "corrections" in page.tables
    assert "2026-10" in page.tables["trend"][0][2][0].text


def test_a_month_before_that_has_no_price_now_is_not_said_to_be_missing(engine: Engine, tmp_path: Path) -> None:
    """October was closed in EUR by a release that kept no prices; the settings have no price for it any more."""
    there = october(engine, tmp_path)
    there.run("close", "2026-10")
    with write(engine) as connection:
        connection.execute(update(periods).where(periods.c.name == "2026-10").values(closed_with=""))
    now = Dated(engine, tmp_path, rates="{currency: EUR, gpu_hour: [{price: {h100: 2}, valid_from: 2026-11-01}]}")
    now.run("reconcile")
    now.run("statement", "2026-11", "--html", "--out", str(tmp_path / "out"))
    text = Page((tmp_path / "out" / "2026-11.html").read_text()).text

    assert "2026-10 cannot be priced now: meterbridge rates check 2026-10 says why" in text
    assert "no month before in the books" not in text


def test_the_page_of_a_project_that_is_gone_is_taken_away_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    there, out = october(engine, tmp_path), tmp_path / "out"
    there.run("statement", "2026-10", "--html", "--out", str(out))
    stale, own = out / "2026-10" / "old-project.html", out / "2026-10" / "by-hand.html"
    stale.write_text((out / "2026-10" / "vision.html").read_text())
    own.write_text("<html>ours, not yours</html>")

    said = there.typed("statement", "2026-10", "--html", "--out", str(out)).stderr

    assert f"{stale} was taken away: 2026-10 has no line of that project any more" in said
    assert ["by-hand.html", "vision.html"] == sorted(path.name for path in own.parent.iterdir())


def test_an_empty_month_has_a_page() -> None:
    page = site(produced([]))

    assert "Nothing is charged in 2026-10." in page.text
    assert Decimal("0.00") == Decimal(page.owed)


@given(st.lists(st.text(min_size=1), unique=True, max_size=6))
def test_each_project_has_a_file_of_its_own_that_any_system_takes(projects: list[str]) -> None:
    names = file_names(projects)

    assert [*names] == projects
    assert len({name.casefold() for name in names.values()}) == len(projects)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) for name in names.values())
