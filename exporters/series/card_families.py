"""Families about the health of single cards; whose card it is, meterbridge_job_card_info{node,gpu} tells."""

from __future__ import annotations

from exporters.model import Field
from exporters.series import card_view as c
from exporters.series.row import SeriesRow

CARD = ("node", "gpu", "uuid")


def _row(quantity: str, unit: str, text: str, field: Field) -> SeriesRow:
    return SeriesRow(
        f"meterbridge_card_{quantity}",
        "counter" if quantity.endswith("_total") else "gauge",
        unit,
        text,
        CARD,
        c.card(field),
    )


ROWS: tuple[SeriesRow, ...] = (
    _row(
        "xid_error_code",
        "",
        "The last XID that the driver reported for the card, 0 = none (DCGM XID_ERRORS).",
        Field.XID,
    ),
    _row("row_remap_failure", "", "1 when a memory row could not be remapped: replace it.", Field.ROW_REMAP_FAILURE),
    _row("row_remap_pending", "", "1 when a remapped row waits for a reset of the card.", Field.ROW_REMAP_PENDING),
    _row(
        "uncorrectable_remapped_rows_total",
        "",
        "Memory rows remapped for uncorrectable errors.",
        Field.REMAPPED_ROWS,
    ),
    _row(
        "ecc_double_bit_errors_total",
        "",
        "Double-bit memory errors since the driver was loaded (DCGM ECC_DBE_VOL_TOTAL).",
        Field.DOUBLE_BIT_ERRORS,
    ),
    _row(
        "thermal_throttle_seconds_total",
        "seconds",
        "Time in which heat held the card's clocks down (DCGM THERMAL_VIOLATION).",
        Field.THERMAL_THROTTLE,
    ),
    _row(
        "clock_event_reasons",
        "",
        "Why the card's clocks are held down now, as NVML's bits: 0x8 power, 0x20 and 0x40 heat.",
        Field.CLOCK_EVENT_REASONS,
    ),
    _row(
        "memory_temperature_celsius",
        "celsius",
        "Temperature of the card's memory (DCGM MEMORY_TEMP).",
        Field.MEMORY_TEMPERATURE,
    ),
    _row(
        "ecc_single_bit_errors_total",
        "",
        "Single-bit memory errors that ECC corrected, since the driver was loaded (DCGM ECC_SBE_VOL_TOTAL).",
        Field.SINGLE_BIT_ERRORS,
    ),
    _row("pcie_replays_total", "", "PCIe packets sent again (DCGM PCIE_REPLAY_COUNTER).", Field.PCIE_REPLAYS),
    _row(
        "pcie_link_generation",
        "",
        "PCIe generation of the card's link now; it falls when the card rests.",
        Field.PCIE_GENERATION,
    ),
    _row("pcie_link_generation_max", "", "PCIe generation that the card's link can have.", Field.PCIE_GENERATION_MAX),
    _row("pcie_link_width", "", "Lanes of the card's PCIe link now.", Field.PCIE_WIDTH),
    _row("pcie_link_width_max", "", "Lanes that the card's PCIe link can have.", Field.PCIE_WIDTH_MAX),
    _row(
        "nvlink_crc_flit_errors_total",
        "",
        "NVLink flits with a wrong checksum, all links.",
        Field.NVLINK_CRC_FLIT_ERRORS,
    ),
    _row(
        "nvlink_crc_data_errors_total",
        "",
        "NVLink data with a wrong checksum, all links.",
        Field.NVLINK_CRC_DATA_ERRORS,
    ),
    _row("nvlink_replay_errors_total", "", "NVLink packets sent again, all links.", Field.NVLINK_REPLAY_ERRORS),
    _row(
        "nvlink_recovery_errors_total", "", "Times an NVLink had to recover, all links.", Field.NVLINK_RECOVERY_ERRORS
    ),
    _row("nvlink_health", "", "DCGM's health check of the NVLinks: 0 pass, 10 warn, 20 fail.", Field.NVLINK_HEALTH),
    _row(
        "nvswitch_fatal_health",
        "",
        "DCGM's health check for fatal errors (SXID) of the NVSwitches: 0 pass, 10 warn, 20 fail.",
        Field.NVSWITCH_FATAL_HEALTH,
    ),
    _row(
        "nvswitch_nonfatal_health",
        "",
        "DCGM's health check for other errors (SXID) of the NVSwitches: 0 pass, 10 warn, 20 fail.",
        Field.NVSWITCH_NONFATAL_HEALTH,
    ),
    _row(
        "fabric_manager_status",
        "",
        "Fabric manager of the card: 0 not supported, 1 not started, 2 in progress, 3 success, 4 failure.",
        Field.FABRIC_MANAGER,
    ),
    _row("temperature_celsius", "celsius", "Temperature of the card.", Field.TEMPERATURE),
    _row(
        "engine_active_ratio", "ratio", "Part of the time in which the card's engines were busy.", Field.ENGINE_ACTIVE
    ),
    _row(
        "tensor_active_ratio",
        "ratio",
        "Part of the time in which the card's tensor cores were busy (DCGM PIPE_TENSOR_ACTIVE).",
        Field.TENSOR_ACTIVE,
    ),
    _row(
        "fp64_active_ratio",
        "ratio",
        "Part of the time in which the card's FP64 cores were busy (DCGM PIPE_FP64_ACTIVE).",
        Field.FP64_ACTIVE,
    ),
    _row(
        "fp32_active_ratio",
        "ratio",
        "Part of the time in which the card's FP32 cores were busy (DCGM PIPE_FP32_ACTIVE).",
        Field.FP32_ACTIVE,
    ),
    _row(
        "fp16_active_ratio",
        "ratio",
        "Part of the time in which the card's FP16 cores were busy, tensor cores left out (DCGM PIPE_FP16_ACTIVE).",
        Field.FP16_ACTIVE,
    ),
    _row(
        "memory_active_ratio",
        "ratio",
        "Part of the time in which the card's memory sent or received (DCGM DRAM_ACTIVE).",
        Field.MEMORY_ACTIVE,
    ),
    _row("memory_used_bytes", "bytes", "Memory of the card in use.", Field.MEMORY_USED),
    _row("power_watts", "watts", "What the card draws.", Field.POWER),
    SeriesRow(
        "meterbridge_node_nvswitch_sxid",
        "gauge",
        "",
        "The last SXID that an NVSwitch of the machine reported, the largest of several.",
        ("node", "severity"),
        c.switches,
    ),
)
