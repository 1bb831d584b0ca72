"""One job of either scheduler: its cards and what they do."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.faults import NOTHING, card_faults
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


_ACTIVE = (
    f"sum(rate(meterbridge_job_gpu_active_seconds_total{_JOB}[10m]))"
    f" / sum(rate(meterbridge_job_gpu_observed_seconds_total{_JOB}[10m]))"
)


def _mean(name: str) -> str:
    return f"avg(meterbridge_card_{name} * {_CARDS})"


def _by_node(name: str) -> str:
    return f"avg by (node) (meterbridge_card_{name} * {_CARDS})"


def _by_kind() -> str:
    """How busy each kind of core, and the memory, is on average."""
    kinds = (
        ("tensor cores", "tensor_active_ratio"),
        ("memory", "memory_active_ratio"),
        ("FP64 cores", "fp64_active_ratio"),
        ("FP32 cores", "fp32_active_ratio"),
        ("FP16 cores", "fp16_active_ratio"),
    )
    return " or ".join(f'label_replace({_mean(name)}, "kind", "{kind}", "", "")' for kind, name in kinds)


def _why() -> str:
    """What holds the job back now, in words; the value is how much of it."""
    power = _by_node("power_watts")
    reasons = f"floor(meterbridge_card_clock_event_reasons / 8) % 32 * {_CARDS}"
    paused = f"max by (node) (rate(meterbridge_rdma_port_pause_received_seconds_total[5m]) * {_PORTS})"
    quiet = f"sum(rate(meterbridge_rdma_port_receive_bytes_total[5m]) * {_PORTS}) < 1e6"
    tensor = _mean("tensor_active_ratio")
    told = (
        ("its cards are idle: it waits for data, for the host or for a person", f"sum({_ACTIVE}) < 0.5"),
        ("its cards work without tensor cores and its network is silent: it may stand still",
         f"(sum({_ACTIVE}) > 0.5) and on () ({tensor} < 0.02) and on () ({quiet})"),
        ("one node falls behind: it draws less than the others",
         f"min({power}) / quantile(0.5, {power}) < 0.75"),
        ("cards are held back by heat, power or their hardware", f"avg(({reasons}) > bool 0) > 0"),
        ("the network pauses its ports", f"max({paused}) > 0.05"),
        ("packets are lost and sent again", f"sum(rate(meterbridge_job_rdma_retransmissions_total{_JOB}[5m])) > 0"),
    )  # fmt: skip
    found = " or ".join(f'label_replace({expr}, "why", "{text}", "", "")' for text, expr in told)
    return f'{found} or on () label_replace(vector(1), "why", "nothing stands out", "", "")'


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
                "My job is slow: why?",
                [
                    rows(
                        "What holds it back now",
                        "What the job's cards and ports say, in words, and how much of it there is now; the rows below "
                        "show each of them over time.",
                        {"why": named("why"), "Value #A": named("how much", decimals=2)},
                        _why(),
                        span=14,
                        height=6,
                    ),
                    rows(
                        "Alerts about it",
                        "What fires now about the job, its machines or its cards.",
                        {"alertname": named("alert"), "severity": named("severity"), "node": named("machine")},
                        'max by (alertname, severity, node) (ALERTS{alertstate="firing",job_id=~"$job"})'
                        ' or on () label_replace(vector(0), "alertname", "none", "", "")',
                        span=10,
                        height=6,
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
                        f"last_over_time(meterbridge_job_info{_JOB}[$__range])",
                        span=24,
                        height=4,
                    ),
                    number(
                        "Waited",
                        "Time from submission to start.",
                        f"max(last_over_time(meterbridge_job_start_timestamp_seconds{_JOB}[$__range]))"
                        f" - max(last_over_time(meterbridge_job_submit_timestamp_seconds{_JOB}[$__range]))",
                        unit="dtdurations",
                    ),
                    number(
                        "Started",
                        "When the job started.",
                        f"max(last_over_time(meterbridge_job_start_timestamp_seconds{_JOB}[$__range])) * 1000",
                        unit="dateTimeAsIso",
                        span=6,
                    ),
                    number(
                        "Run time",
                        "Time from the job's start to when it was last seen with cards.",
                        f"max(timestamp(last_over_time(meterbridge_job_gpus{_JOB}[$__range])))"
                        f" - max(last_over_time(meterbridge_job_start_timestamp_seconds{_JOB}[$__range]))",
                        unit="dtdurations",
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
                        "Disputed cards",
                        "Cards of the job that somebody else holds, too, with no link between the two.",
                        f"sum(max_over_time(meterbridge_disputed_gpus{_JOB}[$__range])) or vector(0)",
                        steps=((None, "text"), (0.001, "red")),
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
                        "Memory by card",
                        "Memory in use on each card in the job's hands, and of all that is told of the job.",
                        query(f"meterbridge_card_memory_used_bytes * {_CARDS}", "{{node}} GPU {{gpu}}"),
                        query(f"sum(meterbridge_job_gpu_memory_used_bytes{_JOB})", "all", ref="B"),
                        unit="bytes",
                        span=8,
                    ),
                    lines(
                        "Power of one card, by machine",
                        "Mean power of the job's cards on each machine: the one that draws least falls behind.",
                        query(_by_node("power_watts"), "{{node}}"),
                        unit="watt",
                        span=8,
                    ),
                    lines(
                        "Spread over cards",
                        "Distance between the busiest and the idlest card, and between machines: 0 = all work alike.",
                        query(
                            f"max(meterbridge_card_engine_active_ratio * {_CARDS})"
                            f" - min(meterbridge_card_engine_active_ratio * {_CARDS})",
                            "cards",
                        ),
                        query(
                            f"max({_by_node('engine_active_ratio')}) - min({_by_node('engine_active_ratio')})",
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
                        query(_by_kind(), "{{kind}}"),
                        unit="percentunit",
                        most=1,
                        span=8,
                    ),
                    lines(
                        "Power",
                        "Power of the job's cards together: growth of their energy counters.",
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
                        "What its cards report",
                        "What the alerts about cards look at, in the time shown: XIDs, memory errors, throttles, PCIe, "
                        "NVLink.",
                        {
                            "node": named("machine"),
                            "gpu": named("GPU"),
                            "what": named("what"),
                            "Value #A": named("value"),
                        },
                        f"{card_faults(f'* {_CARDS}')} {NOTHING}",
                        span=12,
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
                        f"max by (node) (meterbridge_node_scheduler_up and on (node) meterbridge_job_card_info{_JOB})",
                        f"sum by (node) (meterbridge_rdma_port_up * {_PORTS})",
                        f"max by (node) (meterbridge_rdma_port_up * {_PORTS}) * on () group_left() max(meterbridge_job_rdma_ports{_JOB})",
                        span=12,
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
                        query(_port("ce_marked_packets"), "marked on {{node}}", ref="D"),
                        query(_port("receive_packets"), "received by {{node}}", ref="E"),
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
