"""Which counter of which driver is which quantity. Pure: names and numbers as read to quantities in base units.

The names come from the drivers' own lists in the Linux source: drivers/infiniband/core/sysfs.c (``counters``),
hw/mlx5/counters.c, hw/bnxt_re/hw_counters.c (its names before and after those of mlx5 were taken over in 6.18),
hw/efa/efa_verbs.c and hw/irdma/verbs.c (``hw_counters``), and, for ``ethtool -S``,
Documentation/networking/device_drivers/ethernet/mellanox/mlx5/counters.rst, net/ethernet/broadcom/bnxt/bnxt_ethtool.c
and net/ethernet/intel/ice/ice_ethtool.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from exporters.fabric_model import PAUSED_TIMES, PortCounter, PortQuantity


class _Meaning(NamedTuple):
    quantity: PortCounter
    scale: float = 1.0


def _count(name: str, *labels: str) -> PortCounter:
    return PortCounter(PortQuantity(name), labels)


def _plain(**words: str) -> dict[str, _Meaning]:
    return {counter: _Meaning(_count(name)) for name, counters in words.items() for counter in counters.split("|")}


COUNTERS: Mapping[str, _Meaning] = {
    **_plain(
        receive_packets="port_rcv_packets",
        transmit_packets="port_xmit_packets",
        link_downed="link_downed",
        symbol_errors="symbol_error",
        link_recoveries="link_error_recovery",
        link_integrity_errors="local_link_integrity_errors",
        receive_errors="port_rcv_errors",
        buffer_overruns="excessive_buffer_overrun_errors",
    ),
    # In words of four octets, whatever the width of the port.
    "port_rcv_data": _Meaning(_count("receive_bytes"), 4.0),
    "port_xmit_data": _Meaning(_count("transmit_bytes"), 4.0),
    "port_xmit_discards": _Meaning(_count("discards", "transmit", "")),
}
"""``ports/<n>/counters``, alike for every driver that has it."""

HW_COUNTERS: Mapping[str, _Meaning] = {
    **_plain(
        receive_bytes="rx_bytes",
        transmit_bytes="tx_bytes",
        receive_packets="rx_pkts",
        transmit_packets="tx_pkts",
        ce_marked_packets="np_ecn_marked_roce_packets|rx_ecn_marked_pkts|RxECNMrkd",
        cnp_sent_packets="np_cnp_sent|tx_cnp_pkts|np_cnp_pkts|cnpSent",
        cnp_handled_packets="rp_cnp_handled|rx_cnp_pkts|cnpHandled",
        cnp_ignored_packets="rp_cnp_ignored|cnpIgnored",
        out_of_sequence_packets="out_of_sequence|oos_drop_count|Rcvd Out of order packets",
        ack_timeouts="local_ack_timeout_err|RTO",
        sequence_errors="packet_seq_err|implied_nak_seq_err|seq_err_naks_rcvd|missing_resp"
        "|Nak Sequence Error|Nak Sequence Error Implied",
        rnr_naks="rnr_nak_retry_err|rnr_naks_rcvd|RNR received",
        retransmissions="roce_adp_retrans|to_retransmits|retrans_pkts|RetransSegs|tcpRetransSegs",
        slow_restarts="roce_slow_restart",
        icrc_errors="rx_icrc_encapsulated|CRC errors",
    ),
    "req_transport_retries_exceeded": _Meaning(_count("retries_exceeded", "transport")),
    "max_retry_exceeded": _Meaning(_count("retries_exceeded", "transport")),
    "req_rnr_retries_exceeded": _Meaning(_count("retries_exceeded", "rnr")),
    "rx_drops": _Meaning(_count("discards", "receive", "")),
    "rx_roce_discards": _Meaning(_count("discards", "receive", "")),
    "tx_roce_discards": _Meaning(_count("discards", "transmit", "")),
}
"""``ports/<n>/hw_counters``: each driver has names of its own. mlx5 puts ``vport_`` before them in switchdev mode."""

EXPOSED_HW_COUNTERS = frozenset(
    "np_ecn_marked_roce_packets np_cnp_sent rp_cnp_handled rp_cnp_ignored out_of_sequence local_ack_timeout_err "
    "packet_seq_err implied_nak_seq_err rnr_nak_retry_err roce_adp_retrans roce_slow_restart "
    "rx_icrc_encapsulated".split()
)
"""Those of `HW_COUNTERS` that node_exporter serves, from 1.11.0 on."""

MICROSECONDS = 1e-6
_DIRECTION = {"rx": "receive", "tx": "transmit"}
_PAUSE = {"rx": "pause_received", "tx": "pause_transmitted"}


def strip_vport(name: str) -> str:
    """A counter's name without the prefix that mlx5 gives it in switchdev mode."""
    return name.removeprefix("vport_")


