"""The RoCE fabric: who pauses whom, where it is congested, where packets are lost, and whose jobs suffer."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.faults import NOTHING, port_faults
from dashboards.parts import COUNT, JOB, choice, lines, named, number, query, rows, to

_AT = '{node=~"$node",device=~"$device"}'
_OF = (
    'and on (node) (meterbridge_rdma_port_job_info{project=~"$project",job_id=~"$job"}'
    ' or meterbridge_rdma_port_up{node=~"$job",node=~"$project"})'
)
"""Machines of the jobs and projects chosen. Where all are (a pattern that fits every name), also those without a job."""
_PORT = "{{node}} {{device}}/{{port}}"


def _rate(name: str, more: str = "") -> str:
    labels = _AT if not more else f"{_AT[:-1]},{more}}}"
    return f"(rate(meterbridge_rdma_port_{name}_total{labels}[$__rate_interval]) {_OF})"


def _top(name: str) -> str:
    return f"topk(10, sum by (node, device, port) ({_rate(name)}))"


def _grown(name: str) -> str:
    return f"sum by (node, device, port) (increase(meterbridge_rdma_port_{name}_total{_AT}[$__range]) {_OF})"


def fabric() -> Dashboard:
    """By port, machine and job: victims and slow receivers."""
    port = {
        "node": named("machine", **to("fabric", "this machine", node="node")),
        "device": named("device"),
        "port": named("port"),
    }
    return board(
        "fabric",
        "Fabric",
        "RoCE by port, machine and job. Who is paused is a victim; who pauses is the cause.",
        [
            choice(
                "project",
                "Project",
                "label_values(meterbridge_rdma_port_job_info, project)",
                "machines with a job of the project",
            ),
            choice(
                "job",
                "Job",
                'label_values(meterbridge_rdma_port_job_info{project=~"$project"}, job_id)',
                "machines of the job",
            ),
            choice("node", "Machine", "label_values(meterbridge_rdma_port_up, node)", "machines with RDMA ports"),
            choice("device", "Device", 'label_values(meterbridge_rdma_port_up{node=~"$node"}, device)', "RDMA devices"),
        ],
        [
            (
                "Now",
                [
                    number("Ports up", "Ports that are active.", f"sum(meterbridge_rdma_port_up{_AT} {_OF})"),
                    number(
                        "Ports down",
                        "Ports that are not active.",
                        f"count(meterbridge_rdma_port_up{_AT} {_OF}) - sum(meterbridge_rdma_port_up{_AT} {_OF})",
                        steps=((None, "text"), (1, "red")),
                    ),
                    number(
                        "Throughput",
                        "Bytes a second received by all ports.",
                        f"sum({_rate('receive_bytes')})",
                        unit="Bps",
                    ),
                    number(
                        "Most paused port",
                        "Part of the time in which the network paused the worst victim.",
                        f"max({_rate('pause_received_seconds')})",
                        unit="percentunit",
                        steps=((None, "green"), (0.05, "orange"), (0.25, "red")),
                    ),
                    number(
                        "Slowest receiver",
                        "Part of the time in which the worst receiver paused the network.",
                        f"max({_rate('pause_transmitted_seconds')})",
                        unit="percentunit",
                        steps=((None, "green"), (0.01, "orange"), (0.1, "red")),
                    ),
                    number(
                        "Marked packets",
                        "Part of the packets received that were marked on the way (ECN).",
                        f"sum({_rate('ce_marked_packets')}) / sum({_rate('receive_packets')})",
                        unit="percentunit",
                        steps=((None, "green"), (0.05, "orange"), (0.2, "red")),
                    ),
                    number(
                        "Discards",
                        "Packets a second that ports discarded: on a lossless class there should be none.",
                        f"sum({_rate('discards')})",
                        unit="pps",
                        steps=((None, "green"), (0.001, "red")),
                    ),
                    number(
                        "Broken connections",
                        "Connections broken in the time shown because the last retry failed.",
                        f"sum(increase(meterbridge_rdma_port_retries_exceeded_total{_AT}[$__range])) or vector(0)",
                        decimals=0,
                        steps=((None, "green"), (0.5, "red")),
                    ),
                ],
            ),
            (
                "Cause and victims",
                [
                    lines(
                        "Slow receivers",
                        "Part of the time in which a port paused the network: its machine cannot take what it is sent.",
                        query(_top("pause_transmitted_seconds"), _PORT),
                        unit="percentunit",
                        steps=((None, "transparent"), (0.01, "orange"), (0.1, "red")),
                    ),
                    lines(
                        "Victims",
                        "Part of the time in which the network paused a port: it may not send.",
                        query(_top("pause_received_seconds"), _PORT),
                        unit="percentunit",
                        steps=((None, "transparent"), (0.05, "orange"), (0.25, "red")),
                    ),
                    rows(
                        "Jobs held up",
                        "Ports whose pauses hold up a job, and the part that its machine plays.",
                        {
                            "display_id": named("job", **to("job", "job", job="job_id")),
                            "project": named("project", **to("project", "project", project="project")),
                            **port,
                            "role": named("role"),
                            "shared": named("port shared"),
                            "job_id": {"custom.hidden": True},
                        },
                        f"max by ({JOB}, project, node, device, port, role, shared) (max_over_time("
                        f'meterbridge_job_fabric_suspect{{node=~"$node",cluster=~"$cluster"}}[$__range]))'
                        f" * on ({JOB}) group_left(display_id) topk by ({JOB}) (1,"
                        ' last_over_time(meterbridge_job_info{cluster=~"$cluster"}[$__range]))',
                        span=24,
                        height=6,
                    ),
                ],
            ),
            (
                "Congestion",
                [
                    lines(
                        "Marked packets by port",
                        "Part of the packets received that were marked on the way (ECN).",
                        query(
                            f"topk(10, sum by (node, device, port) ({_rate('ce_marked_packets')})"
                            f" / sum by (node, device, port) ({_rate('receive_packets')}))",
                            _PORT,
                        ),
                        unit="percentunit",
                        steps=((None, "transparent"), (0.05, "orange"), (0.2, "red")),
                        span=8,
                    ),
                    lines(
                        "Congestion notifications",
                        "CNPs a second over all ports: sent by receivers of marked packets, handled by senders, ignored. "
                        "Marks without CNPs, or ignored CNPs: congestion control is not set up.",
                        query(f"sum({_rate('cnp_sent_packets')})", "sent"),
                        query(f"sum({_rate('cnp_handled_packets')})", "handled", ref="B"),
                        query(f"sum({_rate('cnp_ignored_packets')})", "ignored", ref="C"),
                        unit="pps",
                        span=8,
                    ),
                    lines(
                        "Pause frames",
                        "Pause frames a second over all ports.",
                        query(f"sum({_rate('pause_received_frames')})", "received"),
                        query(f"sum({_rate('pause_transmitted_frames')})", "sent", ref="B"),
                        unit="pps",
                        span=8,
                    ),
                ],
            ),
            (
                "Loss",
                [
                    lines(
                        "Discards by port",
                        "Packets a second that a port discarded.",
                        query(_top("discards"), _PORT),
                        unit="pps",
                        steps=((None, "transparent"), (100, "orange")),
                        span=8,
                    ),
                    lines(
                        "Loss recovery",
                        "What repairs losses, a second over all ports: packets sent again, sequence errors, packets out "
                        "of sequence.",
                        query(f"sum({_rate('retransmissions')})", "sent again"),
                        query(f"sum({_rate('sequence_errors')})", "sequence errors", ref="B"),
                        query(f"sum({_rate('out_of_sequence_packets')})", "out of sequence", ref="C"),
                        unit="pps",
                        span=8,
                    ),
                    lines(
                        "Timeouts",
                        "Expired acknowledgement timers a second, by port.",
                        query(_top("ack_timeouts"), _PORT),
                        unit="ops",
                        steps=((None, "transparent"), (1, "orange")),
                        span=8,
                    ),
                ],
            ),
            (
                "Links",
                [
                    rows(
                        "What links and ports report",
                        "What the alerts about links look at, in the time shown: storms, errors, flaps, recoveries, slow links, "
                        "bonds with a link that is down.",
                        {**port, "what": named("what"), "Value #A": named("value", unit=COUNT)},
                        f"{port_faults(_AT)} {NOTHING}",
                        span=13,
                        height=7,
                        sort="Value #A",
                    ),
                    rows(
                        "Machines out of service",
                        "Machines that a scheduler takes for down, or that the schedulers disagree about "
                        "(meterbridge_node_scheduler_up), of those with ports.",
                        {
                            "node": named("machine", **to("fabric", "this machine", node="node")),
                            "scheduler": named("scheduler"),
                            "what": named("what"),
                        },
                        'label_replace(max by (node, scheduler) (meterbridge_node_scheduler_up{node=~"$node"}) == 0, "what",'
                        f' "out of service", "", "") {NOTHING}',
                        span=8,
                        height=7,
                    ),
                    number(
                        "Lossless priorities",
                        "Priorities that the site calls lossless (rdma.lossless_priorities): a discard on one is a page.",
                        "max by (priority) (meterbridge_rdma_lossless_priority_info)",
                        legend="{{priority}}",
                        words=True,
                        span=3,
                        height=7,
                    ),
                ],
            ),
            (
                "Ports",
                [
                    lines(
                        "Throughput by machine",
                        "Bytes a second through all ports of a machine, sent; the ten most.",
                        query(f"topk(10, sum by (node) ({_rate('transmit_bytes')}))", "{{node}}"),
                        unit="Bps",
                    ),
                    rows(
                        "Ports in the time shown",
                        "What each port saw in the time shown.",
                        {
                            **port,
                            "Value #A": named("paused", unit="s"),
                            "Value #B": named("pausing", unit="s"),
                            "Value #C": named("marked", unit=COUNT),
                            "Value #D": named("discarded", unit=COUNT),
                            "Value #E": named("jobs now"),
                        },
                        _grown("pause_received_seconds"),
                        _grown("pause_transmitted_seconds"),
                        _grown("ce_marked_packets"),
                        _grown("discards"),
                        f"max by (node, device, port) (meterbridge_rdma_port_jobs{_AT} {_OF})",
                        span=12,
                        sort="Value #B",
                    ),
                ],
            ),
        ],
    )
