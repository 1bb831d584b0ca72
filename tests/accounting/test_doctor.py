"""The doctor: each thing that may be wrong is said with what mends it, and what is well is not called wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from accounting.doctor.books import books
from accounting.doctor.examine import examine
from accounting.doctor.finding import Finding, Level, as_json, as_text, look, unseen, well, wrong
from accounting.doctor.joined import FIELDS, joined, near_names
from accounting.doctor.monitoring import GROUPS, grafana, prometheus
from accounting.doctor.slurm_settings import as_of, judged, parse, slurm_settings
from accounting.doctor.sources import sources
from accounting.intake.history import ingest_history
from exporters.config import parse as parse_settings
from exporters.config.slurm import SlurmCluster, SlurmHistory, SlurmLive
from exporters.join.projects import ProjectMap, ProjectRule
from exporters.model import Field, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import SourceError
from exporters.status import SourceStatus, Target
from meterbridge import main
from tests.accounting.readings import live
from tests.accounting.site import T0, History, ended, gn, node
from tests.exporters import world as w
from tests.lab.prometheus import Prometheus
from tests.lab.slurm import SlurmLab

NOW = 1_800_000_000.0

GOOD = """Configuration data as of 2027-01-15T08:00:00
AccountingStorageTRES   = cpu,mem,energy,node,billing,fs/disk,vmem,pages,gres/gpu
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
PrivateData             = none
SLURM_VERSION           = 24.11.5
"""

CLUSTER = SlurmCluster(cluster="lab")


def levels(findings: Iterable[Finding]) -> dict[Level, list[str]]:
    found: dict[Level, list[str]] = {}
    for finding in findings:
        found.setdefault(finding.level, []).append(f"{finding.what} | {finding.mend}")
    return found


def slurm_of(text: str, clock: float | None = None, cluster: SlurmCluster = CLUSTER) -> dict[Level, list[str]]:
    return levels(judged("slurm", cluster, parse(text), clock, NOW))


# -- Slurm's settings


def test_a_cluster_that_is_well_is_well() -> None:
    assert {Level.WELL: ["Slurm 24.11.5, cluster lab | "]} == slurm_of(GOOD, NOW + 20)


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        (("gres/gpu", "gres/fs"), Level.WRONG, "AccountingStorageTRES has no gres/gpu"),
        ((",gres/gpu", ""), Level.WRONG, "vmem,pages,gres/gpu in slurm.conf"),
        (("storage/slurmdbd", "storage/none"), Level.WRONG, "AccountingStorageType is accounting_storage/none"),
        (("= lab", "= hpc2"), Level.WRONG, "cluster_name: hpc2"),
        (("24.11.5", "20.02.1"), Level.LOOK, "never tried"),
        (("24.11.5", "27.02.1"), Level.LOOK, "never tried"),
    ],
)
def test_what_keeps_a_cluster_from_being_metered_is_named(change: tuple[str, str], level: Level, says: str) -> None:
    (found,) = slurm_of(GOOD.replace(*change))[level]

    assert says in found


@pytest.mark.parametrize("tres", ["gres/gpu", "GRES/GPU", "gres/gpu:h100", " gres/gpu "])
def test_typed_and_oddly_written_cards_are_cards(tres: str) -> None:
    assert Level.WRONG not in slurm_of(GOOD.replace("gres/gpu", tres))


@pytest.mark.parametrize(("off", "wrong_"), [(29, False), (-29, False), (31, True), (-31, True)])
def test_a_clock_that_differs_by_more_than_half_a_minute_is_wrong(off: int, wrong_: bool) -> None:
    assert wrong_ == (Level.WRONG in slurm_of(GOOD, NOW + off))


def test_the_clusters_name_is_compared_as_slurm_does_and_by_the_name_that_the_site_gave() -> None:
    renamed = SlurmCluster(cluster="hall", cluster_name="LAB")

    assert Level.WRONG not in slurm_of(GOOD, cluster=renamed)
    assert Level.WRONG in slurm_of(GOOD, cluster=SlurmCluster(cluster="hall"))


@given(st.text())
def test_any_text_has_settings_and_perhaps_a_time(text: str) -> None:
    assert all(isinstance(value, str) for value in parse(text).values())
    assert as_of(text) is None or isinstance(as_of(text), float)


@pytest.mark.server("slurm")
def test_a_real_slurm_is_looked_at(slurm_lab: SlurmLab) -> None:
    cluster = SlurmCluster(
        cluster="lab",
        environment=slurm_lab.environment,
        live=SlurmLive(scontrol=slurm_lab.command("scontrol"), squeue=slurm_lab.command("squeue")),
        history=SlurmHistory(sacctmgr=slurm_lab.command("sacctmgr")),
    )
    found = list(slurm_settings(cluster))
    later = list(slurm_settings(cluster, time.time() + 60))

    assert [Level.WELL] == [f.level for f in found]
    assert [Level.WRONG, Level.WELL] == [f.level for f in later]
    assert "clock is -6" in later[0].what or "clock is -5" in later[0].what


def test_a_command_that_is_away_and_none_at_all_are_said() -> None:
    away = replace_live(SlurmLive(scontrol=("/no/such/scontrol",)))
    none = replace_live(SlurmLive(enabled=False))

    assert [Level.WRONG, Level.UNSEEN] == [next(slurm_settings(c)).level for c in (away, none)]


def replace_live(live_: SlurmLive) -> SlurmCluster:
    return SlurmCluster(cluster="lab", live=live_)


# -- sources and the join


def status(name: str = "slurmctld", **changes: object) -> SourceStatus:
    return replace(SourceStatus(name, "lab", True, NOW, 0.2, 1, 0, 0), **changes)  # type: ignore[arg-type]


def test_no_source_at_all_is_wrong() -> None:
    assert ["none is configured"] == [f.what for f in sources([], [])]


def test_a_source_that_fails_says_why_and_one_that_is_incomplete_what_is_missing() -> None:
    found = list(
        sources(
            [
                status(success=False, error="cannot run 'squeue'"),
                status("pods", complete=False, problems=("pods may not be listed: 403",)),
                status("dcgm", targets=(1, 1), unmetered={"habana.ai/gaudi": 8}),
            ],
            [("dcgm", [Target("http://a", error=""), Target("http://b", error="cannot connect")])],
        )
    )
    told = levels(found)

    assert ["cannot run 'squeue'", "http://b: cannot connect"] == [t.partition(" | ")[0] for t in told[Level.WRONG]]
    assert "403" in told[Level.LOOK][0]
    assert "devices.resources: {habana.ai/gaudi: {model: NAME" in told[Level.LOOK][1]


def test_a_thousand_endpoints_that_fail_are_a_handful_of_lines() -> None:
    down = [Target(f"http://{n}", error="cannot connect") for n in range(1000)]
    found = list(sources([status("dcgm")], [("dcgm", down)]))

    assert 995 == next(int(f.what.split()[0]) for f in found if "more endpoints" in f.what)
    assert len(found) < 10


def site(
    nodes: tuple[str, ...], kube: tuple[str, ...], fields: Mapping[Field, float], account: str = "vision"
) -> Collector:
    """Slurm nodes with a job on the first, Kubernetes nodes, and readings of every card of the first."""
    job = w.slurm_job(1, account)
    slurm, pods, dcgm = (
        w.StubSource("slurmctld", "lab", w.SLURM),
        w.StubSource("pods", "k1", w.KUBE),
        w.StubSource("dcgm", "", None),
    )
    slurm.says = Snapshot(
        0.0,
        jobs=(job,),
        claims=(w.slurm_claim(job, nodes[0], 1000, (0,)),),
        nodes=tuple(w.slurm_node(name) for name in nodes),
    )
    pods.says = Snapshot(0.0, nodes=tuple(w.kube_node(name) for name in kube))
    dcgm.says = Snapshot(0.0, samples=tuple(w.samples(nodes[0], NOW, fields)) if fields else ())
    payers = ProjectMap.of([ProjectRule("vision", "account", "vision")])
    collector = Collector([slurm, pods, dcgm], JoinSettings(payers), clock=lambda: NOW)
    collector.poll_all()
    return collector


def of_site(collector: Collector, dcgm: bool = True) -> list[Finding]:
    return list(joined(collector.join(), collector.nodes(), dcgm))


ALL = dict.fromkeys(FIELDS, 0.5)


def test_a_site_that_is_joined_well_has_nothing_wrong() -> None:
    found = levels(of_site(site(("gn01",), ("gn01",), ALL)))

    assert Level.WRONG not in found
    assert ["which card a job has is assumed on 1 machines"] == [t.partition(":")[0] for t in found[Level.LOOK]]


def test_who_has_no_project_is_named_with_the_line_that_gives_one() -> None:
    told = levels(of_site(site(("gn01",), (), ALL, "astro")))[Level.LOOK]

    assert any("accounts that hold cards and have no project: astro | projects: [{project: NAME" in t for t in told)


def test_names_that_may_be_one_machine_are_paired() -> None:
    told = levels(of_site(site(("gn01", "gn02"), ("rack1-gn-1.site", "gn02"), ALL)))

    (line,) = [t for t in told[Level.LOOK] if "one machine" in t]
    assert "machines.names: {slurm/lab/gn01: gn01, kubernetes/k1/rack1-gn-1.site: gn01}" in line
    assert any("1 are known to both" in t for t in told[Level.WELL])


@pytest.mark.parametrize(
    ("slurm", "kubernetes", "pairs"),
    [
        (["gn01"], ["GN1.site"], [("gn01", "GN1.site")]),
        (["gn01"], ["a-gn1", "b-gn1"], []),
        (["login"], ["login2"], []),
        (["gn01"], ["hn01"], []),
    ],
)
def test_only_what_is_near_and_alone_is_paired(
    slurm: list[str], kubernetes: list[str], pairs: list[tuple[str, str]]
) -> None:
    assert pairs == list(near_names(slurm, kubernetes))


def test_fields_that_are_not_served_and_machines_that_nobody_reads_are_named() -> None:
    told = levels(of_site(site(("gn01", "gn02"), (), {Field.ENGINE_ACTIVE: 0.5})))[Level.LOOK]

    assert any("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE is served for 0 of 8" in t for t in told)
    assert any("machines with cards and no reading: gn02 (1 of 2)" in t for t in told)


def test_no_reading_at_all_is_wrong_where_devices_are_configured_and_of_no_concern_where_not() -> None:
    blind = site(("gn01",), (), {})

    assert any("no device is read" in t for t in levels(of_site(blind))[Level.WRONG])
    assert Level.WRONG not in levels(of_site(blind, dcgm=False))


# -- the ledger


SETTINGS = """
site: here
ledger: {{url: "{url}"}}
slurm: [{{cluster: lab, live: {{enabled: false}}}}]
"""


def test_a_ledger_that_nobody_fills_is_wrong(engine: Engine) -> None:
    config = parse_settings(SETTINGS.format(url="sqlite:///x"))
    told = levels(books(config, engine, T0))[Level.WRONG]

    assert ["it was never read into the ledger", "no round of an exporter is in the ledger"] == [
        t.partition(" | ")[0] for t in told
    ]


@pytest.mark.parametrize(("hours", "level"), [(0, Level.WELL), (5, Level.WRONG)])
def test_readings_that_have_stopped_are_told_by_their_age(engine: Engine, hours: int, level: Level) -> None:
    live(engine, T0, nodes=[node(gn(1))])
    ingest_history(engine, History([ended(1, T0 - 500, T0 - 60)]), now=T0, start=T0 - 3600)
    config = parse_settings(SETTINGS.format(url="sqlite:///x"))
    found = {f.about: f.level for f in books(config, engine, T0 + hours * 3600)}

    assert level == found["history of lab"]
    assert level == found["live recording"]


# -- Prometheus and Grafana


RULES = "groups:\n" + "".join(
    f"- name: {name}\n  rules: [{{record: a:b:c, expr: vector(1)}}]\n" for name in sorted(GROUPS)
)
"""A rule in each: newer releases do not list a group that has none."""


@pytest.mark.server("prometheus")
def test_a_real_prometheus_is_asked_for_our_series_and_rules(tmp_path: Path) -> None:
    with Prometheus(tmp_path) as bare:
        without = levels(prometheus(bare.url, None))[Level.WRONG]
    (tmp_path / "ruled").mkdir()
    with Prometheus(tmp_path / "ruled", rules=[RULES]) as ruled:
        with_rules = levels(prometheus(ruled.url, None))

    assert any("no series meterbridge_build_info" in t for t in without)
    assert any("it has not our rules meterbridge-exporter" in t for t in without)
    assert any("groups of our rules are loaded" in t for t in with_rules[Level.WELL])


def test_a_prometheus_that_is_away_or_unknown_is_said() -> None:
    assert [Level.WRONG] == [f.level for f in prometheus("http://127.0.0.1:1", None)]
    assert [Level.UNSEEN] == [f.level for f in prometheus("", None)]
    assert [Level.WRONG] == [f.level for f in grafana("http://127.0.0.1:1", "")]
    assert [Level.UNSEEN] == [f.level for f in grafana("", "")]


def test_every_group_that_is_looked_for_is_one_of_ours() -> None:
    told = "".join(path.read_text() for path in Path("alerts/rules").glob("*.yaml"))

    assert all(f"- name: {name}\n" in told for name in GROUPS)


# -- the whole


FINDINGS = [
    well("a", "fine"),
    wrong("b", "broken", "it matters", "mend it"),
    look("c", "odd", "x", "y"),
    unseen("d", "e", "f"),
]


def test_the_worst_comes_first_with_why_and_what_mends_it() -> None:
    assert as_text(FINDINGS).splitlines() == [
        "wrong   b: broken",
        "        why: it matters",
        "        mend: mend it",
        "look    c: odd",
        "        why: x",
        "        mend: y",
        "unseen  d: e",
        "        mend: f",
        "well    a: fine",
        "1 wrong, 1 look, 1 unseen, 1 well",
    ]


def test_the_same_for_programs() -> None:
    assert json.loads(as_json(FINDINGS))[1] == {
        "level": "wrong", "about": "b", "what": "broken", "why": "it matters", "mend": "mend it",
    }  # fmt: skip


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


def test_the_command_exits_one_where_something_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    settings = tmp_path / "meterbridge.yaml"
    settings.write_text(
        f'site: here\nweb: {{listen: "0.0.0.0:0"}}\nledger: {{url: "sqlite:///{tmp_path}/ledger.db"}}\n'
        'dcgm: {targets: ["http://127.0.0.1:1/metrics"]}\n'
    )
    code, text = run("doctor", "--config", settings)
    same, out = run("doctor", "--config", settings, "--json")
    told = json.loads(out[: out.rindex("]") + 1])

    assert (1, 1) == (code, same)
    assert {"wrong", "look", "unseen", "well"} == {finding["level"] for finding in told}
    assert "0.0.0.0:0 is open to whoever reaches it" in text
    assert "127.0.0.1:1" in text
    assert not (tmp_path / "ledger.db").exists()


def test_settings_that_cannot_be_read_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "meterbridge.yaml").write_text("sites: here")

    assert 2 == run("doctor", "--config", tmp_path / "meterbridge.yaml")[0]


def test_a_source_that_raises_hides_nothing_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = w.StubSource("slurmctld", "lab", w.SLURM)
    source.says = SourceError("slurmctld is away")
    monkeypatch.setattr("exporters.build.sources", lambda _: [source])
    found = examine(parse_settings(f'site: here\nledger: {{url: "sqlite:///{tmp_path}/no.db"}}'))

    assert {"slurmctld lab", "ledger", "Prometheus", "Grafana", "settings", "machines"} == {f.about for f in found}
    assert source.closed


def test_settings_without_any_source_say_so_and_read_no_history(tmp_path: Path) -> None:
    settings = tmp_path / "meterbridge.yaml"
    settings.write_text(f'site: here\nledger: {{url: "sqlite:///{tmp_path}/ledger.db"}}\n')
    read = run("ingest", "--config", settings)

    assert "no source is configured" in run("exporter", "--check", "--config", settings)[1]
    assert 2 == read[0]
    assert "names no history to read: add slurm" in read[1]
