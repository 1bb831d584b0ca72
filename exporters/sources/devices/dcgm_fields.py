"""The DCGM fields we read: both spellings, the unit on the wire, and whose reading it is.

The name of a series is whatever the operator's counter file says, so the names before and after DCGM 4.6's renaming are
both met, at times in one fleet. Units are those of DCGM's own field table (dcgm_fields.h and .cpp of 4.6.0), not of a
name or a help text: ``GPU_UTIL_RATIO`` is the old ``GPU_UTIL`` renamed and still counts percent, ``FB_*`` say MB and
mean MiB. ``NVLINK_BANDWIDTH_TOTAL`` (``NVLINK_THROUGHPUT_TOTAL``) is left out: it is called a counter in one place and
MB/s in another. Fields that no series is made of (SM activity, free memory, clocks) are not here: of their
lines only the name is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from exporters.model import Field

_PERCENT = 100.0
_MILLI = 1000.0
_NANO = 1e9
_MEBI = 2.0**-20

SLACK = 1.01
"""A ratio may be over 1 by one part in a hundred, which DCGM's sampling windows do: it is then 1."""


class Scope(Enum):
    """What a reading is about when the card is cut into MIG instances.

    DCGM answers a question about an instance with the whole card's value where the field has no instance level, so the
    same watts appear on the lines of all seven instances.
    """

    INSTANCE = auto()
    CARD = auto()


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field. A value on the wire divided by ``divisor`` is in the unit of ``field``.

    ``low`` and ``high`` bound what is possible, in that unit; a ratio may be over its bound by `SLACK`.
    """

    field: Field
    divisor: float
    scope: Scope
    low: float = 0.0
    high: float = math.inf

    def usable(self, value: float) -> bool:
        """Whether a value on the wire is there, and possible."""
        return not blank(value) and self.low <= value / self.divisor <= (SLACK if self.high == 1.0 else self.high)


def _ratio(field: Field, divisor: float = 1.0, scope: Scope = Scope.INSTANCE) -> FieldSpec:
    return FieldSpec(field, divisor, scope, high=1.0)


_TABLE = {
    _ratio(Field.ENGINE_ACTIVE): ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"),
    _ratio(Field.TENSOR_ACTIVE): ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "DCGM_FI_PROF_TENSOR_UTIL_RATIO"),
    _ratio(Field.MEMORY_ACTIVE): ("DCGM_FI_PROF_DRAM_ACTIVE", "DCGM_FI_PROF_DRAM_UTIL_RATIO"),
    _ratio(Field.FP64_ACTIVE): ("DCGM_FI_PROF_PIPE_FP64_ACTIVE", "DCGM_FI_PROF_FP64_UTIL_RATIO"),
    _ratio(Field.FP32_ACTIVE): ("DCGM_FI_PROF_PIPE_FP32_ACTIVE", "DCGM_FI_PROF_FP32_UTIL_RATIO"),
    _ratio(Field.FP16_ACTIVE): ("DCGM_FI_PROF_PIPE_FP16_ACTIVE", "DCGM_FI_PROF_FP16_UTIL_RATIO"),
    _ratio(Field.UTILIZATION, _PERCENT, Scope.CARD): ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_GPU_UTIL_RATIO"),
    FieldSpec(Field.MEMORY_USED, _MEBI, Scope.INSTANCE): ("DCGM_FI_DEV_FB_USED",),
    FieldSpec(Field.POWER, 1.0, Scope.CARD): ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_BOARD_POWER_WATTS"),
    FieldSpec(Field.ENERGY, _MILLI, Scope.CARD): ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",),
    # Its successor in DCGM 4.6 is another field, in joules.
    FieldSpec(Field.ENERGY, 1.0, Scope.CARD): ("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL",),
    # A rate in bytes per second, though it is called "total number of bytes".
    FieldSpec(Field.NVLINK_TX_RATE, 1.0, Scope.CARD): ("DCGM_FI_PROF_NVLINK_TX_BYTES",),
    FieldSpec(Field.NVLINK_RX_RATE, 1.0, Scope.CARD): ("DCGM_FI_PROF_NVLINK_RX_BYTES",),
    # NVLink 5 and later.
    FieldSpec(Field.NVLINK_TX, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_COUNT_TX_BYTES",
        "DCGM_FI_DEV_NVLINK_TX_BYTES_TOTAL",
    ),
    FieldSpec(Field.NVLINK_RX, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_COUNT_RX_BYTES",
        "DCGM_FI_DEV_NVLINK_RX_BYTES_TOTAL",
    ),
    FieldSpec(Field.TEMPERATURE, 1.0, Scope.CARD, low=-273.15): (
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_GPU_TEMP_CELSIUS",
    ),
    FieldSpec(Field.XID, 1.0, Scope.INSTANCE): ("DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_XID_ERROR"),
    FieldSpec(Field.ROW_REMAP_FAILURE, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_ROW_REMAP_FAILURE",
        "DCGM_FI_DEV_ROW_REMAP_FAILED",
    ),
    FieldSpec(Field.ROW_REMAP_PENDING, 1.0, Scope.CARD): ("DCGM_FI_DEV_ROW_REMAP_PENDING",),
    FieldSpec(Field.REMAPPED_ROWS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL",
    ),
    FieldSpec(Field.DOUBLE_BIT_ERRORS, 1.0, Scope.CARD): ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",),
    # Counted in nanoseconds, though many counter files say "in us".
    FieldSpec(Field.THERMAL_THROTTLE, _NANO, Scope.CARD): ("DCGM_FI_DEV_THERMAL_VIOLATION",),
    FieldSpec(Field.MEMORY_TEMPERATURE, 1.0, Scope.CARD, low=-273.15): (
        "DCGM_FI_DEV_MEMORY_TEMP",
        "DCGM_FI_DEV_MEMORY_TEMP_CELSIUS",
    ),
    FieldSpec(Field.SINGLE_BIT_ERRORS, 1.0, Scope.CARD): ("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",),
    FieldSpec(Field.PCIE_REPLAYS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_PCIE_REPLAY_COUNTER",
        "DCGM_FI_DEV_PCIE_REPLAY_TOTAL",
    ),
    FieldSpec(Field.PCIE_GENERATION, 1.0, Scope.CARD): ("DCGM_FI_DEV_PCIE_LINK_GEN",),
    FieldSpec(Field.PCIE_GENERATION_MAX, 1.0, Scope.CARD): ("DCGM_FI_DEV_PCIE_MAX_LINK_GEN",),
    FieldSpec(Field.PCIE_WIDTH, 1.0, Scope.CARD): ("DCGM_FI_DEV_PCIE_LINK_WIDTH",),
    FieldSpec(Field.PCIE_WIDTH_MAX, 1.0, Scope.CARD): ("DCGM_FI_DEV_PCIE_MAX_LINK_WIDTH",),
    FieldSpec(Field.NVLINK_CRC_FLIT_ERRORS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL",
        "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_TOTAL",
    ),
    FieldSpec(Field.NVLINK_CRC_DATA_ERRORS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL",
        "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_TOTAL",
    ),
    FieldSpec(Field.NVLINK_REPLAY_ERRORS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL",
        "DCGM_FI_DEV_NVLINK_REPLAY_ERROR_TOTAL",
    ),
    FieldSpec(Field.NVLINK_RECOVERY_ERRORS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL",
        "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_TOTAL",
    ),
    # Of an NVSwitch: its lines name no card.
    FieldSpec(Field.SXID_FATAL, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS",
        "DCGM_FI_DEV_SXID_FATAL_ERROR",
    ),
    FieldSpec(Field.SXID_NONFATAL, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_NVSWITCH_NON_FATAL_ERRORS",
        "DCGM_FI_DEV_SXID_NON_FATAL_ERROR",
    ),
    # 0 not supported, 1 not started, 2 in progress, 3 success, 4 failure, 5 unrecognized, 6 NVML too old
    FieldSpec(Field.FABRIC_MANAGER, 1.0, Scope.CARD): ("DCGM_FI_DEV_FABRIC_MANAGER_STATUS",),
    FieldSpec(Field.CLOCK_EVENT_REASONS, 1.0, Scope.CARD): (
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
    ),
}

FIELDS: dict[str, FieldSpec] = {name: spec for spec, names in _TABLE.items() for name in names}
"""Series name to field."""

HEALTH = "DCGM_EXP_GPU_HEALTH_STATUS"
_WATCHES = {
    "NVLINK": FieldSpec(Field.NVLINK_HEALTH, 1.0, Scope.CARD),
    "NVSWITCH_FATAL": FieldSpec(Field.NVSWITCH_FATAL_HEALTH, 1.0, Scope.CARD),
    "NVSWITCH_NONFATAL": FieldSpec(Field.NVSWITCH_NONFATAL_HEALTH, 1.0, Scope.CARD),
}
"""What DCGM's own health checks watch that no field tells: 0 pass, 10 warn, 20 fail, by the label ``health_watch``."""

