"""Dynamic Resource Allocation: which cards a pod's ResourceClaims hold.

A claim's allocation names ``(driver, pool, device)``; the ResourceSlices say what that device is and its UUID. Only GPU
drivers count: an IMEX channel (``compute-domain.nvidia.com``) is not a GPU. A result with ``adminAccess`` watches a
device that somebody else holds, so it holds nothing.

``status.reservedFor`` says which pods use the claim. It is evidence of *which devices* a pod was given, never of
*when*: while a finished pod's object remains and another pod uses the claim, its entry comes and goes many times a
second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporters.model import MILLI_PER_GPU
from exporters.sources.kubernetes.nodes import plain_model
from exporters.sources.kubernetes.raw import Raw, items, number, part
from exporters.sources.shares import card_memory_gib, compute_slices, mig_weight, split

GPU_DRIVERS = ("gpu.nvidia.com", "gpu.amd.com")
NO_GPU_CLASS = "compute-domain-"
"""How the names of the device classes of IMEX channels and daemons begin."""

REMEMBERED = 65536
"""How many (claim, pod) pairs are remembered: a claim is often deleted before its pod's end has been read."""

DeviceKey = tuple[str, str, str]
"""``(driver, pool, device)``."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or a MIG slice of one, as a ResourceSlice describes it. ``card`` is the physical card's UUID."""

    node: str
    uuid: str
    card: str
    model: str
    profile: str
    milligpu: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one ResourceClaim was given: GPU devices only. ``requested`` is how many GPUs it asks for.

    ``other``: it asks for no GPU whatever it is given (IMEX channels), so nothing has to be waited for.
    """

    uid: str
    devices: tuple[DeviceKey, ...]
    allocated: bool
    requested: int = 0
    other: bool = False


@dataclass(frozen=True, slots=True)
class _Slice:
    driver: str
    pool: str
    generation: int
    devices: tuple[tuple[str, Device], ...]


class Devices:
    """Index of slices and claims. Not thread-safe: its owner holds the lock."""

    def __init__(self) -> None:
        self._slices: dict[str, _Slice] = {}
        self._found: dict[DeviceKey, Device] | None = None
        self._current: dict[tuple[str, str], Allocation] = {}
        self._given: OrderedDict[tuple[str, str, str], Allocation] = OrderedDict()

    def put_slice(self, raw: Raw) -> None:
        """Take in one ResourceSlice."""
        self._slices[str(part(raw, "metadata").get("name"))] = _slice(raw)
        self._found = None

    def drop_slice(self, name: str) -> None:
        """Forget one ResourceSlice."""
        if self._slices.pop(name, None) is not None:
            self._found = None

    def clear_slices(self) -> None:
        """Forget all ResourceSlices."""
        self._slices.clear()
        self._found = None

    def put_claim(self, raw: Raw) -> None:
        """Take in one ResourceClaim: what it holds now, and for which pods."""
        meta = part(raw, "metadata")
        namespace, name = str(meta.get("namespace") or ""), str(meta.get("name") or "")
        allocation = _allocation(str(meta.get("uid") or ""), raw)
        self._current[namespace, name] = allocation
        if not allocation.allocated:
            return
        for user in items(raw, "status", "reservedFor"):
            key = (namespace, name, str(user.get("uid") or ""))
            if key not in self._given:
                self._given[key] = allocation
                if len(self._given) > REMEMBERED:
                    self._given.popitem(last=False)

    def drop_claim(self, namespace: str, name: str) -> None:
        """Forget what the claim holds now; what it gave to which pod stays known."""
        self._current.pop((namespace, name), None)

    def clear_claims(self, namespace: str = "") -> None:
        """Forget what all claims (of one namespace) hold now."""
        self._current = {key: a for key, a in self._current.items() if namespace and key[0] != namespace}

    def given(self, namespace: str, name: str, pod_uid: str) -> Allocation | None:
        """What the claim gave to this pod, None while that is not known."""
        found = self._given.get((namespace, name, pod_uid)) or self._current.get((namespace, name))
        return found if found is not None and (found.allocated or found.other) else None

    def asked(self, namespace: str, name: str) -> int:
        """How many GPUs an unallocated claim asks for, 0 when it is not known."""
        found = self._current.get((namespace, name))
        return found.requested if found else 0

    def device(self, key: DeviceKey) -> Device | None:
        """What a device is, None when no slice describes it (any more)."""
        return self._index().get(key)

    def per_node(self) -> dict[str, dict[str, int]]:
        """Node -> model -> milliGPU offered, each physical card once."""
        cards: dict[tuple[str, str], set[str]] = {}
        for device in self._index().values():
            if device.node and device.card:
                cards.setdefault((device.node, device.model), set()).add(device.card)
        offered: dict[str, dict[str, int]] = {}
        for (node, model), found in cards.items():
            offered.setdefault(node, {})[model] = len(found) * MILLI_PER_GPU
        return offered

    def _index(self) -> Mapping[DeviceKey, Device]:
        if self._found is None:
            newest: dict[tuple[str, str], int] = {}
            for found in self._slices.values():
                pool = (found.driver, found.pool)
                newest[pool] = max(newest.get(pool, 0), found.generation)
            self._found = {
                (s.driver, s.pool, name): device
                for s in self._slices.values()
                if s.generation == newest[s.driver, s.pool]
                for name, device in s.devices
            }
        return self._found


def _slice(raw: Raw) -> _Slice:
    spec = part(raw, "spec")
    pool = part(spec, "pool")
    driver = str(spec.get("driver") or "")
    found: list[tuple[str, Device]] = []
    if driver in GPU_DRIVERS:
        node = str(spec.get("nodeName") or "")
        found = [(str(device.get("name")), _device(node, device)) for device in items(spec, "devices")]
    return _Slice(driver, str(pool.get("name") or ""), number(str(pool.get("generation") or 0)), tuple(_settle(found)))


def _device(node: str, raw: Raw) -> Device:
    """One device. ``basic`` is where resource.k8s.io/v1beta1 keeps what v1 keeps at the top."""
    attributes = part(raw, "attributes") or part(raw, "basic", "attributes")

    def text(name: str) -> str:
        return str(part(attributes, name).get("string") or "")

    profile = text("profile") if text("type") == "mig" else ""
    uuid = text("uuid")
    return Device(node, uuid, text("parentUUID") or uuid, plain_model(text("productName")), profile, MILLI_PER_GPU)


def _settle(devices: list[tuple[str, Device]]) -> list[tuple[str, Device]]:
    """Give MIG slices their part of their card.

    Slices that fit on the card together are its layout, and share it fully; otherwise the slice list is a menu of what
    could be made, and each slice is worth the floor of its own weight.
    """
    by_card: dict[str, list[int]] = {}
    for i, (_, device) in enumerate(devices):
        if device.profile:
            by_card.setdefault(device.card, []).append(i)
    settled = list(devices)
    for members in by_card.values():
        model = devices[members[0]][1].model
        weights = [
            mig_weight(devices[i][1].profile, slices=compute_slices(model), memory_gib=card_memory_gib(model))
            for i in members
        ]
        layout = sum(weights) <= _FULL
        shares = split(MILLI_PER_GPU, weights) if layout else [int(MILLI_PER_GPU * w) for w in weights]
        for i, share in zip(members, shares, strict=True):
            name, device = devices[i]
            settled[i] = (name, Device(device.node, device.uuid, device.card, device.model, device.profile, share))
    return settled


_FULL = 1.1
"""A real layout may weigh a little more than its card: 3g.40gb with four 1g.10gb takes all of both slice kinds."""


def _allocation(uid: str, raw: Raw) -> Allocation:
    given: Any = part(raw, "status").get("allocation")
    devices: list[DeviceKey] = []
    for result in items(given, "devices", "results"):
        driver = str(result.get("driver") or "")
        if driver in GPU_DRIVERS and not result.get("adminAccess"):
            devices.append((driver, str(result.get("pool") or ""), str(result.get("device") or "")))
    asked, classes = 0, []
    for request in items(raw, "spec", "devices", "requests"):
        # v1beta1 keeps at the top what v1 keeps under exactly; of a list of alternatives the first is the wish
        exact = part(request, "exactly") or next(items(request, "firstAvailable"), request)
        classes.append(str(exact.get("deviceClassName") or ""))
        if classes[-1].startswith(GPU_DRIVERS) and not exact.get("adminAccess"):
            asked += number(str(exact.get("count") or 1))
    other = bool(classes) and all(name.startswith(NO_GPU_CLASS) for name in classes)
    return Allocation(uid, tuple(devices), isinstance(given, Mapping), asked, other)
