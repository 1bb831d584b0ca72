"""What the machines of a job do: the network between them, and, where a site has them, node_exporter's series and others'.

A machine is known to node_exporter by its scrape target. ``node_uname_info`` of node_exporter says which name the target's kernel
has, and that, up to its first dot, is the machine of the job. The board finds the targets first (a variable that nobody
sees), so that the many series of node_exporter are asked of the job's machines alone.
"""

from __future__ import annotations

from typing import Any

from dashboards.job_queries import JOB, job_rate, port_rate
from dashboards.parts import choice, lines, query

_OURS = (
    'max by (host) (label_replace(last_over_time(meterbridge_job_card_info{0}[$__range]), "host", "$1", "node",'
    ' "([^.]+).*"))'
).replace("{0}", JOB)
_TARGETS = (
    'max by (instance, host) (label_replace(last_over_time(node_uname_info{0}[$__range]), "host", "$1", "nodename",'
    ' "([^.]+).*"))'
)
_AT = 'instance=~"$machines"'
_NAMED = f"* on (instance) group_left(host) {_TARGETS.replace('{0}', '{' + _AT + '}')}"
_WHOLE = '{step="",task=""}'
"""A cgroup exporter's series of the whole job on one machine."""
_OF = (
    "* on (jobid) group_left() max by (jobid) (label_replace(last_over_time("
    f'meterbridge_job_info{JOB}[$__range]), "jobid", "$1", "job_id", "([^@]+).*"))'
)
"""Of this job: Slurm's number, without the time of its submission."""


def targets() -> Any:
    """The variable: node_exporter's targets on the job's machines."""
    return choice(
        "machines",
        "Machines of the job",
        f"query_result({_TARGETS.replace('{0}', '')} * on (host) group_left() {_OURS})",
        "node_exporter's targets on the machines of the job",
        regex='/instance="(?<value>[^"]*)"/',
        hidden=True,
    )


def _rate(name: str) -> str:
    return f"sum by (instance) (rate({name}{{{_AT}}}[$__rate_interval]))"


def _scale(name: str) -> str:
    """A counter of gpfs_exporter, per second, by machine: its targets are named by their address."""
    rate = f'label_replace(rate({name}[$__rate_interval]), "host", "$1", "instance", "([^.:]+).*")'
    return f"sum by (host) ({rate}) and on (host) {_OURS}"


def host() -> list[Any]:
    """CPU, memory and file I/O of the job's machines, and of the job on them."""
    busy = f'1 - avg by (instance) (rate(node_cpu_seconds_total{{{_AT},mode="idle"}}[$__rate_interval]))'
    used = (
        f"1 - max by (instance) (node_memory_MemAvailable_bytes{{{_AT}}})"
        f" / max by (instance) (node_memory_MemTotal_bytes{{{_AT}}})"
    )
    return [
        lines(
            "CPU of its machines",
            "Busy part of the CPU time of each of the job's machines (node_exporter), and of the CPUs that the job was "
            "given there (cgroup exporter). Busy CPUs beside idle cards: the job waits for its own data loaders.",
            query(f"({busy}) {_NAMED}", "{{host}}"),
            query(
                f"sum by (instance) (rate(cgroup_cpu_total_seconds{_WHOLE}[$__rate_interval]) {_OF})"
                f" / sum by (instance) (cgroup_cpus{_WHOLE} {_OF})",
                "of the job on {{instance}}",
                ref="B",
            ),
            unit="percentunit",
            most=1,
            span=8,
        ),
        lines(
            "Memory of its machines",
            "Part of the memory of each of the job's machines that is in use (node_exporter), and of the job's limit "
            "there (cgroup exporter). At the limit the kernel ends the job.",
            query(f"({used}) {_NAMED}", "{{host}}"),
            query(
                f"sum by (instance) (cgroup_memory_rss_bytes{_WHOLE} {_OF})"
                f" / sum by (instance) (cgroup_memory_total_bytes{_WHOLE} {_OF})",
                "of the job on {{instance}}",
                ref="B",
            ),
            unit="percentunit",
            most=1,
            span=8,
        ),
        lines(
            "File I/O of its machines",
            "Bytes a second that each of the job's machines reads and writes: local disks and NFS (node_exporter, NFS with "
            "its mountstats collector), Storage Scale (gpfs_exporter on the same machine).",
            query(f"{_rate('node_disk_read_bytes_total')} {_NAMED}", "{{host}} disk read"),
            query(f"{_rate('node_disk_written_bytes_total')} {_NAMED}", "{{host}} disk written", ref="B"),
            query(f"{_rate('node_mountstats_nfs_total_read_bytes_total')} {_NAMED}", "{{host}} NFS read", ref="C"),
            query(f"{_rate('node_mountstats_nfs_total_write_bytes_total')} {_NAMED}", "{{host}} NFS written", ref="D"),
            query(_scale("gpfs_perf_read_bytes_total"), "{{host}} Storage Scale read", ref="E"),
            query(_scale("gpfs_perf_write_bytes_total"), "{{host}} Storage Scale written", ref="F"),
            unit="Bps",
            span=8,
        ),
    ]


def network() -> list[Any]:
    """NVLink and RoCE: bytes, pauses, marks and losses."""
    return [
        lines(
            "NVLink",
            "Bytes a second between the job's cards of one machine, headers included.",
            query(job_rate("nvlink_transmit_bytes"), "sent"),
            query(job_rate("nvlink_receive_bytes"), "received", ref="B"),
            unit="Bps",
            span=8,
        ),
        lines(
            "RoCE by machine",
            "Bytes a second through the RDMA ports of each of the job's machines. Ports that it shares count whole.",
            query(port_rate("transmit_bytes"), "{{node}} sent"),
            query(port_rate("receive_bytes"), "{{node}} received", ref="B"),
            unit="Bps",
            span=8,
        ),
        lines(
            "Paused by the network, by machine",
            "Part of the time in which the network paused the job's machines (victims), all ports of a "
            "machine together.",
            query(port_rate("pause_received_seconds"), "{{node}}"),
            unit="percentunit",
            steps=((None, "transparent"), (0.05, "orange"), (0.25, "red")),
            span=8,
        ),
        lines(
            "Pausing the network, by machine",
            "Part of the time in which the job's machines paused the network: the slow receivers.",
            query(port_rate("pause_transmitted_seconds"), "{{node}}"),
            unit="percentunit",
            steps=((None, "transparent"), (0.01, "orange"), (0.1, "red")),
            span=12,
        ),
        lines(
            "Congestion marks and losses",
            "Packets a second on the job's ports: marked on the way, out of sequence, sent again.",
            query(port_rate("ce_marked_packets"), "marked on {{node}}", ref="D"),
            query(port_rate("receive_packets"), "received by {{node}}", ref="E"),
            query(job_rate("rdma_ce_marked_packets"), "marked"),
            query(job_rate("rdma_out_of_sequence_packets"), "out of sequence", ref="B"),
            query(job_rate("rdma_retransmissions"), "sent again", ref="C"),
            unit="pps",
            span=12,
        ),
    ]
