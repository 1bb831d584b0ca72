"""The nouns of the fabric, frozen: ports of RDMA devices and what they count.

Counters are the device's own, in Prometheus base units (bytes, seconds), as read: they wrap and are reset. What makes
them grow for ever is `exporters.meters.fabric_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class PortQuantity(StrEnum):
    """What a port counts since its device was reset, whichever driver and collector it comes from (docs/fabric.md)."""

    RECEIVE_BYTES = "receive_bytes"
    TRANSMIT_BYTES = "transmit_bytes"
    RECEIVE_PACKETS = "receive_packets"
    TRANSMIT_PACKETS = "transmit_packets"
    CE_MARKED = "ce_marked_packets"
    CNP_SENT = "cnp_sent_packets"
    CNP_HANDLED = "cnp_handled_packets"
    CNP_IGNORED = "cnp_ignored_packets"
    OUT_OF_SEQUENCE = "out_of_sequence_packets"
    ACK_TIMEOUTS = "ack_timeouts"
    SEQUENCE_ERRORS = "sequence_errors"
    RNR_NAKS = "rnr_naks"
    RETRANSMISSIONS = "retransmissions"
    SLOW_RESTARTS = "slow_restarts"
    RETRIES_EXCEEDED = "retries_exceeded"
    PAUSE_RECEIVED_SECONDS = "pause_received_seconds"
    PAUSE_TRANSMITTED_SECONDS = "pause_transmitted_seconds"
    PAUSE_RECEIVED_FRAMES = "pause_received_frames"
    PAUSE_TRANSMITTED_FRAMES = "pause_transmitted_frames"
    PAUSE_STORM_EVENTS = "pause_storm_events"
    DISCARDS = "discards"
    LINK_DOWNED = "link_downed"
    CARRIER_LOST = "carrier_lost"
    SYMBOL_ERRORS = "symbol_errors"
    LINK_RECOVERIES = "link_recoveries"
    LINK_INTEGRITY_ERRORS = "link_integrity_errors"
    RECEIVE_ERRORS = "receive_errors"
    BUFFER_OVERRUNS = "buffer_overruns"
    ICRC_ERRORS = "icrc_errors"


LABELS: Mapping[PortQuantity, tuple[str, ...]] = {
    PortQuantity.RETRIES_EXCEEDED: ("kind",),
    PortQuantity.PAUSE_RECEIVED_SECONDS: ("priority",),
    PortQuantity.PAUSE_TRANSMITTED_SECONDS: ("priority",),
    PortQuantity.PAUSE_RECEIVED_FRAMES: ("priority",),
    PortQuantity.PAUSE_TRANSMITTED_FRAMES: ("priority",),
    PortQuantity.PAUSE_STORM_EVENTS: ("severity",),
    PortQuantity.DISCARDS: ("direction", "priority"),
}
"""The labels by which a quantity's counters are told apart, where it has several (`PortCounter.labels`).

``kind`` is ``transport`` or ``rnr``; ``severity`` is ``warning`` or ``error``; ``direction`` is ``receive`` or
``transmit``; ``priority`` is ``0`` to ``7``, or empty for the port as a whole (global pause, all discards).
"""


PAUSED_TIMES = frozenset({PortQuantity.PAUSE_RECEIVED_SECONDS, PortQuantity.PAUSE_TRANSMITTED_SECONDS})
"""Quantities that are parts of the time: of several links together their mean, not their sum."""


OF_JOBS: tuple[PortQuantity, ...] = (
    PortQuantity.RECEIVE_BYTES,
    PortQuantity.TRANSMIT_BYTES,
    PortQuantity.RECEIVE_PACKETS,
    PortQuantity.TRANSMIT_PACKETS,
    PortQuantity.CE_MARKED,
    PortQuantity.CNP_SENT,
    PortQuantity.CNP_HANDLED,
    PortQuantity.CNP_IGNORED,
    PortQuantity.OUT_OF_SEQUENCE,
    PortQuantity.ACK_TIMEOUTS,
    PortQuantity.RETRANSMISSIONS,
    PortQuantity.RETRIES_EXCEEDED,
    PortQuantity.PAUSE_RECEIVED_SECONDS,
    PortQuantity.PAUSE_TRANSMITTED_SECONDS,
    PortQuantity.DISCARDS,
)
"""The quantities that are also summed per job and per project: those that somebody who runs jobs asks about."""


class PortCounter(NamedTuple):
    """One counter of a port. ``labels`` tell apart the counters of one quantity: ``("3",)`` is pause of priority 3."""

    quantity: PortQuantity
    labels: tuple[str, ...] = ()


class PortOrigin(IntEnum):
    """Which reader of the device told a counter, the one that is believed first of two that tell the same."""

    ETHTOOL = 0
    INFINIBAND = 1
    AGENT = 2


COMPUTE, VIRTUAL = "compute", "virtual"
ROLES = (COMPUTE, "storage", "management")
"""What a site may call a port. Only ports for compute are of the jobs on their machine."""


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of an RDMA device, on the host ``host`` as its pages call it; what is not known is empty.

    ``netdev`` is the network device on top of it, ``link_layer`` is ``Ethernet`` (RoCE) or ``InfiniBand``. ``role`` is
    what the port is for: ``compute``, ``storage``, ``management``, or ``virtual`` (a virtual function: its physical one
    counts).
    """

    host: str
    device: str
    port: str
    netdev: str = ""
    link_layer: str = ""
    driver: str = ""
    pci_address: str = ""
    numa_node: str = ""
    firmware: str = ""
    role: str = COMPUTE


@dataclass(frozen=True, slots=True)
class PortReading:
    """What one origin says of one port: ``values[i]`` is the device's own counter ``counters[i]``, in base units.

    ``counters`` is the same object, round after round, while the origin goes on telling the same.
    """

    origin: PortOrigin
    counters: tuple[PortCounter, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PortSample:
    """One port in one round: up or not, its rate in bytes per second (None = not told), and its counters by origin.

    ``links`` are the links of its bond, and how many of them carry traffic; None for a port that is no bond's.
    """

    port: Port
    readings: tuple[PortReading, ...]
    at: float
    up: bool | None = None
    rate: float | None = None
    links: tuple[int, int] | None = None
