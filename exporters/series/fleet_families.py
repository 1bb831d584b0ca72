"""Families about the fleet and its machines: every card in exactly one of the six dispositions."""

from __future__ import annotations

from exporters.series import card_view as c
from exporters.series import view as v
from exporters.series.row import SeriesRow

ROWS: tuple[SeriesRow, ...] = (
    SeriesRow(
        "meterbridge_fleet_gpus",
        "gauge",
        "",
        "Cards of the fleet by disposition: charged, reserved, idle, down, disputed, unknown; they sum to capacity.",
        ("gpu_model", "disposition"),
        v.fleet,
    ),
    SeriesRow("meterbridge_fleet_capacity_gpus", "gauge", "", "Cards of the fleet.", ("gpu_model",), v.fleet_capacity),
    SeriesRow(
        "meterbridge_node_gpus",
        "gauge",
        "",
        "Cards of one machine by disposition; they sum to its cards.",
        ("node", "gpu_model", "disposition"),
        v.nodes,
    ),
    SeriesRow(
        "meterbridge_pending_gpus",
        "gauge",
        "",
        "Cards that waiting jobs ask for.",
        ("scheduler", "cluster"),
        v.pending,
    ),
    SeriesRow(
        "meterbridge_devices",
        "gauge",
        "",
        "Devices (cards and MIG instances) read in the last round, by whether an owner is known.",
        ("owned",),
        v.devices,
    ),
    SeriesRow(
        "meterbridge_node_scheduler_up",
        "gauge",
        "",
        "1 when the scheduler says that the machine takes work, 0 when it is drained, down, cordoned or not ready.",
        ("node", "scheduler", "cluster"),
        c.scheduler_up,
    ),
)
