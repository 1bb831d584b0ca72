"""The machine's RDMA ports as /sys/class/infiniband shows them. One thing that cannot be read never hides another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from exporters.node.counters import COUNTERS, HW_COUNTERS, strip_vport
from exporters.node.files import ABSENT, UNSUPPORTED, Unread, link_name, names, read_text, text_or_empty
from exporters.node.mapping import Place, netdev_of, place_of

GIGABIT = 125_000_000
NOT_UP = ("down", "lowerlayerdown", "notpresent", "dormant", "testing")
_COUNTERLESS = "N/A (no PMA)"
"""What a port without the agent that counts says instead of a number."""


@dataclass(frozen=True, slots=True)
class RawPort:
    """One port, as read. ``up`` and ``rate`` (bytes per second) are None when they could not be read.

    ``counters`` and ``hw_counters`` hold the known ones by name; ``unread`` the ``(folder, name)`` that were there and
    could not be read. ``vf_of`` is the PCI address of the physical function that a virtual one is of; ``inside`` says
    that the port was read in a pod's namespace, where its network interface cannot be asked.
    """

    device: str
    port: str
    place: Place
    driver: str = ""
    firmware: str = ""
    link_layer: str = ""
    netdev: str = ""
    up: bool | None = None
    rate: float | None = None
    counters: dict[str, int] = field(default_factory=dict)
    hw_counters: dict[str, int] = field(default_factory=dict)
    unread: tuple[tuple[str, str], ...] = ()
    vf_of: str = ""
    inside: bool = False


def parse_counter(text: str) -> int | None:
    """A counter's text; None where the port says that it does not count. Raises ValueError, also for an empty file."""
    if text == _COUNTERLESS:
        return None
    if not text.isascii() or not text.isdecimal():
        raise ValueError("empty" if not text else f"not a number: {text[:40]!r}")
    return int(text)


def parse_state(text: str) -> bool:
    """``4: ACTIVE`` -> whether the port is active. Raises ValueError."""
    number, colon, _ = text.partition(":")
    if not colon or not number.strip().isdecimal():
        raise ValueError(f"not a port state: {text[:40]!r}")
    return int(number) == 4


def parse_rate(text: str) -> float:
    """``400 Gb/sec (4X NDR)`` -> bytes per second. Raises ValueError.

    >>> parse_rate("2.5 Gb/sec (1X SDR)")
    312500000.0
    """
    number, _, unit = text.partition(" ")
    if not unit.startswith("Gb/sec"):
        raise ValueError(f"not a rate: {text[:40]!r}")
    rate = float(number) * GIGABIT
    if not 0 <= rate < float("inf"):
        raise ValueError(f"not a rate: {text[:40]!r}")
    return rate


def read_ports(sysfs: str) -> tuple[list[RawPort], list[Unread]]:
    """Every port below ``sysfs``, and what could not be read. A machine without RDMA has none of either."""
    ports: list[RawPort] = []
    unread: list[Unread] = []
    try:
        devices = names(f"{sysfs}/class/infiniband")
    except OSError as error:
        return [], [Unread("", "", "class/infiniband", str(error))]
    for device in devices:
        try:
            numbers = names(f"{sysfs}/class/infiniband/{device}/ports")
        except OSError as error:
            unread.append(Unread(device, "", "ports", str(error)))
            continue
        ports += (_port(sysfs, device, number, unread) for number in numbers if number.isdecimal())
    return ports, unread


def _port(sysfs: str, device: str, number: str, unread: list[Unread]) -> RawPort:
    above = f"{sysfs}/class/infiniband/{device}"
    folder = f"{above}/ports/{number}"
    driver = link_name(f"{above}/device/driver")
    state = rate = None
    facts = {name: _fact(folder, name, device, number, unread) for name in ("state", "rate", "link_layer")}
    try:
        state = parse_state(facts["state"]) if facts["state"] is not None else None
    except ValueError as error:
        unread.append(Unread(device, number, "state", str(error)))
    try:
        rate = parse_rate(facts["rate"]) if facts["rate"] is not None else None
    except ValueError as error:
        unread.append(Unread(device, number, "rate", str(error)))
    try:
        netdev = netdev_of(sysfs, device, number)
    except OSError as error:
        netdev = ""
        unread.append(Unread(device, number, "device/net", str(error)))
    if driver == "efa" and state and netdev:
        # Its state is always ACTIVE: only the interface knows.
        state = text_or_empty(f"{sysfs}/class/net/{netdev}/operstate") not in NOT_UP
    before = len(unread)
    counters = _counters(folder, "counters", COUNTERS, device, number, unread)
    hw_counters = _counters(folder, "hw_counters", HW_COUNTERS, device, number, unread)
    return RawPort(
        device=device,
        port=number,
        place=place_of(f"{above}/device"),
        driver=driver,
        firmware=text_or_empty(f"{above}/fw_ver"),
        link_layer=facts["link_layer"] or "",
        netdev=netdev,
        up=state,
        rate=rate,
        counters=counters,
        hw_counters=hw_counters,
        vf_of=link_name(f"{above}/device/physfn"),
        unread=tuple((u.what.partition("/")[0], u.what.partition("/")[2]) for u in unread[before:]),
    )


def _fact(folder: str, name: str, device: str, number: str, unread: list[Unread]) -> str | None:
    try:
        return read_text(f"{folder}/{name}")
    except OSError as error:
        if error.errno not in ABSENT:
            unread.append(Unread(device, number, name, str(error)))
        return None


def _counters(
    folder: str, kind: str, known: Iterable[str], device: str, number: str, unread: list[Unread]
) -> dict[str, int]:
    """The known counters of one folder, by the name of their file."""
    found: dict[str, int] = {}
    try:
        there = names(f"{folder}/{kind}")
    except OSError as error:
        unread.append(Unread(device, number, kind, str(error)))
        return found
    known = frozenset(known)
    for name in there:
        if strip_vport(name) not in known:
            continue
        try:
            value = parse_counter(read_text(f"{folder}/{kind}/{name}"))
        except OSError as error:
            if error.errno not in (*ABSENT, *UNSUPPORTED):
                unread.append(Unread(device, number, f"{kind}/{name}", str(error)))
        except ValueError as error:
            unread.append(Unread(device, number, f"{kind}/{name}", str(error)))
        else:
            if value is not None:
                found[name] = value
    return found
