"""Which pod holds which card, asked of the kubelet (PodResources API v1).

The field numbers are those of k8s.io/kubelet/pkg/apis/podresources/v1/api.proto, the API's public description. It names
pods by namespace and name, without a UID. A device plugin's id is the card's UUID (``GPU-…``), a MIG device's
(``MIG-…``), one of its replicas (``GPU-…::3``) or an index (``0``), as the plugin was told to name them; with Dynamic
Resource Allocation the driver's own device name comes instead (``gpu-0`` is /dev/nvidia0).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from exporters.node.holding import Basis, Holding
from exporters.node.kubelet.wire import parts, text

LIST = "/v1.PodResourcesLister/List"
ALLOCATABLE = "/v1.PodResourcesLister/GetAllocatableResources"

VENDORS = ("nvidia.com/", "amd.com/")
NO_CARDS = ("nvidia.com/imex", "nvidia.com/hostdev", "nvidia.com/rdma", "amd.com/vnic", "amd.com/nic")
"""Resources of the vendors' other plugins: channels and network interfaces."""
GPU_DRIVERS = ("gpu.nvidia.com", "gpu.amd.com")
"""As `exporters.sources.kubernetes.claims`: a channel of ``compute-domain.nvidia.com`` is no card."""

_UUID = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]+")
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
"""AMD's device plugin names a card by its PCI address."""
_WHOLE_CARD = re.compile(r"gpu-(\d+)")


def is_gpu(resource: str) -> bool:
    """Whether a device plugin's resource is cards, or parts of them.

    >>> [is_gpu(name) for name in ("nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "rdma/hca_shared_devices_a")]
    [True, True, False]
    """
    return resource.startswith(VENDORS) and not resource.startswith(NO_CARDS)


def device(identifier: str) -> tuple[str, str]:
    """A device plugin's id as ``(index, uuid)``, either of them empty.

    >>> device("GPU-4404041a::2"), device("MIG-6d0e"), device("3"), device("nvidia0/gi1/vgpu0"), device("0000:c1:00.0")
    (('', 'GPU-4404041a'), ('', 'MIG-6d0e'), ('3', ''), ('', ''), ('', '0000:c1:00.0'))
    """
    plain = identifier.partition("::")[0]
    if _UUID.fullmatch(plain) or _PCI.fullmatch(plain):
        return "", plain
    whole = plain.removeprefix("nvidia")
    return (whole, "") if whole.isdecimal() else ("", "")


def holdings(message: bytes, uuids: Mapping[str, str]) -> list[Holding]:
    """The holdings in a ListPodResourcesResponse; ``uuids`` are the machine's card UUIDs by minor number.

    Each card once per container; an owner whose device has a name that says neither index nor UUID is told without.
    Raises `exporters.node.kubelet.wire.WireError`.
    """
    found = []
    for pod in parts(message, 1):
        owner = f"{text(pod, 2)}/{text(pod, 1)}"
        for container in parts(pod, 3):
            name = text(container, 1)
            known = dict.fromkeys((*_plugin_devices(container), *_claimed_devices(container, uuids)))
            found += [Holding("kubernetes", owner, Basis.PODRESOURCES, g, u, container=name) for g, u in known]
    return found


def allocatable(message: bytes) -> dict[str, int]:
    """Resource -> devices in an AllocatableResourcesResponse, of the GPU resources. Raises `WireError`."""
    found: Counter[str] = Counter()
    for devices in parts(message, 1):
        resource = text(devices, 1)
        if is_gpu(resource):
            found[resource] += sum(1 for _ in parts(devices, 2))
    return dict(found)


def _plugin_devices(container: bytes) -> Iterator[tuple[str, str]]:
    for devices in parts(container, 2):
        if is_gpu(text(devices, 1)):
            for identifier in parts(devices, 2):
                yield device(identifier.decode(errors="replace"))


def _claimed_devices(container: bytes, uuids: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for claim in parts(container, 5):
        for resource in parts(claim, 4):
            if text(resource, 2) in GPU_DRIVERS:
                whole = _WHOLE_CARD.fullmatch(text(resource, 4))
                yield (whole[1], uuids.get(whole[1], "")) if whole else ("", "")