def exposed(folder: str, name: str) -> bool:
    """Whether node_exporter's infiniband collector serves this counter: all of `COUNTERS`, mlx5's names of the others.

    Seen with 1.11.1, which reads them of any driver. Before 1.11.0 it served no ``hw_counters`` at all.
    """
    return folder == "counters" or name in EXPOSED_HW_COUNTERS


def port_quantities(
    counters: Mapping[str, int],
    hw_counters: Mapping[str, int],
    unread: Collection[tuple[str, str]] = (),
    all_of_them: bool = False,
) -> dict[PortCounter, float]:
    """The quantities of one port, from its two folders' counters by name.

    ``unread`` are the ``(folder, name)`` (an empty name: the whole folder) that are there and could not be read now: a
    quantity that is a sum of several is left out while one of them is missing, since a sum that falls and rises again
    would look like a reset. Where both folders tell the same, ``counters`` counts. Without ``all_of_them``, what
    node_exporter serves whole is left out.
    """
    found: dict[PortCounter, float] = {}
    for folder, known, values in (("hw_counters", HW_COUNTERS, hw_counters), ("counters", COUNTERS, counters)):
        plain = {strip_vport(name): value for name, value in values.items()} | dict(values)
        missing = {known[strip_vport(n)].quantity for f, n in unread if f == folder and strip_vport(n) in known}
        if (folder, "") in unread:
            missing = {meaning.quantity for meaning in known.values()}
        sums: dict[PortCounter, float] = {}
        ours: set[PortCounter] = set()
        for name in known.keys() & plain.keys():
            quantity, scale = known[name]
            sums[quantity] = sums.get(quantity, 0.0) + plain[name] * scale
            if all_of_them or not exposed(folder, name) or name not in values:
                ours.add(quantity)
        for quantity in sums.keys() | missing:
            found.pop(quantity, None)
            if quantity in ours - missing:
                found[quantity] = sums[quantity]
    return found


CARRIER_DOWN, CARRIER_CHANGES = "carrier_down_count", "carrier_changes"
"""Files of an interface in sysfs, told with its statistics. The second counts both ways."""

Rule = Callable[[re.Match[str]], tuple[PortCounter, float]]

