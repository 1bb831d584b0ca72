"""Dynamic Resource Allocation: which cards a pod's ResourceClaims hold.

A claim's allocation names ``(driver, pool, device)``; the ResourceSlices say what that device is and its UUID; a driver
that tells none (AMD's, Intel's) tells its PCI address. Only GPU drivers count, and those that the site gives a rule: an
IMEX channel (``compute-domain.nvidia.com``) is not a GPU. A result with ``adminAccess`` watches a device that somebody
else holds, so it holds nothing. A result with ``consumedCapacity`` holds that part of a device which others share.

``status.reservedFor`` says which pods use the claim. It is evidence of *which devices* a pod was given, never of
*when*: while a finished pod's object remains and another pod uses the claim, its entry comes and goes many times a
second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from exporters.model import MILLI_PER_GPU
from exporters.sources.kubernetes.raw import MAX_DEVICES, Raw, amount, items, number, part
from exporters.sources.kubernetes.slots.resources import NO_RULES, Metered, Resources, driver_looks_like_cards
from exporters.sources.kubernetes.slots.schemes import partition_mode, partitions, plain_model
from exporters.sources.shares import SHARED, parts_of, split

GPU_DRIVERS = ("gpu.nvidia.com", "gpu.amd.com", "gpu.intel.com")
NO_GPU_CLASS = "compute-domain-"
"""How the names of the device classes of IMEX channels and daemons begin."""

REMEMBERED = 65536
"""How many (claim, pod) pairs are remembered: a claim is often deleted before its pod's end has been read."""

DeviceKey = tuple[str, str, str]
"""``(driver, pool, device)``."""


Consumed = tuple[tuple[str, Fraction], ...]
"""How much of a device's capacities a claim was given, by name; empty: all of it."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or a slice of one, as a ResourceSlice describes it.

    ``uuid`` is its own UUID, else its PCI address, ``card`` that of the physical card. ``capacity`` is what several
    claims may share.
    """

    node: str
    uuid: str
    card: str
    model: str
    profile: str
    milligpu: int
    capacity: Mapping[str, Fraction] = field(default_factory=dict)

    def worth(self, consumed: Consumed) -> int:
        """MilliGPU of what was given of it: the largest part of any of its capacities, rounded down."""
        known = [(amount, self.capacity.get(name, Fraction(0))) for name, amount in consumed]
        parts = [given / whole for given, whole in known if whole > 0]
        return int(self.milligpu * min(max(parts), Fraction(1))) if parts else self.milligpu


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one ResourceClaim was given: GPU devices only. ``requested`` is how many GPUs it asks for.

    ``other``: it asks for no GPU whatever it is given (IMEX channels), so nothing has to be waited for.
    """

    uid: str
    devices: tuple[tuple[DeviceKey, Consumed], ...]
    allocated: bool
    requested: int = 0
    other: bool = False


@dataclass(frozen=True, slots=True)
class _Slice:
    driver: str
    pool: str
    generation: int
    devices: tuple[tuple[str, Device], ...]
    unmetered: int = 0


class Devices:
    """Index of slices and claims. Not thread-safe: its owner holds the lock. ``rules`` are those of the site."""

    def __init__(self, rules: Resources = NO_RULES) -> None:
        self._rules = rules
        self._slices: dict[str, _Slice] = {}
        self._found: dict[DeviceKey, Device] | None = None
        self._current: dict[tuple[str, str], Allocation] = {}
        self._given: OrderedDict[tuple[str, str, str], Allocation] = OrderedDict()

    def put_slice(self, raw: Raw) -> None:
        """Take in one ResourceSlice."""
        self._slices[str(part(raw, "metadata").get("name"))] = _slice(raw, self._rules)
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
        allocation = _allocation(str(meta.get("uid") or ""), raw, self._rules)
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

    def unmetered(self) -> dict[str, int]:
        """Driver -> devices that it offers, of drivers that look like accelerators' and have no rule."""
        found: dict[str, int] = {}
        for one in self._slices.values():
            if one.unmetered:
                found[one.driver] = found.get(one.driver, 0) + one.unmetered
        return found

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


def _slice(raw: Raw, rules: Resources) -> _Slice:
    spec = part(raw, "spec")
    pool = part(spec, "pool")
    driver = str(spec.get("driver") or "")
    found: list[tuple[str, Device]] = []
    unmetered = 0
    own = rules.own.get(driver)
    if own is not None or driver in GPU_DRIVERS:
        node = str(spec.get("nodeName") or "")
        found = [(str(device.get("name")), _device(node, driver, device, own)) for device in items(spec, "devices")]
    elif driver_looks_like_cards(driver):
        unmetered = sum(1 for _ in items(spec, "devices"))
    generation = number(str(pool.get("generation") or 0))
    return _Slice(driver, str(pool.get("name") or ""), generation, tuple(_settle(found)), unmetered)


