"""A first settings file: whatever a site looks like, what is written is accepted, and says what was seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from accounting.doctor.settings_text import settings_text
from accounting.doctor.surroundings import Kubernetes, Slurm, Surroundings, look_around
from exporters.config import parse
from meterbridge import main
from tests.lab.endpoints import says, serving
from tests.lab.kube_fake import NODE_PATH, POD_PATH, KubeFake, node, pod
from tests.lab.slurm import SlurmLab

NAMES = st.text(min_size=1, max_size=12)
AROUND = st.builds(
    Surroundings,
    st.sampled_from(["UTC", "Europe/Zurich"]),
    st.none() | st.builds(Slurm, NAMES, st.just("24.11.5"), st.lists(NAMES, max_size=30).map(tuple)),
    st.none()
    | st.builds(
        Kubernetes,
        NAMES,
        st.sampled_from(["", "/root/.kube/config", "/with space/and: colon"]),
        st.sampled_from(["", "admin@prod"]),
        st.none() | st.tuples(st.just("app=nvidia-dcgm-exporter"), st.lists(NAMES, min_size=1).map(tuple)),
        st.lists(NAMES, max_size=30).map(tuple),
    ),
    st.sampled_from(["", "http://127.0.0.1:9400/metrics"]),
    st.sampled_from(["", "http://127.0.0.1:9100/metrics"]),
    st.sampled_from(["", "http://127.0.0.1:9090"]),
)


@given(AROUND, NAMES)
def test_whatever_was_seen_the_settings_are_accepted_and_say_it(around: Surroundings, site: str) -> None:
    config = parse(settings_text(around, site, "sqlite:////var/lib/ledger.db"))

    assert (site, around.time_zone) == (config.site, config.time_zone)
    assert [around.slurm.cluster] if around.slurm else [] == [c.cluster for c in config.slurm]
    if around.slurm:
        assert {a for p in config.projects for a in p.accounts} <= set(around.slurm.accounts)


@given(AROUND)
def test_each_name_of_a_short_list_has_a_project(around: Surroundings) -> None:
    accounts = set(around.slurm.accounts if around.slurm else ())
    namespaces = set(around.kubernetes.gpu_namespaces if around.kubernetes else ())
    projects = parse(settings_text(around, "here", "sqlite:///x.db")).projects

    if len(accounts | namespaces) <= 20:
        assert accounts == {a for p in projects for a in p.accounts}
        assert namespaces == {n for p in projects for n in p.namespaces}


def test_a_cluster_is_seen_with_its_exporters_and_who_holds_cards(tmp_path: Path) -> None:
    with KubeFake() as kube, serving({"/metrics": says(b"node_load1 1\n")}) as web:
        kube.put(NODE_PATH, node("gn01"))
        labels = {"app": "nvidia-dcgm-exporter"}
        kube.put(POD_PATH, pod("dcgm-x", namespace="gpu-operator", gpus=0, labels=labels))
        kube.put(POD_PATH, pod("train", namespace="vision", node="gn01", scheduled=1_000))
        config = tmp_path / "kubeconfig"
        config.write_text(
            json.dumps(
                {
                    "current-context": "admin",
                    "contexts": [{"name": "admin", "context": {"cluster": "prod", "user": "me"}}],
                    "clusters": [{"name": "prod", "cluster": {"server": kube.url}}],
                    "users": [{"name": "me", "user": {"token": "x"}}],
                }
            )
        )
        around = look_around(
            {"KUBECONFIG": str(config)},
            {"dcgm": web.at("/metrics"), "node_exporter": web.at("/metrics")},
            "http://127.0.0.1:1",
            tmp_path / "no",
        )

    assert around.kubernetes is not None
    assert "prod" == around.kubernetes.cluster
    assert ("app=nvidia-dcgm-exporter", ("gpu-operator",)) == around.kubernetes.dcgm
    assert ("vision",) == around.kubernetes.gpu_namespaces
    assert ("", web.at("/metrics"), "") == (around.dcgm, around.node_exporter, around.prometheus)
    settings = parse(settings_text(around, "here", "sqlite:///x.db"))
    assert settings.dcgm is not None
    assert ("gpu-operator",) == settings.dcgm.discover.namespaces  # type: ignore[union-attr]


@pytest.mark.server("slurm")
def test_a_real_slurm_is_seen(slurm_lab: SlurmLab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in slurm_lab.environment.items():
        monkeypatch.setenv(name, value)
    around = look_around({}, {}, "http://127.0.0.1:1", tmp_path / "no")

    assert around.slurm is not None
    assert "lab" == around.slurm.cluster
    assert {"vision", "nlp", "theory"} <= set(around.slurm.accounts)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any of it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr("accounting.doctor.surroundings.LOCAL", {})
    monkeypatch.setattr("accounting.doctor.surroundings.PROMETHEUS", "http://127.0.0.1:1")
    return tmp_path / "meterbridge.yaml"


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.output


def test_what_is_written_is_accepted_by_the_exporter_and_never_overwritten(bare: Path) -> None:
    written = run("init", "--config", bare)
    text = bare.read_text()
    again = run("init", "--config", bare, "--site", "other")

    assert 0 == written[0]
    assert "no scontrol in PATH" in written[1]
    assert 0 == run("exporter", "--check", "--config", bare)[0]
    assert 2 == again[0]
    assert "exists" in again[1]
    assert text == bare.read_text()


def test_printing_writes_nothing_and_a_folder_that_is_not_there_is_an_error(bare: Path) -> None:
    printed = run("init", "--config", bare, "--print", "--site", "hall")

    assert "site: hall" in printed[1]
    assert not bare.exists()
    assert 3 == run("init", "--config", bare.parent / "no" / "x.yaml")[0]


def test_a_kubeconfig_that_is_nonsense_is_said_and_the_rest_is_seen(bare: Path) -> None:
    (bare.parent / ".kube").mkdir()
    (bare.parent / ".kube/config").write_text("nonsense")
    code, text = run("init", "--config", bare)

    assert 0 == code
    assert "Kubernetes: no access" in text
