"""Families about jobs and projects: who holds what, and what it does."""

from __future__ import annotations

from exporters.series import view as v
from exporters.series.row import JOB, PROJECT, SeriesRow


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


ROWS: tuple[SeriesRow, ...] = (
    SeriesRow(
        "meterbridge_job_info",
        "info",
        "",
        "A job's names, people and state; join it on scheduler, cluster, job_id.",
        (*JOB, "project", "display_id", "name", "user", "account", "partition", "qos", "kind", "state"),
        v.job_info,
    ),
    SeriesRow(
        "meterbridge_job_final",
        "gauge",
        "",
        "1 while a job that holds nothing any more is still shown (job_linger): its totals are final, unless it takes "
        "cards again, as a workload between two pods does.",
        JOB,
        v.final,
        folded="drop",
        merge="max",
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
        "A whole card in the job's hands: its machine, index and UUID, as far as known; always 1. basis is how it is "
        "known: uuid, label, all (of the machine), minor (mapped by the node agent), or assumed (Slurm's number taken "
        "for NVML's index).",
        (*JOB, "node", "gpu", "uuid", "basis"),
        v.cards,
    ),
    SeriesRow(
        "meterbridge_job_submit_timestamp_seconds",
        "gauge",
        "seconds",
        "When the job was submitted, or its workload made.",
        JOB,
        v.submitted,
        folded="drop",
        merge="max",
    ),
    SeriesRow(
        "meterbridge_job_start_timestamp_seconds",
        "gauge",
        "seconds",
        "When the job started.",
        JOB,
        v.started,
        folded="drop",
        merge="max",
    ),
    SeriesRow(
        "meterbridge_job_time_limit_seconds",
        "gauge",
        "seconds",
        "How long the job may run by its scheduler, where it has a limit (Slurm's TimeLimit, by squeue or slurmrestd).",
        JOB,
        v.limits,
        folded="drop",
        merge="max",
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
)