READ = frozenset({*FIELDS, HEALTH})
"""The families that the source keeps."""


def spec_of(name: str, labels: Mapping[str, str]) -> FieldSpec | None:
    """The field of a series; None for a watch that no field is made of."""
    return _WATCHES.get(labels.get("health_watch", "")) if name == HEALTH else FIELDS[name]


# DCGM's words for "no value", "not found", "not supported", "not permitted" (dcgm_structs.h).
_BLANKS = frozenset({float(base + i) for base in (0x7FFFFFF0, 1 << 47) for i in range(4)})
_LEAST_BLANK = min(_BLANKS)
_ALL_BLANKS = np.array(sorted(_BLANKS))
_INT64_BLANK = float(0x7FFFFFFFFFFFFFF0)  # and above: the four of them are one float64


def blank(value: float) -> bool:
    """Whether a value says that there is none: NaN, or one of DCGM's sentinels (they mean no physical quantity)."""
    return math.isnan(value) or value >= _INT64_BLANK or value in _BLANKS


def blanks(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values are `blank`."""
    found: NDArray[np.bool_] = np.isnan(values)
    large = np.flatnonzero(values >= _LEAST_BLANK)  # few: energy, and what is not known
    found[large] = (values[large] >= _INT64_BLANK) | np.isin(values[large], _ALL_BLANKS)
    return found
