"""Which series of a page is which counter of a port: node_exporter's names and the node agent's.

node_exporter's infiniband collector has its own names for what the kernel calls otherwise, and one of them misleads:
``roce_slow_restart_total`` is the kernel's ``roce_slow_restart_trans``; the kernel's ``roce_slow_restart`` is
``roce_slow_restart_used_total``. ``port_data_*`` are already bytes there. ``lifespan_seconds`` is an integer division
and always 0: it is not read. Its ethtool collector spells ``rx`` and ``tx`` out, adds no ``_total``, and names the
network interface as ``device``, where the infiniband collector names the RDMA device.
"""

from __future__ import annotations

import re
from functools import lru_cache

from exporters.fabric_model import LABELS, PortCounter, PortQuantity
from exporters.node.counters import CARRIER_CHANGES, CARRIER_DOWN, ethtool_meanings

_Q = PortQuantity

INFINIBAND: dict[str, PortCounter] = {
    f"node_infiniband_{name}": PortCounter(quantity, labels)
    for name, quantity, labels in (
        ("port_data_received_bytes_total", _Q.RECEIVE_BYTES, ()),
        ("port_data_transmitted_bytes_total", _Q.TRANSMIT_BYTES, ()),
        ("port_packets_received_total", _Q.RECEIVE_PACKETS, ()),
        ("port_packets_transmitted_total", _Q.TRANSMIT_PACKETS, ()),
        ("port_discards_transmitted_total", _Q.DISCARDS, ("transmit", "")),
        ("link_downed_total", _Q.LINK_DOWNED, ()),
        ("symbol_error_total", _Q.SYMBOL_ERRORS, ()),
        ("link_error_recovery_total", _Q.LINK_RECOVERIES, ()),
        ("local_link_integrity_errors_total", _Q.LINK_INTEGRITY_ERRORS, ()),
        ("port_errors_received_total", _Q.RECEIVE_ERRORS, ()),
        ("excessive_buffer_overrun_errors_total", _Q.BUFFER_OVERRUNS, ()),
        ("np_ecn_marked_roce_packets_received_total", _Q.CE_MARKED, ()),
        ("np_cnp_packets_sent_total", _Q.CNP_SENT, ()),
        ("rp_cnp_packets_handled_total", _Q.CNP_HANDLED, ()),
        ("rp_cnp_ignored_packets_received_total", _Q.CNP_IGNORED, ()),
        ("out_of_sequence_packets_received_total", _Q.OUT_OF_SEQUENCE, ()),
        ("local_ack_timeout_errors_total", _Q.ACK_TIMEOUTS, ()),
        ("packet_sequence_errors_total", _Q.SEQUENCE_ERRORS, ()),
        ("implied_nak_seq_errors_total", _Q.SEQUENCE_ERRORS, ()),
        ("rnr_nak_retry_packets_received_total", _Q.RNR_NAKS, ()),
        ("roce_adp_retransmits_total", _Q.RETRANSMISSIONS, ()),
        ("roce_slow_restart_used_total", _Q.SLOW_RESTARTS, ()),
        ("rx_icrc_encapsulated_errors_total", _Q.ICRC_ERRORS, ()),
    )
}
"""Series of node_exporter's infiniband collector. Two of one quantity add up."""

HARDWARE = frozenset(
    name
    for name, counter in INFINIBAND.items()
    if counter.quantity
    not in {
        _Q.RECEIVE_BYTES,
        _Q.TRANSMIT_BYTES,
        _Q.RECEIVE_PACKETS,
        _Q.TRANSMIT_PACKETS,
        _Q.DISCARDS,
        _Q.LINK_DOWNED,
        _Q.SYMBOL_ERRORS,
        _Q.LINK_RECOVERIES,
        _Q.LINK_INTEGRITY_ERRORS,
        _Q.RECEIVE_ERRORS,
        _Q.BUFFER_OVERRUNS,
    }
)
"""Those that node_exporter has since 1.11, from ``hw_counters``."""

STATE, RATE, DEVICE_INFO = "node_infiniband_state_id", "node_infiniband_rate_bytes_per_second", "node_infiniband_info"
ETHTOOL_INFO = "node_ethtool_info"
NODE_NAME, BUILD = "node_uname_info", "node_exporter_build_info"
COLLECTOR = "node_scrape_collector_success"
ACTIVE = 4.0
"""The state of a port that carries traffic (``4: ACTIVE`` in sysfs)."""

_ETHTOOL = "node_ethtool_"
_AGENT = "meterbridge_agent_rdma_"

AGENT_COUNTERS: dict[str, tuple[PortQuantity, tuple[str, ...]]] = {
    f"{_AGENT}{quantity.value}_total": (quantity, LABELS.get(quantity, ())) for quantity in PortQuantity
}
"""Series of the node agent: the quantity, and the labels that tell its counters apart."""

AGENT_PORT, AGENT_UP = f"{_AGENT}port_info", f"{_AGENT}port_up"
AGENT_LINKS, AGENT_LINKS_UP = f"{_AGENT}port_links", f"{_AGENT}port_links_up"
CARRIERS = {
    "node_network_carrier_down_changes_total": CARRIER_DOWN,
    "node_network_carrier_changes_total": CARRIER_CHANGES,
}
"""Series of node_exporter's netclass collector, by interface: what they are in sysfs."""
BOND_LINKS, BOND_LINKS_UP = "node_bonding_slaves", "node_bonding_active"
"""Series of node_exporter's bonding collector, by the bond's name."""
AGENT_RATE, AGENT_UNREADABLE = f"{_AGENT}port_rate_bytes_per_second", f"{_AGENT}unreadable"
AGENT_GPU = "meterbridge_agent_gpu_info"
AGENT_HOLDING, AGENT_BUILD = "meterbridge_agent_gpu_holding_info", "meterbridge_agent_build_info"


@lru_cache(maxsize=4096)
def ethtool_name(series: str) -> str:
    """What a driver calls a statistic of node_exporter's ethtool collector; empty when the series is none.

    >>> ethtool_name("node_ethtool_received_prio3_pause_duration")
    'rx_prio3_pause_duration'
    """
    if not series.startswith(_ETHTOOL):
        return ""
    words = {"received": "rx", "transmitted": "tx"}
    return re.sub(
        r"(?<![^_])(received|transmitted)(?![^_])", lambda m: words[m.group()], series.removeprefix(_ETHTOOL)
    ).replace("_xoff_nic", "_xoff.nic")


@lru_cache(maxsize=4096)
def _means_something(series: str) -> bool:
    name = ethtool_name(series)
    return bool(name) and bool(ethtool_meanings([name]))


class _Wanted:
    """The series that are read: those of the tables, and the ethtool statistics that mean something."""

    _named = frozenset(
        {
            *INFINIBAND,
            *AGENT_COUNTERS,
            STATE,
            RATE,
            DEVICE_INFO,
            ETHTOOL_INFO,
            NODE_NAME,
            BUILD,
            COLLECTOR,
            AGENT_PORT,
            AGENT_UP,
            AGENT_LINKS,
            AGENT_LINKS_UP,
            *CARRIERS,
            BOND_LINKS,
            BOND_LINKS_UP,
            AGENT_RATE,
            AGENT_UNREADABLE,
            AGENT_GPU,
            AGENT_HOLDING,
            AGENT_BUILD,
        }
    )

    def __contains__(self, name: object) -> bool:
        return name in self._named or (isinstance(name, str) and _means_something(name))


WANTED = _Wanted()