_ETHTOOL: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (  # mlx5
        re.compile(r"(rx|tx)_prio([0-7])_pause_duration"),
        lambda m: (_count(f"{_PAUSE[m[1]]}_seconds", m[2]), MICROSECONDS),
    ),
    (re.compile(r"(rx|tx)_prio([0-7])_pause"), lambda m: (_count(f"{_PAUSE[m[1]]}_frames", m[2]), 1.0)),
    (
        re.compile(r"(rx|tx)_global_pause_duration"),
        lambda m: (_count(f"{_PAUSE[m[1]]}_seconds", ""), MICROSECONDS),
    ),
    (re.compile(r"(rx|tx)_global_pause"), lambda m: (_count(f"{_PAUSE[m[1]]}_frames", ""), 1.0)),
    (
        re.compile(r"tx_pause_storm_(warning|error)_events"),
        lambda m: (_count("pause_storm_events", m[1]), 1.0),
    ),
    (
        re.compile(r"rx_prio([0-7])_(?:buf|cong)_discard"),
        lambda m: (_count("discards", "receive", m[1]), 1.0),
    ),
    (re.compile(r"link_down_events_phy"), lambda _: (_count("link_downed"), 1.0)),
    (re.compile(CARRIER_DOWN), lambda _: (_count("carrier_lost"), 1.0)),
    (re.compile(r"(rx|tx)_discards_phy"), lambda m: (_count("discards", _DIRECTION[m[1]], ""), 1.0)),
    (  # bnxt_en
        re.compile(r"pfc_pri([0-7])_(rx|tx)_duration_us"),
        lambda m: (_count(f"{_PAUSE[m[2]]}_seconds", m[1]), MICROSECONDS),
    ),
    (re.compile(r"(rx|tx)_pfc_ena_frames_pri([0-7])"), lambda m: (_count(f"{_PAUSE[m[1]]}_frames", m[2]), 1.0)),
    (re.compile(r"(rx|tx)_pause_frames"), lambda m: (_count(f"{_PAUSE[m[1]]}_frames", ""), 1.0)),
    (  # ice, under irdma
        re.compile(r"(rx|tx)_priority_([0-7])_xoff\.nic"),
        lambda m: (_count(f"{_PAUSE[m[1]]}_frames", m[2]), 1.0),
    ),
)

_INSTEAD: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"(rx|tx)_pause_ctrl_phy"), lambda m: (_count(f"{_PAUSE[m[1]]}_frames", ""), 1.0)),
    (re.compile(r"rx_prio([0-7])_discards"), lambda m: (_count("discards", "receive", m[1]), 1.0)),
    (re.compile(CARRIER_CHANGES), lambda _: (_count("carrier_lost"), 0.5)),
)
"""Coarser counters of the same: used where none of the others tells the quantity."""


def ethtool_meanings(names: Iterable[str]) -> dict[int, tuple[PortCounter, float]]:
    """Which of a driver's statistics mean something here: position -> quantity and scale.

    Several positions may be one quantity (``rx_prio3_buf_discard`` and ``_cong_discard``): they add up.
    """
    found: dict[int, tuple[PortCounter, float]] = {}
    instead: dict[int, tuple[PortCounter, float]] = {}
    for position, name in enumerate(names):
        for rules, into in ((_ETHTOOL, found), (_INSTEAD, instead)):
            for pattern, rule in rules:
                match = pattern.fullmatch(name)
                if match is not None:
                    into[position] = rule(match)
                    break
    told = {quantity for quantity, _ in found.values()}
    return found | {position: m for position, m in instead.items() if m[0] not in told}


def ethtool_quantities(
    meanings: Mapping[int, tuple[PortCounter, float]], values: Mapping[int, int]
) -> dict[PortCounter, float]:
    """The quantities of one network interface from its statistics by position."""
    sums: dict[PortCounter, tuple[int, float]] = {}
    for position, (quantity, scale) in meanings.items():
        sums[quantity] = sums.get(quantity, (0, scale))[0] + values[position], scale
    return {quantity: count * scale for quantity, (count, scale) in sums.items()}


def of_all(links: Sequence[Mapping[PortCounter, float]]) -> dict[PortCounter, float]:
    """The quantities of a port that lies on several interfaces, from each of them: sums; of times paused the mean,
    since what half of the links wait is half of the port's time. What one of them does not tell is left out.
    """
    if not links:
        return {}
    found: dict[PortCounter, float] = {}
    for counter in links[0]:
        if all(counter in link for link in links):
            total = sum(link[counter] for link in links)
            found[counter] = total / len(links) if counter.quantity in PAUSED_TIMES else total
    return found
