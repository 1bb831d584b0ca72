"""A first meterbridge.yaml out of what was seen: every line with what it is for, and what is missing as a comment."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from accounting.doctor.surroundings import Kubernetes, Slurm, Surroundings

_NAMES = 20


def settings_text(around: Surroundings, site: str, ledger: str) -> str:
    """The file's text. ``ledger`` is a database's address. What it holds is accepted by ``exporter --check``."""
    blocks = [
        _site(around, site),
        _slurm(around.slurm),
        _kubernetes(around.kubernetes, around.prometheus),
        _dcgm(around),
        _projects(around),
        _ledger(ledger),
        _RATES,
        _LISTENERS,
    ]
    return "\n".join("\n".join(block) + "\n" for block in blocks)


def _site(around: Surroundings, site: str) -> Iterator[str]:
    yield "# Written by meterbridge init from what this machine shows; docs/configure.md has every key."
    yield "# After each change: meterbridge exporter --check, and meterbridge doctor."
    yield f"site: {_text(site)}"
    yield "# Billing months begin and end in this zone. A ledger keeps the zone it began with."
    yield f"time_zone: {_text(around.time_zone)}"


def _slurm(slurm: Slurm | None) -> Iterator[str]:
    yield "# Slurm: what runs now (squeue, scontrol), and what ran (sacct)."
    if slurm is None:
        yield "# slurm:"
        yield "# - cluster: CLUSTERNAME        # as in slurm.conf"
        return
    yield "slurm:"
    yield f"- cluster: {_text(slurm.cluster)}"
    yield "  # history: {since: 2026-10-01}   # the first day to read; without it, the first of this month"


def _kubernetes(kubernetes: Kubernetes | None, prometheus: str) -> Iterator[str]:
    yield "# Kubernetes: which pods hold cards. It needs get, list and watch, and no secret (docs/install.md)."
    if kubernetes is None:
        yield "# kubernetes:"
        yield "# - cluster: NAME"
        yield "#   kubeconfig: /etc/meterbridge/NAME.kubeconfig"
        yield "#   resume_file: /var/lib/meterbridge/NAME.resume"
        return
    yield "kubernetes:"
    yield f"- cluster: {_text(kubernetes.cluster)}"
    if kubernetes.kubeconfig:
        yield "  # an administrator's own: give the exporter one that may only read"
        yield f"  kubeconfig: {_text(kubernetes.kubeconfig)}"
        if kubernetes.context:
            yield f"  context: {_text(kubernetes.context)}"
    yield "  # what was held is remembered over a restart"
    yield "  # resume_file: /var/lib/meterbridge/pods.resume"
    yield "  # pods that nobody recorded are recovered from a Prometheus that scrapes kube-state-metrics"
    yield f"  # history: {{prometheus: {_text(prometheus or 'http://PROMETHEUS:9090')}}}"


def _dcgm(around: Surroundings) -> Iterator[str]:
    yield "# Cards: utilization, power, NVLink, and which card is whose, from dcgm-exporter."
    found = around.kubernetes.dcgm if around.kubernetes else None
    if around.kubernetes is not None and found is not None:
        selector, namespaces = found
        yield "dcgm:"
        yield "  discover:"
        yield f"    cluster: {_text(around.kubernetes.cluster)}"
        yield f"    selector: {_text(selector)}"
        yield "    # only where teams cannot make pods: anybody may label a pod of theirs"
        yield f"    namespaces: {_list(namespaces)}"
    elif around.dcgm:
        yield "dcgm:"
        yield f"  targets: {_list((around.dcgm,))}   # one for each machine"
    else:
        yield "# dcgm:"
        yield '#   targets: ["http://gn01:9400/metrics"]'
    yield "# RDMA ports, from node_exporter: who is hurt when the fabric is."
    if around.node_exporter:
        yield "rdma:"
        yield f"  node_exporters: {{targets: {_list((around.node_exporter,))}}}   # one for each machine"
    else:
        yield "# rdma:"
        yield '#   node_exporters: {targets: ["http://gn01:9100/metrics"]}'


def _projects(around: Surroundings) -> Iterator[str]:
    yield "# Who pays. What no entry maps is project unmapped: visible everywhere, and nobody's."
    accounts = around.slurm.accounts if around.slurm else ()
    namespaces = around.kubernetes.gpu_namespaces if around.kubernetes else ()
    both = sorted({*accounts, *namespaces})
    if not both:
        yield "# projects:"
        yield "# - {project: vision, accounts: [vis], namespaces: [vision]}"
        return
    yield "# Each account and namespace is a project of its own here: join those that are one."
    yield "projects:"
    for name in both[:_NAMES]:
        parts = [f"project: {_text(name)}"]
        parts += [f"accounts: {_list((name,))}"] if name in accounts else []
        parts += [f"namespaces: {_list((name,))}"] if name in namespaces else []
        yield f"- {{{', '.join(parts)}}}"
    if len(both) > _NAMES:
        yield f"# and {len(both) - _NAMES} more: {', '.join(_text(name) for name in both[_NAMES:])}"


def _ledger(ledger: str) -> Iterator[str]:
    yield "# History: a file, or postgresql+psycopg://USER@HOST/DATABASE. Without it there is no statement."
    yield f"ledger: {{url: {_text(ledger)}}}"


_RATES = (
    "# Prices for an hour of a card, by model; docs/rates.md has the rest. Without them a statement is in hours alone.",
    "# rates:",
    "#   currency: EUR",
    "#   gpu_hour: {h100: 2.10}",
)
_LISTENERS = (
    "# Both listen on loopback. Before you open them, give them TLS and a password (docs/install.md).",
    '# web: {listen: "0.0.0.0:9810", config_file: /etc/meterbridge/web.yml}',
    '# service: {listen: "0.0.0.0:9811", config_file: /etc/meterbridge/web.yml}',
)


def _text(value: str) -> str:
    """A scalar of YAML: quoted and escaped, whatever is in it; plain where it cannot be read as anything else."""
    plain = value.isascii() and value.replace("-", "").replace("_", "").isalnum() and value[:1].isalpha()
    reserved = value.lower() in {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    return value if plain and not reserved else yaml.safe_dump(value, default_style='"', width=1 << 20).strip()


def _list(values: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_text, values))}]"
