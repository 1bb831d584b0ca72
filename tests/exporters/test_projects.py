"""Who pays: accounts, namespaces and labels, while their rule is valid."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.projects import UNMAPPED, ProjectMap, ProjectMapError, ProjectRule
from exporters.model import Job, JobKey, Scheduler

OCTOBER, NOVEMBER, DECEMBER = 1_790_812_800, 1_793_491_200, 1_796_083_200  # 2026, the first of each month, UTC


def slurm(account: str, cluster: str = "hpc1") -> Job:
    key = JobKey(Scheduler.SLURM, cluster, "18@0")
    return Job(key, "18", "18", "train", "alice", account, "gpu")


def kube(namespace: str, cluster: str = "prod", **labels: str) -> Job:
    key = JobKey(Scheduler.KUBERNETES, cluster, "uid")
    return Job(key, "x", "x", "web", "", namespace, "", labels=labels)


def rule(
    project: str,
    kind: Literal["account", "namespace", "label"],
    value: str,
    start: int | None = None,
    end: int | None = None,
) -> ProjectRule:
    return ProjectRule(project, kind, value, start, end)


def payer(job: Job, *rules: ProjectRule, at: float = OCTOBER) -> str:
    return ProjectMap.of(rules).project(job, at)


def test_an_account_and_a_namespace_map_to_a_project() -> None:
    rules = (rule("vision", "account", "vis"), rule("vision", "namespace", "vision-prod"))

    assert ["vision", "vision"] == [payer(slurm("vis"), *rules), payer(kube("vision-prod"), *rules)]


@pytest.mark.parametrize(("written", "stored"), [("VIS", "vis"), ("vis", "VIS"), ("HPC1/Vis", "vis")])
def test_an_account_is_the_same_in_any_letter_case(written: str, stored: str) -> None:
    assert "payer" == payer(slurm(stored), rule("payer", "account", written))


def test_one_account_in_two_letter_cases_has_one_payer() -> None:
    with pytest.raises(ProjectMapError, match=r"'VIS'.*'vis'.*overlap"):
        ProjectMap.of([rule("a", "account", "VIS"), rule("b", "account", "vis")])


def test_a_namespace_keeps_its_letters() -> None:
    assert UNMAPPED == payer(kube("vis"), rule("vision", "namespace", "VIS"))


def test_what_nothing_maps_is_unmapped() -> None:
    assert [UNMAPPED, UNMAPPED] == [payer(slurm("vis")), payer(kube("vis"), rule("vision", "account", "vis"))]


def test_an_account_is_no_namespace_and_a_namespace_no_account() -> None:
    assert UNMAPPED == payer(slurm("vis"), rule("vision", "namespace", "vis"))


def test_a_label_goes_before_the_namespace_it_is_in() -> None:
    rules = (rule("shared", "namespace", "jupyter"), rule("nlp", "label", "team=nlp"))

    assert "nlp" == payer(kube("jupyter", team="nlp"), *rules)
    assert "shared" == payer(kube("jupyter", team="vision"), *rules)


def test_of_two_labels_that_map_the_first_key_in_the_alphabet_decides() -> None:
    rules = (rule("a", "label", "team=x"), rule("b", "label", "cost=y"))

    assert "b" == payer(kube("ns", team="x", cost="y"), *rules)


def bound(project: str, *namespaces: str) -> ProjectRule:
    return ProjectRule(project, "label", "team=nlp", namespaces=frozenset(namespaces))


def test_a_label_is_believed_where_it_is_bound_to_and_elsewhere_the_namespace_decides() -> None:
    rules = (bound("nlp", "jupyter", "prod/notebooks"), rule("web", "namespace", "web"))
    asked = [("jupyter", "prod"), ("notebooks", "prod"), ("notebooks", "test"), ("web", "prod")]

    assert ["nlp", "nlp", UNMAPPED, "web"] == [payer(kube(n, c, team="nlp"), *rules) for n, c in asked]


@pytest.mark.parametrize("turned", [False, True])
def test_a_bound_label_goes_before_a_free_one_in_whatever_order_they_are_written(turned: bool) -> None:
    rules = (bound("everywhere"), bound("here", "jupyter"))[:: -1 if turned else 1]

    assert ["here", "everywhere"] == [payer(kube(n, team="nlp"), *rules) for n in ("jupyter", "web")]


def test_one_label_of_two_projects_needs_namespaces_apart() -> None:
    assert "b" == payer(kube("y", team="nlp"), bound("a", "x"), bound("b", "y"))
    with pytest.raises(ProjectMapError, match=r"in x, y -> 'a'.*in y, z -> 'b'.*overlap"):
        ProjectMap.of([bound("a", "x", "y"), bound("b", "y", "z")])


def test_labels_are_nothing_to_slurm() -> None:
    job = slurm("vis")

    assert UNMAPPED == payer(
        Job(job.key, "18", "18", "t", "u", "vis", "gpu", labels={"team": "nlp"}), rule("nlp", "label", "team=nlp")
    )


def test_a_rule_bound_to_a_cluster_goes_before_the_free_one() -> None:
    rules = (rule("everywhere", "account", "vis"), rule("east-only", "account", "east/vis"))

    assert "east-only" == payer(slurm("vis", "east"), *rules)
    assert "everywhere" == payer(slurm("vis", "west"), *rules)


def test_a_namespace_may_be_bound_to_a_cluster_too() -> None:
    assert ["nlp", UNMAPPED] == [payer(kube("ns", c), rule("nlp", "namespace", "prod/ns")) for c in ("prod", "test")]


@pytest.mark.parametrize(
    ("at", "project"),
    [
        (OCTOBER - 1, UNMAPPED),
        (OCTOBER, "old"),
        (NOVEMBER - 0.5, "old"),
        (NOVEMBER, "new"),
        (DECEMBER - 1, "new"),
        (DECEMBER, UNMAPPED),
    ],
)
def test_a_rule_is_valid_from_its_first_second_to_before_its_last(at: float, project: str) -> None:
    rules = (rule("old", "account", "vis", OCTOBER, NOVEMBER), rule("new", "account", "vis", NOVEMBER, DECEMBER))

    assert project == payer(slurm("vis"), *rules, at=at)


def test_a_bound_rule_that_is_not_valid_yet_leaves_the_free_one() -> None:
    rules = (rule("free", "account", "vis"), rule("bound", "account", "hpc1/vis", NOVEMBER))

    assert ["free", "bound"] == [payer(slurm("vis"), *rules, at=t) for t in (OCTOBER, NOVEMBER)]


def test_a_map_that_overlaps_itself_is_refused_and_both_rules_are_named() -> None:
    rules = [rule("old", "account", "vis", None, DECEMBER), rule("new", "account", "vis", NOVEMBER, None)]

    with pytest.raises(ProjectMapError) as refused:
        ProjectMap.of(rules)

    assert (
        "account 'vis' -> 'old' (… to 2026-12-01) and account 'vis' -> 'new' (2026-11-01 to …) overlap: "
        "give them validity dates that do not"
    ) == str(refused.value)


def test_the_same_rule_twice_is_no_contradiction() -> None:
    rules = [rule("vision", "account", "vis", OCTOBER, DECEMBER), rule("vision", "account", "vis", NOVEMBER)]

    assert "vision" == payer(slurm("vis"), *rules, at=NOVEMBER)


@pytest.mark.parametrize(("start", "end"), [(NOVEMBER, OCTOBER), (NOVEMBER, NOVEMBER)])
def test_a_rule_that_never_applies_is_refused(start: int, end: int) -> None:
    with pytest.raises(ProjectMapError, match=r"'vis' -> 'v' .*valid_from is not before valid_to, so it never applies"):
        ProjectMap.of([rule("v", "account", "vis", start, end)])


def test_the_borders_are_the_moments_inside_at_which_a_rule_begins_or_ends() -> None:
    rules = ProjectMap.of(
        [rule("a", "account", "x", OCTOBER, NOVEMBER), rule("b", "account", "x", NOVEMBER), rule("c", "account", "y")]
    )

    assert [NOVEMBER] == rules.borders(OCTOBER, DECEMBER)
    assert [OCTOBER, NOVEMBER] == rules.borders(OCTOBER - 1, NOVEMBER + 1)
    assert [] == rules.borders(NOVEMBER, DECEMBER)


_rules = st.lists(
    st.builds(
        lambda p, a, n: rule(p, "account", "vis", a, a + n),
        st.sampled_from("ab"),
        st.integers(0, 20),
        st.integers(1, 8),
    ),
    max_size=4,
)


@given(_rules, st.integers(0, 30))
def test_a_map_that_is_not_refused_knows_one_project_at_most_whatever_the_order(
    rules: list[ProjectRule], at: int
) -> None:
    valid = {r.project for r in rules if (r.valid_from or 0) <= at < (r.valid_to or 0)}
    try:
        found = {ProjectMap.of(order).project(slurm("vis"), at) for order in (rules, rules[::-1])}
    except ProjectMapError:
        return

    assert (valid or {UNMAPPED}) == found
