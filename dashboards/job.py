"""One job of either scheduler: its cards and what they do."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.faults import NOTHING, card_faults
from dashboards.job_machines import host, network, targets
from dashboards.job_queries import (
    CARDS,
    CHOICES,
    ENDS,
    ID,
    JOB,
    PORTS,
    STARTS,
    alerts_about,
    busy_by_kind,
    cards_by_node,
    in_range,
    job_rate,
    why_it_is_slow,
)
from dashboards.parts import choice, lines, named, number, query, rows, to


def job() -> Dashboard:
    """Pick any Slurm job or Kubernetes workload."""
    told = ("display_id", "scheduler", "cluster", "name", "user", "account", "partition", "qos", "kind", "state")
    names = {name: named(name.replace("_", " ")) for name in told}
    return board(
        "job",
        "Job",
        "A Slurm job or a Kubernetes workload: its cards, and what they do.",
        [
            choice(
                "project",
                "Project",
                'label_values(meterbridge_job_info{cluster=~"$cluster"}, project)',
                "narrows the list of jobs",
            ),
            choice(
                "job",
                "Job",
                CHOICES,
                "jobs of the time shown, as people type them; first the one of whose cards most is known",
                several=False,
                ordered=True,
                regex='/display_id="(?<text>[^"]*)".*job_id="(?<value>[^"]*)"/',
            ),
            targets(),
        ],
        [
            (
                "My job is slow: why?",
                [
                    rows(
                        "What holds it back now",
                        "What the job's cards and ports say, in words, and how much of it there is now; the rows below "
                        "show each of them over time.",
                        {"why": named("why"), "Value #A": named("how much", decimals=2)},
                        why_it_is_slow(),
                        span=14,
                        height=5,
                    ),
                    rows(
                        "Alerts about it",
                        "What fires now about the job, its machines or its cards.",
                        {"alertname": named("alert"), "severity": named("severity"), "node": named("machine")},
                        alerts_about(),
                        span=10,
                        height=5,
                    ),
                ],
            ),
            (
                "Who",
                [
                    rows(
                        "Job",
                        "What the scheduler says of the job; several lines when something changed in the time shown.",
                        {**names, "project": named("project", **to("project", "project", project="project"))},
                        f"last_over_time(meterbridge_job_info{JOB}[$__range])",
                        span=24,
                        height=4,
                    ),
                    number(
                        "Waited",
                        "Time from submission to start.",
                        f"max(last_over_time(meterbridge_job_start_timestamp_seconds{JOB}[$__range]))"
                        f" - max(last_over_time(meterbridge_job_submit_timestamp_seconds{JOB}[$__range]))",
                        unit="dtdurations",
                    ),
                    number(
                        "Started",
                        "When the job started.",
                        f"max(last_over_time(meterbridge_job_start_timestamp_seconds{JOB}[$__range])) * 1000",
                        unit="dateTimeAsIso",
                        span=3,
                    ),
                    number(
                        "Run time",
                        "Time from the job's start to when it was last seen with cards.",
                        f"max(timestamp(last_over_time(meterbridge_job_gpus{JOB}[$__range])))"
                        f" - max(last_over_time(meterbridge_job_start_timestamp_seconds{JOB}[$__range]))",
                        unit="dtdurations",
                    ),
                    number(
                        "Time limit",
                        "How long the scheduler lets the job run: no data where it has no limit.",
                        f"max(last_over_time(meterbridge_job_time_limit_seconds{JOB}[$__range]))",
                        unit="dtdurations",
                    ),
                    number(
                        "Cards",
                        "Cards counted on the job (meterbridge_job_gpus).",
                        f"sum(meterbridge_job_gpus{JOB})",
                    ),
                    number(
                        "Machines",
                        "Machines on which the job holds cards.",
                        f"max(meterbridge_job_nodes{JOB})",
                    ),
                    number(
                        "GPU-hours",
                        "Cards times hours held in the time shown.",
                        f"{in_range('gpu_seconds')} / 3600",
                        decimals=2,
                    ),
                    number(
                        "Engines busy",
                        "Busy part of the card-seconds observed.",
                        f"{in_range('gpu_active_seconds')} / {in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.3, "orange"), (0.6, "green")),
                    ),
                    number(
                        "Tensor cores busy",
                        "Part of the card-seconds observed in which tensor cores were busy.",
                        f"{in_range('gpu_tensor_active_seconds')} / {in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                        span=5,
                    ),
                    number(
                        "Energy",
                        "Energy of the job's cards in the time shown.",
                        f"{in_range('gpu_energy_joules')} / 3.6e6",
                        unit="kwatth",
                        decimals=1,
                        span=5,
                    ),
                    number(
                        "Coverage",
                        "Device readings seen, of those that a complete record would have had.",
                        f"{in_range('gpu_samples')} / {in_range('gpu_samples_expected')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.9, "orange"), (0.99, "green")),
                        span=5,
                    ),
                    number(
                        "Disputed cards",
                        "Cards of the job that somebody else holds, too, with no link between the two.",
                        f"sum(max_over_time(meterbridge_disputed_gpus{JOB}[$__range])) or vector(0)",
                        steps=((None, "text"), (0.001, "red")),
                        span=5,
                    ),
                    number(
                        "Orphaned cards",
                        "Cards that the job held and the pods it made did not use: the most at once in the time shown.",
                        f"sum(max_over_time(meterbridge_orphaned_gpus{JOB}[$__range])) or vector(0)",
                        steps=((None, "text"), (0.001, "orange")),
                        span=4,
                    ),
                ],
            ),
            (
                "Cards",
                [
                    lines(
                        "Cards held, observed, busy",
                        "Cards held (by the records), observed (readings tell what they did), and busy: engines, tensor "
                        "cores.",
                        query(job_rate("gpu_seconds"), "held"),
                        query(job_rate("gpu_observed_seconds"), "observed", ref="B"),
                        query(job_rate("gpu_active_seconds"), "engines busy", ref="C"),
                        query(job_rate("gpu_tensor_active_seconds"), "tensor cores busy", ref="D"),
                    ),
                    lines(
                        "Engines by card",
                        "Busy part of the time of each card in the job's hands, as last read.",
                        query(f"meterbridge_card_engine_active_ratio * {CARDS}", "{{node}} GPU {{gpu}}"),
                        unit="percentunit",
                        steps=((None, "transparent"), (0.02, "orange")),
                        most=1,
                    ),
                    lines(
                        "Memory by card",
                        "Memory in use on each card in the job's hands, and of all that is told of the job.",
                        query(f"meterbridge_card_memory_used_bytes * {CARDS}", "{{node}} GPU {{gpu}}"),
                        query(f"sum(meterbridge_job_gpu_memory_used_bytes{JOB})", "all", ref="B"),
                        unit="bytes",
                        span=8,
                    ),
                    lines(
                        "Power of one card, by machine",
                        "Mean power of the job's cards on each machine: the one that draws least falls behind.",
                        query(cards_by_node("power_watts"), "{{node}}"),
                        unit="watt",
                        span=8,
                    ),
                    lines(
                        "Spread over cards",
                        "Distance between the busiest and the idlest card, and between machines: 0 = all work alike.",
                        query(
                            f"max(meterbridge_card_engine_active_ratio * {CARDS})"
                            f" - min(meterbridge_card_engine_active_ratio * {CARDS})",
                            "cards",
                        ),
                        query(
                            f"max({cards_by_node('engine_active_ratio')}) - min({cards_by_node('engine_active_ratio')})",
                            "machines",
                            ref="B",
                        ),
                        unit="percentunit",
                        most=1,
                        span=8,
                    ),
                    lines(
                        "Tensor cores, memory and cores by kind",
                        "Mean part of the time in which they are busy, over the job's cards: a job that stands still uses "
                        "none of them. FP64, FP32 and FP16 where dcgm-exporter tells them.",
                        query(busy_by_kind(), "{{kind}}"),
                        unit="percentunit",
                        most=1,
                        span=8,
                    ),
                    lines(
                        "Power",
                        "Power of the job's cards together: growth of their energy counters.",
                        query(job_rate("gpu_energy_joules"), "power"),
                        unit="watt",
                        span=8,
                    ),
                    lines(
                        "Temperature by card",
                        "Temperature of each card in the job's hands.",
                        query(f"meterbridge_card_temperature_celsius * {CARDS}", "{{node}} GPU {{gpu}}"),
                        unit="celsius",
                        span=8,
                    ),
                    rows(
                        "What its cards report",
                        "What the alerts about cards look at, in the time shown: XIDs, memory errors, throttles, PCIe, "
                        "NVLink.",
                        {
                            "node": named("machine"),
                            "gpu": named("GPU"),
                            "what": named("what"),
                            "Value #A": named("value"),
                        },
                        f"{card_faults(f'* {CARDS}')} {NOTHING}",
                        span=12,
                        height=6,
                        sort="Value #A",
                    ),
                    rows(
                        "Its machines",
                        "Whether each machine's ports are up, by how many, and whether a scheduler takes it for down.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "Value #A": named("schedulers say it works"),
                            "Value #B": named("ports up"),
                            "Value #C": named("ports of the job"),
                        },
                        f"max by (node) (meterbridge_node_scheduler_up and on (node) meterbridge_job_card_info{JOB})",
                        f"sum by (node) (meterbridge_rdma_port_up * {PORTS})",
                        f"max by (node) (meterbridge_rdma_port_up * {PORTS}) * on () group_left() max(meterbridge_job_rdma_ports{JOB})",
                        span=12,
                        height=6,
                    ),
                    rows(
                        "Whose cards",
                        "The whole cards in the job's hands in the time shown.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "gpu": named("GPU"),
                            "uuid": named("UUID"),
                        },
                        f"max by (node, gpu, uuid) (last_over_time(meterbridge_job_card_info{JOB}[$__range]))",
                        span=12,
                        height=7,
                    ),
                    rows(
                        "Linked",
                        "Jobs that live inside this one, or that this one lives inside: their cards are counted once.",
                        {
                            "job_id": named("inner job"),
                            "scheduler": named("of"),
                            "link": named("link"),
                            "outer_job_id": named("counted on"),
                            "outer_scheduler": named("of (outer)"),
                            "Value #A": named("cards"),
                        },
                        f"max_over_time(meterbridge_job_linked_gpus{JOB}[$__range])"
                        f' or max_over_time(meterbridge_job_linked_gpus{{outer_cluster=~"$cluster",outer_job_id=~"{ID}"}}[$__range])',
                        span=12,
                        height=7,
                    ),
                ],
            ),
            ("Between cards and machines", network()),
            ("CPU, memory and files", host()),
        ],
        marks=(("holds cards from here", STARTS, "green"), ("holds none any more", ENDS, "red")),
    )
