"""What cards and ports report, in words: one query that finds whatever an alert about them looks at."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = 'or on () label_replace(vector(0), "what", "nothing to report", "", "")'
"""A row that says so where nothing is found: an empty table would look like one that cannot be read."""

_R = "[$__range]"


def _said(what: str, expr: str) -> str:
    return f'label_replace({expr}, "what", "{what}", "", "")'


def _cards(what: str, expr: str) -> str:
    return _said(what, f"max by (node, gpu) ({expr})")


def _bit(number: int) -> str:
    return f"floor(meterbridge_card_clock_event_reasons / {number}) % 2"


_GROWN = (
    ("double-bit errors", "ecc_double_bit_errors_total"),
    ("single-bit errors, corrected", "ecc_single_bit_errors_total"),
    ("seconds slowed down by heat", "thermal_throttle_seconds_total"),
    ("PCIe packets sent again", "pcie_replays_total"),
    ("NVLink checksums wrong (flits)", "nvlink_crc_flit_errors_total"),
    ("NVLink checksums wrong (data)", "nvlink_crc_data_errors_total"),
    ("NVLink packets sent again", "nvlink_replay_errors_total"),
    ("NVLink recoveries", "nvlink_recovery_errors_total"),
)
_CARD_FAULTS = (
    _cards("XID", f"max_over_time(meterbridge_card_xid_error_code{_R}) > 0"),
    _cards("memory rows that cannot be remapped", f"max_over_time(meterbridge_card_row_remap_failure{_R}) > 0"),
    _cards("memory rows to be remapped at a reset", "meterbridge_card_row_remap_pending > 0"),
    *(_cards(what, f"increase(meterbridge_card_{name}{_R}) > 0") for what, name in _GROWN),
    _cards("degrees of its memory, above 95", "meterbridge_card_memory_temperature_celsius > 95"),
    _cards("held back by the power brake", f"{_bit(128)} > 0"),
    _cards("slowed down by its hardware", f"{_bit(8)} > 0"),
    _cards("PCIe lanes missing", "meterbridge_card_pcie_link_width_max - meterbridge_card_pcie_link_width > 0"),
    _cards(
        "PCIe generations below what it can, while it works",
        "(meterbridge_card_pcie_link_generation_max - meterbridge_card_pcie_link_generation > 0)"
        " and meterbridge_card_engine_active_ratio > 0.5",
    ),
    _cards("NVLink check of DCGM (20 = fail)", "meterbridge_card_nvlink_health > 0"),
    _cards("NVSwitch check of DCGM, fatal (20 = fail)", "meterbridge_card_nvswitch_fatal_health > 0"),
    _cards("NVSwitch check of DCGM (20 = fail)", "meterbridge_card_nvswitch_nonfatal_health > 0"),
    _cards(
        "fabric manager (1 = not started, 4 = failure)",
        "meterbridge_card_fabric_manager_status == 1 or meterbridge_card_fabric_manager_status == 4",
    ),
)
_PORT_GROWN = (
    ("pause storms", "pause_storm_events"),
    ("receivers not ready", "rnr_naks"),
    ("slow restarts", "slow_restarts"),
    ("symbol errors", "symbol_errors"),
    ("link integrity errors", "link_integrity_errors"),
    ("buffer overruns", "buffer_overruns"),
    ("link recoveries", "link_recoveries"),
    ("packets received with errors", "receive_errors"),
    ("times the link went down", "link_downed"),
    ("times the carrier was lost", "carrier_lost"),
)


def card_faults(only: str = "") -> str:
    """What cards report in the time shown, by ``node``, ``gpu`` and ``what``. ``only``: a match that keeps some."""
    found: Sequence[str] = [f"({fault} {only})" if only else fault for fault in _CARD_FAULTS]
    return " or ".join(found)


def switch_faults() -> str:
    """SXIDs of NVSwitches, by ``node`` and ``what``."""
    return _said("SXID of an NVSwitch", "max by (node) (meterbridge_node_nvswitch_sxid > 0)")


def port_faults(at: str) -> str:
    """What ports report in the time shown, by ``node``, ``device``, ``port`` and ``what``. ``at`` selects them."""
    place = "max by (node, device, port)"
    found = [
        _said(what, f"{place} (increase(meterbridge_rdma_port_{name}_total{at}{_R}) > 0)") for what, name in _PORT_GROWN
    ]
    found.append(
        _said(
            "links of its bond that are down",
            f"{place} (meterbridge_rdma_port_links{at} - meterbridge_rdma_port_links_up{at}) > 0",
        )
    )
    found.append(
        _said(
            "Gb/s, less than its machine's fastest",
            f"{place} (meterbridge_rdma_port_rate_bytes_per_second{at} * 8 / 1e9 < on (node) group_left() 0.6 * max by (node)"
            f" (meterbridge_rdma_port_rate_bytes_per_second{at} * 8 / 1e9))",
        )
    )
    return " or ".join(found)