_PCI = ("resource.kubernetes.io/pciBusID", "pciBusID", "pciAddr", "pciAddress")


def _device(node: str, driver: str, raw: Raw, own: Metered | None) -> Device:
    """One device. ``basic`` is where resource.k8s.io/v1beta1 keeps what v1 keeps at the top."""
    body = raw if part(raw, "attributes") else part(raw, "basic")
    attributes = part(body, "attributes")

    def text(*names: str) -> str:
        told = (str(part(attributes, n).get("string") or "") for name in names for n in (name, f"{driver}/{name}"))
        return next(filter(None, told), "")

    capacity = {}
    if raw.get("allowMultipleAllocations") or body.get("allowMultipleAllocations"):
        capacity = {name: amount(of.get("value")) for name, of in _maps(body, "capacity")}
    address = text(*_PCI)
    uuid = text("uuid") or address
    model = plain_model(text("productName", "model"))
    if own is not None:
        profile = SHARED if own.milligpu < MILLI_PER_GPU else ""
        return Device(node, uuid, uuid or str(raw.get("name")), own.model, profile, own.milligpu, capacity)
    profile = text("profile") if text("type") == "mig" else ""
    card = text("parentUUID") or uuid or str(raw.get("name"))
    if text("type") == "amdgpu-partition":
        profile = partition_mode(text("partitionProfile"))
        card, uuid = text("parentPciAddr") or address or str(raw.get("name")), ""
    return Device(node, uuid, card, model, profile, MILLI_PER_GPU, capacity)


def _maps(raw: Raw, name: str) -> list[tuple[str, Raw]]:
    return [(str(key), value) for key, value in part(raw, name).items() if isinstance(value, Mapping)]


def _settle(devices: list[tuple[str, Device]]) -> list[tuple[str, Device]]:
    """Give MIG slices their part of their card.

    Slices that fit on the card together are its layout, and share it fully; otherwise the slice list is a menu of what
    could be made, and each slice is worth the floor of its own weight.
    """
    by_card: dict[str, list[int]] = {}
    for i, (_, device) in enumerate(devices):
        if device.profile and device.milligpu == MILLI_PER_GPU:
            by_card.setdefault(device.card, []).append(i)
    settled = list(devices)
    for members in by_card.values():
        weights = [_weight(devices[i][1]) for i in members]
        layout = sum(weights) <= _FULL
        shares = split(MILLI_PER_GPU, weights) if layout else [int(MILLI_PER_GPU * w) for w in weights]
        for i, share in zip(members, shares, strict=True):
            name, device = devices[i]
            settled[i] = (name, replace(device, milligpu=share))
    return settled


def _weight(device: Device) -> Fraction:
    """The part of its card that a slice is: a MIG profile's, or one of AMD's compute partitions."""
    if partition_mode(device.profile):
        return Fraction(1, partitions(device.profile, device.model))
    return max(parts_of(device.profile, device.model))


_FULL = 1.1
"""A real layout may weigh a little more than its card: 3g.40gb with four 1g.10gb takes all of both slice kinds."""


def _allocation(uid: str, raw: Raw, rules: Resources) -> Allocation:
    given: Any = part(raw, "status").get("allocation")
    devices: list[tuple[DeviceKey, Consumed]] = []
    for result in items(given, "devices", "results"):
        driver = str(result.get("driver") or "")
        if (driver in GPU_DRIVERS or driver in rules.own) and not result.get("adminAccess"):
            consumed = tuple(sorted((str(k), amount(v)) for k, v in part(result, "consumedCapacity").items()))
            devices.append(((driver, str(result.get("pool") or ""), str(result.get("device") or "")), consumed))
    asked, classes = 0, []
    for request in items(raw, "spec", "devices", "requests"):
        # v1beta1 keeps at the top what v1 keeps under exactly; of a list of alternatives the first is the wish
        exact = part(request, "exactly") or next(items(request, "firstAvailable"), request)
        classes.append(str(exact.get("deviceClassName") or ""))
        if classes[-1].startswith((*GPU_DRIVERS, *rules.own)) and not exact.get("adminAccess"):
            asked += number(str(exact.get("count") or 1), MAX_DEVICES)
    other = bool(classes) and all(name.startswith(NO_GPU_CLASS) for name in classes)
    return Allocation(uid, tuple(devices), isinstance(given, Mapping), asked, other)
