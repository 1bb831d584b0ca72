"""The chart, rendered by Helm's own engine: every manifest valid for old and new clusters, and safe by default."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from alerts.generate import groups
from alerts.thresholds import load
from exporters.config import parse
from helm import generate
from tests.lab.prometheus import promtool

CHART = Path("helm/meterbridge")
CASES = sorted(f.name for f in (CHART / "ci").glob("*.yaml"))
RELEASES = ("1.28", kubernetes_validate.latest_version())
"""The oldest release that the chart names, and the newest whose schemas there are."""

FOREIGN = ("monitoring.coreos.com/", "security.openshift.io/")
"""Kinds that Kubernetes itself does not know."""

Manifest = Mapping[str, Any]


def case(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "ci" / name).read_text())
    return found


def render(values: Mapping[str, Any]) -> list[Manifest]:
    chart = helm.Chart.load(str(CHART))
    chart.validate_schema(dict(values))
    rendered = chart.render(values=dict(values), name="mb", namespace="metering")
    texts = [text for path, text in sorted(rendered.items()) if not path.endswith("NOTES.txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template: the component, and its spec."""
    for m in manifests:
        if m["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            template = m["spec"]["template"]
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template["spec"]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [m for m in manifests if m["kind"] == kind]


def test_what_is_made_is_what_the_generator_makes() -> None:
    made = generate.made()
    there = {f for folder in ("rules", "dashboards") for f in (generate.CHART / "files" / folder).iterdir()}

    assert made == {file: file.read_text("utf-8") for file in made}, "run make chart"
    assert set() == there - set(made)


def test_every_value_says_what_it_is() -> None:
    silent = [line for line in made_rows() if line.rstrip().endswith("|  |")]

    assert [] == silent


def made_rows() -> list[str]:
    return [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]


def test_the_chart_passes_helms_own_lint() -> None:
    found = helm.lint(str(CHART), values=case("bare-values.yaml"), strict=False)

    assert [] == [m for m in found.get("messages", []) if m.get("severity") in ("ERROR", "WARNING")], found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid(name: str, release: str) -> None:
    manifests = [m for m in render(case(name)) if not m["apiVersion"].startswith(FOREIGN)]

    assert manifests
    for m in manifests:
        kubernetes_validate.validate(dict(m), release, strict=True)


def test_a_manifest_that_is_not_valid_would_be_found() -> None:
    (service, *_) = of_kind(render(case("bare-values.yaml")), "Service")
    service["spec"]["portz"] = []

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(dict(service), RELEASES[0], strict=True)


@pytest.mark.parametrize("name", CASES)
def test_the_settings_in_the_chart_are_settings(name: str) -> None:
    (settings,) = [m for m in of_kind(render(case(name)), "ConfigMap") if "meterbridge.yaml" in m["data"]]
    config = parse(settings["data"]["meterbridge.yaml"])

    assert "0.0.0.0:9810" == config.web.listen
    assert bool(case(name).get("accounting", {}).get("enabled")) == (config.ledger is not None)


@pytest.mark.parametrize("name", CASES)
def test_exporter_and_accounting_are_restricted(name: str) -> None:
    """The restricted Pod Security Standard, and OpenShift's restricted-v2: no user is chosen, no host is touched."""
    found = [(c, spec) for c, spec in pods(render(case(name))) if c != "node"]

    assert found
    for component, spec in found:
        assert spec["securityContext"]["runAsNonRoot"] is True, component
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
        assert "runAsUser" not in spec["securityContext"]
        assert not [v for v in spec["volumes"] if "hostPath" in v]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            check_container(container)


def check_container(container: Mapping[str, Any]) -> None:
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert {"requests", "limits"} == set(container["resources"])
    assert container["livenessProbe"]


@pytest.mark.parametrize("name", CASES)
def test_no_pod_is_privileged_and_the_agent_only_reads_the_machine(name: str) -> None:
    for component, spec in pods(render(case(name))):
        for container in spec["containers"]:
            check_container(container)
            mounts = {m["name"]: m for m in container["volumeMounts"]}
            hosts = [v["name"] for v in spec["volumes"] if "hostPath" in v]

            assert all(mounts[h]["readOnly"] for h in hosts), component


def test_openshift_gets_no_group_of_ours() -> None:
    specs = [spec for c, spec in pods(render(case("openshift-values.yaml"))) if c != "node"]

    assert {None} == {spec["securityContext"].get("fsGroup") for spec in specs}


@pytest.mark.parametrize("name", CASES)
def test_roles_only_read_and_never_a_secret(name: str) -> None:
    roles = [m for m in render(case(name)) if m["kind"] in ("ClusterRole", "Role")]
    rules = [rule for m in roles for rule in m["rules"]]

    assert rules
    assert {"get", "list", "watch"} >= {verb for rule in rules for verb in rule["verbs"]}
    assert not [rule for rule in rules if "secrets" in rule["resources"]]
    assert not [rule for rule in rules if "*" in rule["resources"] and "" in rule["apiGroups"]]


@pytest.mark.parametrize("name", CASES)
def test_services_and_monitors_find_pods_and_ports(name: str) -> None:
    manifests = render(case(name))
    templates = [m["spec"]["template"] for m in manifests if m["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    services = of_kind(manifests, "Service")
    for service in services:
        behind = [t for t in templates if service["spec"]["selector"].items() <= t["metadata"]["labels"].items()]
        ports = {p["name"] for t in behind for c in t["spec"]["containers"] for p in c["ports"]}

        assert 1 == len(behind), service["metadata"]["name"]
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    for monitor in of_kind(manifests, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [s for s in services if wanted <= s["metadata"]["labels"].items()]

        assert 1 == len(found), monitor["metadata"]["name"]
        assert {e["port"] for e in monitor["spec"]["endpoints"]} <= {p["name"] for p in found[0]["spec"]["ports"]}


@pytest.mark.server("prometheus")
def test_the_rules_are_those_that_promtool_accepts(tmp_path: Path) -> None:
    rules = of_kind(render(case("bare-values.yaml")), "PrometheusRule")

    files = {file.stem for file in Path("alerts/rules").glob("*.yaml")}
    assert files - {"shards"} == {rule["metadata"]["name"].removeprefix("mb-meterbridge-") for rule in rules}
    for rule in rules:
        file = tmp_path / f"{rule['metadata']['name']}.yaml"
        file.write_text(yaml.safe_dump(rule["spec"]))

        assert 0 == promtool("check", "rules", str(file)).returncode


def test_the_boards_come_as_they_are() -> None:
    maps = [m["data"] for m in of_kind(render(case("bare-values.yaml")), "ConfigMap")]
    boards = {n: json.loads(text) for data in maps for n, text in data.items() if n.endswith(".json")}

    assert {f"meterbridge-{f.name}": json.loads(f.read_text()) for f in Path("dashboards/json").iterdir()} == boards


def test_groups_of_alerts_can_be_left_out() -> None:
    values = case("bare-values.yaml")
    values["monitoring"]["rules"]["exclude"] = ["fabric-ecn"]
    names = {m["metadata"]["name"] for m in of_kind(render(values), "PrometheusRule")}

    assert "mb-meterbridge-fabric-ecn" not in names
    assert "mb-meterbridge-fabric" in names


def test_groups_that_examples_leave_out_exist() -> None:
    groups = {f.stem for f in Path("alerts/rules").glob("*.yaml")}
    excluded = [g for name in CASES for g in case(name).get("monitoring", {}).get("rules", {}).get("exclude", [])]

    assert set() == set(excluded) - groups


def test_with_sqlite_one_pod_has_the_ledger_and_with_postgresql_each_has_its_own() -> None:
    assert [("StatefulSet", 2)] == workloads("bare-values.yaml")
    assert [("Deployment", 1), ("Deployment", 1)] == workloads("openshift-values.yaml")


def workloads(name: str) -> list[tuple[str, int]]:
    """Kind and number of containers of each."""
    return [
        (m["kind"], len(m["spec"]["template"]["spec"]["containers"]))
        for m in render(case(name))
        if m["kind"] in ("Deployment", "StatefulSet")
    ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"exporters": {}}, "exporters"),
        ({"accounting": {"ledger": "mysql"}}, "ledger"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"accounting": {"enabled": True, "ledger": "postgresql"}}, "accounting.postgresql.url: where is the ledger"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name: name the service account"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(values: dict[str, Any], told: str) -> None:
    with pytest.raises(helm.HelmError, match=told):
        render(values)


def test_a_digest_decides_instead_of_a_tag() -> None:
    digest = "sha256:" + "a" * 64
    images = {
        c["image"] for _, spec in pods(render({"image": {"digest": digest, "tag": "x"}})) for c in spec["containers"]
    }

    assert {f"meterbridge@{digest}"} == images


def test_shards_share_the_machines_and_one_page_has_their_sum() -> None:
    manifests = render({"config": case("bare-values.yaml")["config"], "exporter": {"shards": 3}})
    found = {m["metadata"]["name"]: m["spec"] for m in of_kind(manifests, "Deployment")}
    services = {m["metadata"]["name"]: m["spec"]["selector"] for m in of_kind(manifests, "Service")}
    arguments = {name: spec["template"]["spec"]["containers"][0]["args"] for name, spec in found.items()}

    shards = [name for name in found if "exporter-" in name]
    assert [f"{n}/3" for n in range(3)] == [arguments[name][arguments[name].index("--shard") + 1] for name in shards]
    (merge,) = (name for name in found if name.endswith("-merge"))
    assert [f"http://{name}:9810/metrics" for name in shards] == arguments[merge][2:]
    for name in (*shards, next(n for n in services if n.endswith("-exporter"))):
        chosen = [
            deployment
            for deployment, spec in found.items()
            if services[name].items() <= spec["template"]["metadata"]["labels"].items()
        ]
        assert [name if name in shards else merge] == chosen


def test_shards_cannot_share_a_file() -> None:
    values = case("bare-values.yaml") | {"exporter": {"shards": 2}, "accounting": {"enabled": True}}

    with pytest.raises(Exception, match="postgresql"):
        render(values)


def test_one_exporter_is_named_as_ever() -> None:
    manifests = render({"config": case("bare-values.yaml")["config"]})
    (deployment,) = of_kind(manifests, "Deployment")

    assert deployment["metadata"]["name"].endswith("-exporter")
    assert "--shard" not in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_the_values_set_where_runbooks_and_boards_are_and_thresholds(tmp_path: Path) -> None:
    values = case("bare-values.yaml")
    own = {"stalled_for": "20m", "paused_critical": 0.4, "join_age": "1h30m"}
    values["monitoring"]["rules"] |= {"runbookBase": "https://wiki/", "dashboardBase": "https://g", "thresholds": own}
    rendered = of_kind(render(values), "PrometheusRule")
    rules = [rule for m in rendered for group in m["spec"]["groups"] for rule in group["rules"]]
    settings = load().override({name: str(value) for name, value in own.items()})
    made = groups(settings)
    expected = [r for m in rendered for r in made[_group(m)]["groups"][0]["rules"]]

    assert "example.org" not in yaml.safe_dump(rules)
    assert "${" not in yaml.safe_dump(rules)
    for rule, other in zip(rules, expected, strict=True):
        if rule.get("alert") != "ExporterDown":
            assert other["expr"] == rule["expr"]
            assert other.get("for") == rule.get("for")
    assert "https://wiki/RdmaPortDown.md" in {r["annotations"]["runbook_url"] for r in rules if "alert" in r}


def _group(manifest: Manifest) -> str:
    name: str = manifest["spec"]["groups"][0]["name"]
    return name.removeprefix("meterbridge-")


def test_exporter_down_is_about_this_release() -> None:
    rules = [
        r for m in of_kind(render(case("bare-values.yaml")), "PrometheusRule") for r in m["spec"]["groups"][0]["rules"]
    ]
    (down,) = [r["expr"] for r in rules if r.get("alert") == "ExporterDown"]
    names = {m["metadata"]["name"] for m in of_kind(render(case("bare-values.yaml")), "Service")}

    assert f'job=~"{"|".join(n for n in ("mb-meterbridge-exporter", "mb-meterbridge-accounting"))}"' in down
    assert "mb-meterbridge-exporter" in names


def test_a_threshold_that_is_not_there_is_refused_by_name() -> None:
    values = case("bare-values.yaml")
    values["monitoring"]["rules"]["thresholds"] = {"stalled": "1m"}

    with pytest.raises(helm.HelmError, match="no threshold stalled"):
        render(values)
