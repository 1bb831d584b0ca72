"""Disputes and rulings through the front door, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from accounting.store.tables import rulings, transactions
from exporters.model import LinkKey, LinkKind
from tests.accounting import views
from tests.accounting.october import HOUR, SETTLED, Site, run_1, seen, told
from tests.accounting.site import DAY, T0, ended, pod
from tests.accounting.test_months import one_site, site, sums

__all__ = ["one_site", "site"]


def dispute(site: Site) -> str:
    return site.run("disputes").split()[0]


def test_a_dispute_names_both_owners_their_projects_and_the_records(site: Site) -> None:
    told_of = site.run("disputes", "2026-10")

    for part in (
        "open  gn01  2026-10-01T02:00:00Z to 2026-10-01T03:00:00Z  2.000000 GPU-hours",
        "kubernetes/kube/uid-a: vision/Job/a 'a' of bob, vision, project vision",
        f"slurm/lab/1@{T0}: 1 'train-1' of alice, vision, project vision",
        "why: same cards as slurm/lab/1@",
    ):
        assert part in told_of
    assert 2 == told_of.count("record of ")
    assert "" == site.run("disputes", "2026-11")


def test_a_ruling_is_a_posting_with_author_time_and_reason(site: Site) -> None:
    name = dispute(site)
    site.now += 60
    ruled = site.run("rule", name, "--to", "1", "--why", "it was first", "--author", "ada")
    reposted = views.rows(
        site.engine,
        select(transactions.c.author, transactions.c.reason, transactions.c.posted_at).where(
            transactions.c.author != ""
        ),
    )

    assert f"ruled to slurm/lab/1@{T0} by ada at 2026-11-03T00:01:00Z: it was first" in ruled
    assert {("ada", f"to slurm/lab/1@{T0}: it was first", SETTLED + 60)} == set(reposted)
    assert [] == [r for r in site.lines("2026-10") if r["disposition"] == "disputed"]
    assert "37.80" == str(sums(site, "2026-10")[1])
    assert "every invariant holds\n" == site.run("check")


def test_a_ruling_is_applied_again_after_a_late_record(site: Site) -> None:
    name = dispute(site)
    site.run("rule", name, "--to", "vision/Job/a", "--why", "so", "--author", "ada")
    told(site.engine, run_1(8, "late"), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")

    assert f"{name}  ruled  gn01" in site.run("disputes")
    assert "4.000000 GPU-hours" in site.run("disputes").splitlines()[0]
    assert "42.00" == str(sums(site, "2026-10")[1])  # 8 and 4 of run 1, 4 of pod a alone, and the 4 that are its


def test_a_ruling_whose_claims_are_not_in_conflict_any_more_is_told_as_lapsed(site: Site) -> None:
    name = dispute(site)
    site.run("rule", name, "--to", "1", "--why", "so", "--author", "ada")
    told(site.engine, run_1(4, "late"), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")

    assert f"{name}  no longer applicable  gn01" in site.run("disputes")
    assert "every invariant holds\n" == site.run("check")


def test_a_ruling_can_be_overruled_and_revoked_and_nothing_of_it_is_lost(site: Site) -> None:
    name = dispute(site)
    start = site.month("2026-10")
    site.run("rule", name, "--to", "1", "--why", "first", "--author", "ada")
    first = site.month("2026-10")
    site.run("rule", name, "--to", "vision/Job/a", "--why", "second", "--author", "bob")
    second = site.month("2026-10")
    site.run("rule", name, "--revoke", "--why", "wrong", "--author", "cyd")

    assert start == site.month("2026-10")
    assert 3 == len({first[0], second[0], start[0]})
    assert ["ada", "bob", "cyd"] == [
        r[0] for r in views.rows(site.engine, select(rulings.c.author).order_by(rulings.c.id))
    ]
    assert "revoked by cyd" in site.run("disputes")


def test_the_same_ruling_again_is_no_news(one_site: Site) -> None:
    name = dispute(one_site)
    for _ in range(2):
        one_site.now += 1
        one_site.run("rule", name, "--to", "1", "--why", "first", "--author", "ada")

    assert 1 == len(views.rows(one_site.engine, select(rulings.c.id)))


def test_a_ruling_in_a_closed_month_is_a_correction_and_the_month_stays_as_it_was(site: Site) -> None:
    name = dispute(site)
    site.run("close", "2026-10")
    site.run("seal", "2026-10")
    closed = site.month("2026-10")
    site.now += DAY
    report = site.run("rule", name, "--to", "1", "--why", "it was first", "--author", "ada")

    assert "1 corrected" in report
    assert closed == site.month("2026-10")
    assert "4.20" == str(sums(site, "2026-11")[1])
    assert f"{name}  ruled" in site.run("disputes")
    assert "every invariant holds\n" == site.run("check")


def test_corrections_by_a_ruling_name_lines_that_the_closed_month_has(site: Site) -> None:
    name = dispute(site)
    site.run("close", "2026-10")
    closed = {r["line_id"]: r for r in site.lines("2026-10")}
    site.run("rule", name, "--to", "vision/Job/a", "--why", "it was there first", "--author", "ada")
    told(site.engine, run_1(), ended(9, T0 + 20 * HOUR, T0 + 21 * HOUR, cards=1), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")
    corrections = [(r, r["linked_record"].split("/")) for r in site.lines("2026-11") if r["linked_record"]]
    about = [(r, closed[where[2]]) for r, where in corrections if where[2] != "none"]
    late = [r["job_name"] for r, where in corrections if where[2] == "none"]

    assert {"correction"} == {where[0] for _, where in corrections}
    assert {"2026-10"} == {where[1] for _, where in corrections}
    assert ["train-9"] == late
    assert all((r["job_id"], r["gpu_model"]) == (line["job_id"], line["gpu_model"]) for r, line in about)
    assert {("charged", "charged"), ("disputed", "disputed"), ("idle", "idle")} == {
        (r["disposition"], line["disposition"]) for r, line in about
    }


def test_a_correction_of_a_job_that_was_only_in_dispute_names_that_line(site: Site) -> None:
    told(site.engine, run_1(end=T0 + 3 * HOUR), ended(2, T0 + 2 * HOUR, T0 + 3 * HOUR, cards=2), now=SETTLED + 1)
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")
    closed = {r["line_id"]: r for r in site.lines("2026-10")}
    told(site.engine, run_1(1, "late"), now=SETTLED + 2)
    site.run("reconcile", "--period", "2026-10")
    charged = [r for r in site.lines("2026-11") if r["job_name"] == "train-2" and r["disposition"] == "charged"]

    assert ["disputed"] == [r["disposition"] for r in closed.values() if r["job_name"] == "train-2"]
    assert ["disputed"] == [closed[r["linked_record"].split("/")[2]]["disposition"] for r in charged]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("D0", "--to", "1", "--why", "x"), 3, "there is no dispute D0"),
        (("{name}", "--to", "7", "--why", "x"), 3, "7 is not one of the parties"),
        (("{name}", "--revoke", "--why", "x"), 3, "nothing can be revoked"),
        (("{name}", "--to", "1", "--why", " "), 3, "needs an author and a reason"),
        (("{name}", "--why", "x"), 2, "say either --to JOB or --revoke"),
        (("{name}", "--revoke", "--to", "1", "--why", "x"), 2, "say either --to JOB or --revoke"),
    ],
)
def test_a_ruling_that_makes_no_sense_is_refused(
    one_site: Site, words: tuple[str, ...], code: int, sentence: str
) -> None:
    name = dispute(one_site)

    assert sentence in one_site.run("rule", *(w.format(name=name) for w in words), code=code)
    assert [] == views.rows(one_site.engine, select(rulings.c.id))


def test_claims_are_told_with_the_keys_they_carry(engine: Engine, tmp_path: Path) -> None:
    key = LinkKey(LinkKind.INSIDE, "lab", "77", "label meterbridge.io/slurm-job-id")
    seen(engine, pods=[pod("a", 1, T0 + 2 * HOUR, T0 + 4 * HOUR, 4, keys=[key])])
    told(engine)
    site = Site(engine, tmp_path)
    site.run("reconcile", "--period", "2026-10")
    found = site.run("disputes")
    site.run("rule", found.split()[0], "--to", "vision/Job/a", "--why", "a typing error", "--author", "ada")

    assert "key inside lab/77 label meterbridge.io/slurm-job-id" in found
    assert "why: no run of Slurm job 77 of lab is on this node" in found
    assert "16.80" == str(sums(site, "2026-10")[1])
