"""One job of either scheduler: its cards and what they do."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.parts import lines, named, number, query, rows, to
from dashboards.variables import choice

_JOB = '{cluster=~"$cluster",job_id=~"$job"}'
_PORTS = f"on (node, device, port) group by (node, device, port) (meterbridge_rdma_port_job_info{_JOB})"
_CARDS = f"on (node, gpu) group by (node, gpu) (meterbridge_job_card_info{_JOB})"


def _rate(name: str) -> str:
    return f"sum(rate(meterbridge_job_{name}_total{_JOB}[$__rate_interval]))"


def _in_range(name: str) -> str:
    return f"sum(increase(meterbridge_job_{name}_total{_JOB}[$__range]))"


def _port(name: str) -> str:
    return f"sum by (node) (rate(meterbridge_rdma_port_{name}_total[$__rate_interval]) * {_PORTS})"


def job() -> Dashboard:
    """Pick any Slurm job or Kubernetes workload."""
    names = {
        name: named(name.replace("_", " "))
        for name in (
            "display_id",
            "scheduler",
            "cluster",
            "name",
            "user",
            "account",
            "partition",
            "qos",
            "kind",
            "state",
        )
    }
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
                'query_result(last_over_time(meterbridge_job_info{cluster=~"$cluster",project=~"$project"}[$__range]))',
                "jobs of the time shown, as people type them",
                several=False,
                regex='/display_id="(?<text>[^"]*)".*job_id="(?<value>[^"]*)"/',
            ),
        ],
        [
            (
                "Who",
                [
                    rows(
                        "Job",
                        "What the scheduler says of the job; several lines when something changed in the time shown.",
                        {**names, "project": named("project", **to("project", "project", project="project"))},
                        f"last_over_time(meterbridge_job_info{_JOB}[$__range])",
                        span=24,
                        height=4,
                    ),
                    number(
                        "Cards",
                        "Cards counted on the job (meterbridge_job_gpus).",
                        f"sum(meterbridge_job_gpus{_JOB})",
                    ),
                    number(
                        "Machines",
                        "Machines on which the job holds cards.",
                        f"max(meterbridge_job_nodes{_JOB})",
                    ),
                    number(
                        "GPU-hours",
                        "Cards times hours held in the time shown.",
                        f"{_in_range('gpu_seconds')} / 3600",
                        decimals=2,
                    ),
                    number(
                        "Engines busy",
                        "Busy part of the card-seconds observed.",
                        f"{_in_range('gpu_active_seconds')} / {_in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.3, "orange"), (0.6, "green")),
                    ),
                    number(
                        "Tensor cores busy",
                        "Part of the card-seconds observed in which tensor cores were busy.",
                        f"{_in_range('gpu_tensor_active_seconds')} / {_in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                    ),
                    number(
                        "Energy",
                        "Energy of the job's cards in the time shown.",
                        f"{_in_range('gpu_energy_joules')} / 3.6e6",
                        unit="kwatth",
                        decimals=1,
                    ),
                    number(
                        "Coverage",
                        "Device readings seen, of those that a complete record would have had.",
                        f"{_in_range('gpu_samples')} / {_in_range('gpu_samples_expected')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.9, "orange"), (0.99, "green")),
                    ),
                    number(
                        "Orphaned cards",
                        "Cards that the job held and the pods it made did not use: the most at once in the time shown.",
                        f"sum(max_over_time(meterbridge_orphaned_gpus{_JOB}[$__range])) or vector(0)",
                        steps=((None, "text"), (0.001, "orange")),
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
                        query(_rate("gpu_seconds"), "held"),
                        query(_rate("gpu_observed_seconds"), "observed", ref="B"),
                        query(_rate("gpu_active_seconds"), "engines busy", ref="C"),
                        query(_rate("gpu_tensor_active_seconds"), "tensor cores busy", ref="D"),
                    ),
                    lines(
                        "Engines by card",
                        "Busy part of the time of each card in the job's hands, as last read.",
                        query(f"meterbridge_card_engine_active_ratio * {_CARDS}", "{{node}} GPU {{gpu}}"),
                        unit="percentunit",
                        most=1,
                    ),
                    lines(
                        "Memory in use",
                        "GPU memory in use on the job's cards.",
                        query(f"sum(meterbridge_job_gpu_memory_used_bytes{_JOB})", "in use"),
                        unit="bytes",
                        span=8,
                    ),
                    lines(
                        "Power",
                        "Power of the job's cards: growth of their energy counters.",
                        query(_rate("gpu_energy_joules"), "power"),
                        unit="watt",
                        span=8,
                    ),
                    lines(
                        "Temperature by card",
                        "Temperature of each card in the job's hands.",
                        query(f"meterbridge_card_temperature_celsius * {_CARDS}", "{{node}} GPU {{gpu}}"),
                        unit="celsius",
                        span=8,
                    ),
                    rows(
                        "Whose cards",
                        "The whole cards in the job's hands in the time shown.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "gpu": named("GPU"),
                            "uuid": named("UUID"),
                        },
                        f"max by (node, gpu, uuid) (last_over_time(meterbridge_job_card_info{_JOB}[$__range]))",
                        span=12,
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
                        f"max_over_time(meterbridge_job_linked_gpus{_JOB}[$__range])"
                        ' or max_over_time(meterbridge_job_linked_gpus{outer_cluster=~"$cluster",outer_job_id=~"$job"}[$__range])',
                        span=12,
                    ),
                ],
            ),
            (
                "Between cards and machines",
                [
                    lines(
                        "NVLink",
                        "Bytes a second between the job's cards of one machine, headers included.",
                        query(_rate("nvlink_transmit_bytes"), "sent"),
                        query(_rate("nvlink_receive_bytes"), "received", ref="B"),
                        unit="Bps",
                        span=8,
                    ),
                    lines(
                        "RoCE by machine",
                        "Bytes a second through the RDMA ports of each of the job's machines. Ports that it shares count "
                        "whole.",
                        query(_port("transmit_bytes"), "{{node}} sent"),
                        query(_port("receive_bytes"), "{{node}} received", ref="B"),
                        unit="Bps",
                        span=8,
                    ),
                    lines(
                        "Paused by the network, by machine",
                        "Part of the time in which the network paused the job's machines (victims), all ports of a "
                        "machine together.",
                        query(_port("pause_received_seconds"), "{{node}}"),
                        unit="percentunit",
                        span=8,
                    ),
                    lines(
                        "Pausing the network, by machine",
                        "Part of the time in which the job's machines paused the network: the slow receivers.",
                        query(_port("pause_transmitted_seconds"), "{{node}}"),
                        unit="percentunit",
                        span=8,
                    ),
                    lines(
                        "Congestion marks and losses",
                        "Packets a second on the job's ports: marked on the way, out of sequence, sent again.",
                        query(_rate("rdma_ce_marked_packets"), "marked"),
                        query(_rate("rdma_out_of_sequence_packets"), "out of sequence", ref="B"),
                        query(_rate("rdma_retransmissions"), "sent again", ref="C"),
                        unit="pps",
                        span=8,
                    ),
                ],
            ),
        ],
    )
