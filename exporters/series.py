"""The metric table: one row = one family. `docs/metrics.md` is generated from it, and a test holds the two together.

To add a metric, add a row: name, type, unit, help that says where it comes from, labels, and a function of
`exporters.view` that finds its rows. No label is ever called job, instance, pod or namespace: Prometheus puts those on
the target, and a collision renames ours.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from exporters import view as v
from exporters.exposition.family import Family

Stability = Literal["stable", "experimental"]
JOB = ("scheduler", "cluster", "job_id")
PROJECT = ("project", "scheduler", "cluster")
SOURCE = ("source", "cluster")


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One family: how it is named, what it says, and how its rows are found."""

    name: str
    type: Literal["gauge", "counter", "info"]
    unit: str
    help: str
    labels: tuple[str, ...]
    rows: v.Rows
    stability: Stability = "experimental"


def version() -> str:
    """The installed version, or ``unknown`` in a checkout that is not installed."""
    try:
        return metadata.version("meterbridge")
    except metadata.PackageNotFoundError:
        return "unknown"


def families(view: v.View) -> list[Family]:
    """Every family of the table with its rows in a stable order."""
    return [Family(r.name, r.help, r.type, r.labels, sorted(r.rows(view))) for r in TABLE]


def _uses() -> list[SeriesRow]:
    """The counters that jobs and projects have alike."""
    quantities = (
        (
            "gpu_seconds",
            "seconds",
            "Card-seconds held, from the scheduler's records: cards times time",
            "gpu_seconds",
        ),
        (
            "gpu_observed_seconds",
            "seconds",
            "Card-seconds held of which device readings tell what was done in them",
            "observed_seconds",
        ),
        (
            "gpu_active_seconds",
            "seconds",
            "Card-seconds in which the engine was busy (DCGM GR_ENGINE_ACTIVE, else GPU_UTIL), integrated",
            "active_seconds",
        ),
        (
            "gpu_tensor_active_seconds",
            "seconds",
            "Card-seconds in which tensor cores were busy (DCGM PIPE_TENSOR_ACTIVE), integrated",
            "tensor_seconds",
        ),
        (
            "gpu_energy_joules",
            "joules",
            "Energy of the cards held (DCGM TOTAL_ENERGY_CONSUMPTION, else power integrated)",
            "energy_joules",
        ),
        (
            "nvlink_transmit_bytes",
            "bytes",
            "NVLink bytes sent by the cards held, headers included",
            "nvlink_transmit_bytes",
        ),
        (
            "nvlink_receive_bytes",
            "bytes",
            "NVLink bytes received by the cards held, headers included",
            "nvlink_receive_bytes",
        ),
        ("gpu_samples", "", "Device readings seen for the cards held", "samples_seen"),
        (
            "gpu_samples_expected",
            "",
            "Device readings that a complete round would have had for the cards held",
            "samples_expected",
        ),
    )
    rows = []
    for name, unit, text, quantity in quantities:
        rows.append(
            SeriesRow(f"meterbridge_job_{name}_total", "counter", unit, f"{text}, per job.", JOB, v.job_uses(quantity))
        )
        rows.append(
            SeriesRow(
                f"meterbridge_project_{name}_total",
                "counter",
                unit,
                f"{text}, per project.",
                PROJECT,
                v.project_uses(quantity),
            )
        )
    return rows


