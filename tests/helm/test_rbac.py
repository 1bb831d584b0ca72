"""The chart's role against what the code asks: every call that the sources make is recorded, and must be allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from exporters.sources.kubernetes.api import KubeApi, resource_of
from exporters.sources.kubernetes.endpoints import ExporterPods
from exporters.sources.kubernetes.pods import Pods
from tests.exporters.sources.pods_world import until
from tests.helm.test_chart import case, of_kind, render
from tests.lab.kube_replay import KubeReplay, owner_objects

KUBE = Path("tests/testdata/kube-1.36")
Right = tuple[str, str, str]
"""Verb, API group, resource."""


def asked(path: str, query: Mapping[str, str]) -> Right | None:
    """The right that a request needs; None for discovery, which everybody may do."""
    group, resource = resource_of(path)
    if not resource:
        return None
    if query.get("watch"):
        return ("watch", group, resource)
    named = path.rstrip("/").rpartition("/")[2] != resource
    return ("get" if named else "list", group, resource)


def allowed(right: Right, rules: list[Mapping[str, Any]]) -> bool:
    verb, group, resource = right
    return any(
        verb in rule["verbs"]
        and group in rule["apiGroups"]
        and (resource in rule["resources"] or "*" in rule["resources"])
        for rule in rules
    )


def recorded() -> set[Right]:
    """What the pods source and the discovery of exporters ask of a recorded API server."""
    with KubeReplay(KUBE, owner_objects(KUBE)) as kube:
        source = Pods("recorded", api_client=kube.client())
        try:
            until(source, lambda _: True, "a first snapshot")  # the recording cuts connections
            kube.wait(20)
            until(source, lambda _: True, "a last snapshot")
        finally:
            source.close()
        ExporterPods(None, None, "app=dcgm", 9400, api=KubeApi(kube.client()))()
        return {right for path, query, _ in kube.requests if (right := asked(path, query))}


def test_every_call_is_allowed_and_every_right_is_used() -> None:
    (role,) = of_kind(render(case("bare-values.yaml")), "ClusterRole")
    rights = recorded()
    everyday = [r for r in role["rules"] if set(r["verbs"]) > {"get"}]
    granted = {(v, g, r) for x in everyday for v in x["verbs"] for g in x["apiGroups"] for r in x["resources"]}

    assert ("watch", "", "pods") in rights
    assert [] == [right for right in rights if not allowed(right, role["rules"])]
    assert set() == {g for g in granted if g[0] != "get"} - rights


def test_a_right_that_is_missing_would_be_found() -> None:
    (role,) = of_kind(render(case("bare-values.yaml")), "ClusterRole")
    without = [r for r in role["rules"] if "resource.k8s.io" not in r["apiGroups"]]

    assert {("list", "resource.k8s.io", "resourceclaims")} <= {r for r in recorded() if not allowed(r, without)}


def test_the_installation_guide_and_the_chart_grant_the_same() -> None:
    (role,) = of_kind(render(case("bare-values.yaml")), "ClusterRole")
    guide = Path("docs/install.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL) if "kind: ClusterRole" in b]

    assert role["rules"] == yaml.safe_load(block)["rules"]
