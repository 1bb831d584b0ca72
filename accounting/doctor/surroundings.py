"""What of a site can be seen from this machine: Slurm's commands, a kubeconfig, exporters, a Prometheus. Reads only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import urllib3
import yaml

from accounting.doctor.slurm_settings import parse
from exporters.sources.base import SourceError
from exporters.sources.kubernetes.api import KubeApi, connect
from exporters.sources.kubernetes.slots.resources import looks_like_cards
from exporters.sources.slurm.run_command import run

SELECTORS = ("app.kubernetes.io/name=dcgm-exporter", "app=nvidia-dcgm-exporter", "app=dcgm-exporter")
"""Labels of dcgm-exporter's pods: its own chart's, gpu-operator's, and those of many manifests."""
LOCAL = {"dcgm": "http://127.0.0.1:9400/metrics", "node_exporter": "http://127.0.0.1:9100/metrics"}
PROMETHEUS = "http://127.0.0.1:9090"
_TIMEOUT = 5.0
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True, slots=True)
class Slurm:
    """A cluster whose commands answer here. ``accounts`` are those of its association tree, without root."""

    cluster: str
    release: str
    accounts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A cluster that we may ask. ``kubeconfig`` empty: by the service account of the own pod.

    ``dcgm`` is ``(selector, namespaces)`` of the dcgm-exporter pods that were found; ``gpu_namespaces`` hold cards now.
    """

    cluster: str
    kubeconfig: str
    context: str
    dcgm: tuple[str, tuple[str, ...]] | None = None
    gpu_namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All of it. ``seen`` says in sentences what was found and what was not, for people."""

    time_zone: str = "UTC"
    slurm: Slurm | None = None
    kubernetes: Kubernetes | None = None
    dcgm: str = ""
    node_exporter: str = ""
    prometheus: str = ""
    seen: tuple[str, ...] = field(default=())


def look_around(
    environment: Mapping[str, str] | None = None,
    local: Mapping[str, str] | None = None,
    prometheus: str = PROMETHEUS,
    zone_file: Path = Path("/etc/timezone"),
) -> Surroundings:
    """See what is there; ``environment`` (else the process's own) says where kubeconfig and Slurm's settings are.

    ``local`` are pages to try on this machine, by what they are. What does not answer within seconds is not there.
    """
    known = os.environ if environment is None else environment
    seen: list[str] = []
    slurm, kubernetes = _slurm(seen), _kubernetes(known, seen)
    pages = LOCAL if local is None else local
    found = {name: url for name, url in pages.items() if _answers(url, b"DCGM_FI_" if name == "dcgm" else b"node_")}
    seen += [f"{name}: {url}" for name, url in found.items()]
    asked = prometheus if _answers(f"{prometheus}/-/ready", b"") else ""
    if asked:
        seen.append(f"Prometheus: {asked}")
    return Surroundings(
        _zone(zone_file),
        slurm,
        kubernetes,
        "" if kubernetes and kubernetes.dcgm else found.get("dcgm", ""),
        found.get("node_exporter", ""),
        asked,
        tuple(seen),
    )


def _slurm(seen: list[str]) -> Slurm | None:
    if shutil.which("scontrol") is None:
        seen.append("Slurm: no scontrol in PATH")
        return None
    try:
        config = parse(_said("scontrol", "show", "config"))
    except SourceError as error:
        seen.append(f"Slurm: {error}")
        return None
    try:
        told = _said("sacctmgr", "-nP", "show", "account", "format=account")
    except SourceError as error:
        seen.append(f"Slurm's accounts: {error}")
        told = ""
    accounts = tuple(sorted({line.strip() for line in told.splitlines()} - {"", "root"}))
    slurm = Slurm(config.get("ClusterName", ""), config.get("SLURM_VERSION", ""), accounts)
    seen.append(f"Slurm {slurm.release}: cluster {slurm.cluster}, {len(accounts)} accounts")
    return slurm


def _said(*command: str) -> str:
    return run(list(command), timeout=30.0, max_bytes=16 << 20).decode(errors="replace")


def _kubernetes(environment: Mapping[str, str], seen: list[str]) -> Kubernetes | None:
    kubeconfig = environment.get("KUBECONFIG", "").partition(os.pathsep)[0]
    if not kubeconfig and (default := Path(environment.get("HOME", "/root")) / ".kube/config").is_file():
        kubeconfig = str(default)
    if not kubeconfig and not _SERVICE_ACCOUNT.exists():
        seen.append("Kubernetes: no KUBECONFIG, no ~/.kube/config, and not inside of a pod")
        return None
    context, name = _context(kubeconfig) if kubeconfig else ("", "kubernetes")
    try:
        api = KubeApi(connect(kubeconfig or None, context or None))
        pods = list(_listed(api, "/api/v1/pods", {"fieldSelector": "status.phase=Running"}))
    except SourceError as error:
        seen.append(f"Kubernetes: {error}")
        return None
    dcgm = next(((s, where) for s in SELECTORS if (where := _namespaces(pods, s))), None)
    holding = tuple(sorted({_meta(pod, "namespace") for pod in pods if _asks_for_gpus(pod)}))
    seen.append(f"Kubernetes {name}: {len(pods)} running pods, cards held in {len(holding)} namespaces")
    if dcgm is not None:
        seen.append(f"dcgm-exporter: pods labelled {dcgm[0]} in {', '.join(dcgm[1])}")
    return Kubernetes(name, str(Path(kubeconfig).absolute()) if kubeconfig else "", context, dcgm, holding)


def _context(kubeconfig: str) -> tuple[str, str]:
    """The current context of a kubeconfig, and the cluster that it names."""
    try:
        told: Any = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
        context = str(told.get("current-context") or "")
        named = {c["name"]: str(c["context"]["cluster"]) for c in told.get("contexts") or []}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return "", "kubernetes"
    return context, named.get(context, "") or "kubernetes"


def _listed(api: KubeApi, path: str, params: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Every object of a collection, by pages."""
    more: dict[str, str] = {}
    while True:
        answer = api.get(path, {**params, "limit": "500", **more}, timeout=30.0)
        yield from (item for item in answer.get("items") or [] if isinstance(item, Mapping))
        token = (answer.get("metadata") or {}).get("continue")
        if not token:
            return
        more = {"continue": str(token)}


def _namespaces(pods: Sequence[Mapping[str, Any]], selector: str) -> tuple[str, ...]:
    key, _, value = selector.partition("=")
    return tuple(
        sorted(
            {
                _meta(pod, "namespace")
                for pod in pods
                if ((pod.get("metadata") or {}).get("labels") or {}).get(key) == value
            }
        )
    )


def _meta(pod: Mapping[str, Any], key: str) -> str:
    return str((pod.get("metadata") or {}).get(key) or "")


def _asks_for_gpus(pod: Mapping[str, Any]) -> bool:
    spec = pod.get("spec") or {}
    limits = [((c or {}).get("resources") or {}).get("limits") or {} for c in spec.get("containers") or []]
    return any(looks_like_cards(name) for limit in limits for name in limit)


def _answers(url: str, holding: bytes) -> bool:
    with urllib3.PoolManager(retries=False, timeout=_TIMEOUT) as pool:
        try:
            response = pool.request("GET", url, preload_content=False)
            body = response.read(1 << 20)
        except urllib3.exceptions.HTTPError:
            return False
    return response.status == 200 and holding in body


def _zone(file: Path) -> str:
    try:
        name = file.read_text(encoding="utf-8").strip()
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return "UTC"
    return "UTC" if name in {"Etc/UTC", "Etc/GMT"} else name
