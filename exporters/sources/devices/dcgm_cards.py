"""What the series of a dcgm-exporter page mean: which card or MIG instance, which field. Pure.

It is worked out once per layout (`plan`) and used round after round (`exporters.sources.devices.dcgm_fleet`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from exporters.exposition.reader import Layout
from exporters.model import Sample
from exporters.sources.devices.dcgm_fields import FieldSpec, Scope, spec_of
from exporters.sources.devices.field_table import Whole
from exporters.sources.devices.named_owners import Pods, jobs_of_both, number_of, pods_of_both
from exporters.sources.hostnames import short_name

Labels = Mapping[str, str]

# Spellings of each label, the most telling first: a scrape through Prometheus moves dcgm-exporter's own pod labels to
# exported_*, and leaves the exporter's pod in the plain ones.
_HOST = ("Hostname", "hostname")
_UUID = ("UUID", "uuid", "gpu_uuid")
_MODEL = ("modelName", "model_name")
_PODS = (("exported_pod", "exported_namespace"), ("pod", "namespace"), ("pod_name", "pod_namespace"))


@dataclass(frozen=True, slots=True)
class Device:
    """A card, or a MIG instance of one (``instance`` not empty), and who its lines name."""

    host: str
    uuid: str
    index: int
    model: str
    profile: str = ""
    instance: str = ""
    pods: Pods = ()
    hpc_jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a page's positions mean: ``positions[i]`` of the page is field ``specs[i]`` of ``devices[device[i]]``.

    ``copies``: some reading is there several times.
    ``nameless`` counts the lines that name no card: without a UUID or a GPU index there is nothing to join on.
    ``foreign`` are cards of other machines, by the machine's name: they were refused.
    """

    devices: tuple[Device, ...]
    positions: Whole
    device: Whole
    specs: tuple[FieldSpec, ...]
    copies: bool
    nameless: int = 0
    foreign: Mapping[str, int] = field(default_factory=dict)

    def tells(self, values: Sequence[float]) -> bool:
        """Whether a page of these values holds a reading of any card."""
        return any(spec.usable(values[n]) for n, spec in zip(self.positions, self.specs, strict=True))


def plan(layout: Layout, host: str = "", node: str = "", others: Collection[str] = ()) -> Plan:
    """What each series of the page is. ``host`` names the machine where the lines do not.

    ``node`` is the machine that discovery found the page on: all its lines are of it, whatever name they give (that of
    their own pod, where nobody told them their node's), unless that is the name of one of the ``others``. Those lines
    are refused: a page speaks for its own machine.

    Copies of a card's line (one per pod or job that shares it) fall together; a reading that DCGM only has for the
    whole card, but repeats on the lines of its MIG instances, is the card's and nobody else's. Lines of single NVLinks
    are parts of a card's reading and are skipped. What an NVSwitch tells is the machine's: the page's first card has
    it.
    """
    devices: dict[tuple[str, str], Device] = {}
    order: dict[tuple[str, str], int] = {}
    read: dict[int, Device | None] = {}  # by identity: the reader shares one mapping among the series of one card
    slots: list[tuple[int, int, FieldSpec]] = []
    nameless = 0
    foreign: dict[str, set[str]] = {}
    switches: list[tuple[int, FieldSpec]] = []
    for position, series in enumerate(layout.series):
        if "nvlink" in series.labels:
            continue
        spec = spec_of(series.name, series.labels)
        if spec is None:
            continue
        if "nvswitch" in series.labels:
            switches.append((position, spec))
            continue
        if id(series.labels) not in read:
            read[id(series.labels)] = _device(series.labels, host)
        device = read[id(series.labels)]
        if device is None:
            nameless += 1
            continue
        if node:
            if short_name(device.host) in others and short_name(device.host) != short_name(node):
                foreign.setdefault(device.host, set()).add(device.uuid)
                continue
            device = replace(device, host=node)
        if device.instance and spec.scope is Scope.CARD:
            device = replace(device, profile="", instance="", pods=(), hpc_jobs=())
        key = device.uuid, device.instance
        devices[key] = _joined(devices[key], device) if key in devices else device
        slots.append((position, order.setdefault(key, len(order)), spec))
    if order:
        slots += [(position, 0, spec) for position, spec in switches]
    return Plan(
        tuple(devices.values()),
        np.array([position for position, _, _ in slots], np.int64),
        np.array([n for _, n, _ in slots], np.int64),
        tuple(spec for _, _, spec in slots),
        len({(n, spec.field) for _, n, spec in slots}) < len(slots),
        nameless,
        {name: len(cards) for name, cards in foreign.items()},
    )


def merge(samples: Sequence[Sample]) -> tuple[tuple[Sample, ...], tuple[str, ...]]:
    """The samples of several pages, each card once, and sentences about cards that two of them place on two hosts.

    Two exporters may serve the same card (one of the host, one of Kubernetes): the first one's values stand, the
    others add the fields, pods and jobs that it lacks.
    """
    if len({(sample.uuid, sample.mig_instance) for sample in samples}) == len(samples):
        return tuple(samples), ()
    found: dict[tuple[str, str], Sample] = {}
    problems = []
    for sample in samples:
        key = sample.uuid, sample.mig_instance
        first = found.setdefault(key, sample)
        if first is sample:
            continue
        if short_name(first.host) != short_name(sample.host):
            problems.append(
                f"card {sample.uuid} is served as of {first.host} and of {sample.host}: kept as {first.host}"
            )
        found[key] = replace(
            first,
            values={**sample.values, **first.values},
            pods=pods_of_both(first.pods, sample.pods),
            hpc_jobs=jobs_of_both(first.hpc_jobs, sample.hpc_jobs),
        )
    return tuple(found.values()), tuple(problems)


def _device(labels: Labels, host: str) -> Device | None:
    uuid, index = _first(labels, _UUID), number_of(labels.get("gpu", ""))
    if not uuid or index < 0:
        return None
    pod = next(((labels[ns], labels[name]) for name, ns in _PODS if labels.get(name) and labels.get(ns)), None)
    job = labels.get("hpc_job", "")
    return Device(
        host=_first(labels, _HOST) or host,
        uuid=uuid,
        index=index,
        model=_first(labels, _MODEL),
        profile=labels.get("GPU_I_PROFILE", ""),
        instance=labels.get("GPU_I_ID", ""),
        pods=((*pod, labels.get("pod_uid", "")),) if pod else (),
        hpc_jobs=(job,) if job else (),
    )


def _joined(first: Device, other: Device) -> Device:
    if other.pods == first.pods and other.hpc_jobs == first.hpc_jobs:
        return first
    return replace(
        first, pods=pods_of_both(first.pods, other.pods), hpc_jobs=jobs_of_both(first.hpc_jobs, other.hpc_jobs)
    )


def _first(labels: Labels, names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