TABLE: tuple[SeriesRow, ...] = (
    SeriesRow(
        "meterbridge_job_info",
        "info",
        "",
        "A job's names, people and state; join it on scheduler, cluster, job_id.",
        (*JOB, "project", "display_id", "name", "user", "account", "partition", "qos", "kind", "state"),
        v.job_info,
    ),
    SeriesRow("meterbridge_job_gpus", "gauge", "", "Cards counted on the job now.", (*JOB, "gpu_model"), v.held_by_job),
    SeriesRow(
        "meterbridge_project_gpus",
        "gauge",
        "",
        "Cards counted on the project now.",
        (*PROJECT, "gpu_model"),
        v.held_by_project,
    ),
    SeriesRow(
        "meterbridge_job_linked_gpus",
        "gauge",
        "",
        "Cards that the job uses inside another job, on which they are counted.",
        (*JOB, "link", "outer_scheduler", "outer_cluster", "outer_job_id"),
        v.shown,
    ),
    SeriesRow(
        "meterbridge_job_card_info",
        "gauge",
        "",
        "A whole card in the job's hands: its machine, index and UUID, as far as known; always 1.",
        (*JOB, "node", "gpu", "uuid"),
        v.cards,
    ),
    SeriesRow(
        "meterbridge_job_gpu_memory_used_bytes",
        "gauge",
        "bytes",
        "Memory in use on the cards of the job (DCGM FB_USED).",
        JOB,
        v.memory_by_job,
    ),
    SeriesRow(
        "meterbridge_project_gpu_memory_used_bytes",
        "gauge",
        "bytes",
        "Memory in use on the cards of the project (DCGM FB_USED).",
        PROJECT,
        v.project_memory,
    ),
    *_uses(),
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
        "meterbridge_orphaned_gpus",
        "gauge",
        "",
        "Cards that a job holds and that the pods it made do not use.",
        JOB,
        v.orphaned,
    ),
    SeriesRow(
        "meterbridge_disputed_gpus",
        "gauge",
        "",
        "Cards with two owners and no link between them, or whose key does not verify, on the later owner.",
        (*JOB, "opponent"),
        v.disputed,
    ),
    SeriesRow(
        "meterbridge_unplaced_gpus",
        "gauge",
        "",
        "Cards claimed on a machine of which no capacity is known.",
        (*JOB, "node"),
        v.unplaced,
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
        "meterbridge_source_success",
        "gauge",
        "",
        "1 when the source's last poll succeeded, else 0: its data is then the last good, and stale.",
        SOURCE,
        v.source(lambda s: s.success),
    ),
    SeriesRow(
        "meterbridge_source_complete",
        "gauge",
        "",
        "1 when the last successful poll read all of the system, 0 when some of it (a few targets) was missing.",
        SOURCE,
        v.source(lambda s: s.complete),
    ),
    SeriesRow(
        "meterbridge_source_last_success_timestamp_seconds",
        "gauge",
        "seconds",
        "When the source was last read; 0 = never. Its age is time() minus this.",
        SOURCE,
        v.source(lambda s: s.last_success),
    ),
    SeriesRow(
        "meterbridge_source_age_seconds",
        "gauge",
        "seconds",
        "Age of the source's data at the last join; +Inf = never read.",
        SOURCE,
        v.source_age,
    ),
    SeriesRow(
        "meterbridge_source_poll_duration_seconds",
        "gauge",
        "seconds",
        "How long the source's last poll took.",
        SOURCE,
        v.source(lambda s: s.duration),
    ),
    SeriesRow(
        "meterbridge_source_polls_total", "counter", "", "Polls of the source.", SOURCE, v.source(lambda s: s.polls)
    ),
    SeriesRow(
        "meterbridge_source_failures_total",
        "counter",
        "",
        "Polls of the source that failed.",
        SOURCE,
        v.source(lambda s: s.failures),
    ),
    SeriesRow(
        "meterbridge_source_rejects_total",
        "counter",
        "",
        "Records of the source that were set aside with a reason.",
        SOURCE,
        v.source(lambda s: s.rejects),
    ),
    SeriesRow(
        "meterbridge_join_duration_seconds",
        "gauge",
        "seconds",
        "How long the last join of all sources took.",
        (),
        lambda view: [((), view.join_seconds)],
    ),
    SeriesRow(
        "meterbridge_join_timestamp_seconds",
        "gauge",
        "seconds",
        "When the last join was made; a scrape serves it unchanged.",
        (),
        lambda view: [((), view.picture.at)],
    ),
    SeriesRow(
        "meterbridge_recorder_pending_rounds",
        "gauge",
        "",
        "Rounds kept in memory because the ledger could not be written.",
        (),
        lambda view: [((), float(view.recorder_pending))],
    ),
    SeriesRow(
        "meterbridge_recorder_last_success_timestamp_seconds",
        "gauge",
        "seconds",
        "When a round was last recorded in the ledger; 0 = never, or no ledger is configured.",
        (),
        lambda view: [((), view.recorder_last)],
    ),
    SeriesRow(
        "meterbridge_build_info",
        "info",
        "",
        "Version of meterbridge and of Python.",
        ("version", "python"),
        lambda _: [((version(), platform.python_version()), 1.0)],
    ),
)


def markdown() -> str:
    """docs/metrics.md: the table, for people."""
    lines = [
        "# Metrics",
        "",
        "Generated from `exporters/series.py` by `make docs`; do not edit. Units are Prometheus base units; cards are",
        "whole GPUs, so half a card reads 0.5. A family marked experimental may still change its name or labels.",
        "",
        "| family | type | labels | meaning | stability |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r.name}` | {r.type} | {', '.join(f'`{x}`' for x in r.labels) or '-'} | {r.help} | {r.stability} |"
        for r in TABLE
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
