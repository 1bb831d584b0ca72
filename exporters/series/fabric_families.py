"""Families about the RoCE fabric: what each RDMA port counts, whose ports they are, and who holds up whom."""

from __future__ import annotations

from exporters.fabric_model import LABELS, OF_JOBS, PortQuantity
from exporters.series import fabric_view as f
from exporters.series.row import JOB, PROJECT, SeriesRow

PORT = ("node", "device", "port")

_Q = PortQuantity
_TEXTS: dict[PortQuantity, tuple[str, str]] = {
    _Q.RECEIVE_BYTES: ("bytes", "RDMA bytes received (port_rcv_data)"),
    _Q.TRANSMIT_BYTES: ("bytes", "RDMA bytes sent (port_xmit_data)"),
    _Q.RECEIVE_PACKETS: ("", "RDMA packets received (port_rcv_packets)"),
    _Q.TRANSMIT_PACKETS: ("", "RDMA packets sent (port_xmit_packets)"),
    _Q.CE_MARKED: ("", "RoCE packets that arrived marked: congestion on the way here (np_ecn_marked_roce_packets)"),
    _Q.CNP_SENT: ("", "Congestion notifications sent back to senders (np_cnp_sent)"),
    _Q.CNP_HANDLED: ("", "Congestion notifications that slowed this sender down (rp_cnp_handled)"),
    _Q.CNP_IGNORED: ("", "Congestion notifications ignored: congestion control is off here (rp_cnp_ignored)"),
    _Q.OUT_OF_SEQUENCE: ("", "Packets received out of sequence: loss, or several paths (out_of_sequence)"),
    _Q.ACK_TIMEOUTS: ("", "Expired acknowledgement timers, recovered (local_ack_timeout_err)"),
    _Q.SEQUENCE_ERRORS: ("", "Sequence errors told by receivers (packet_seq_err and implied_nak_seq_err)"),
    _Q.RNR_NAKS: ("", "Receiver-not-ready answers, retried (rnr_nak_retry_err)"),
    _Q.RETRANSMISSIONS: ("", "Packets sent again (roce_adp_retrans, to_retransmits, retrans_pkts)"),
    _Q.SLOW_RESTARTS: ("", "Flows restarted slowly (roce_slow_restart)"),
    _Q.RETRIES_EXCEEDED: ("", "Connections broken because the last retry failed (req_*_retries_exceeded)"),
    _Q.PAUSE_RECEIVED_SECONDS: ("seconds", "Time in which the network paused this sender"),
    _Q.PAUSE_TRANSMITTED_SECONDS: ("seconds", "Time in which this receiver paused the network"),
    _Q.PAUSE_RECEIVED_FRAMES: ("", "Pause frames received"),
    _Q.PAUSE_TRANSMITTED_FRAMES: ("", "Pause frames sent"),
    _Q.PAUSE_STORM_EVENTS: ("", "Storms of pause frames that the driver saw (warning) or broke off (error)"),
    _Q.DISCARDS: ("", "Packets discarded, by direction and priority; priority empty is the whole port"),
    _Q.LINK_DOWNED: ("", "Times the link went down (link_down_events_phy, or link_downed)"),
    _Q.CARRIER_LOST: (
        "",
        "Times the network interface lost its carrier (carrier_down_count, or half of carrier_changes)",
    ),
    _Q.LINK_RECOVERIES: ("", "Times the link recovered from an error by itself (link_error_recovery)"),
    _Q.LINK_INTEGRITY_ERRORS: ("", "Times errors on the link passed its threshold (local_link_integrity_errors)"),
    _Q.RECEIVE_ERRORS: ("", "Packets received with an error (port_rcv_errors)"),
    _Q.BUFFER_OVERRUNS: ("", "Times the receive buffer overran (excessive_buffer_overrun_errors)"),
    _Q.SYMBOL_ERRORS: ("", "Symbol errors on the wire"),
    _Q.ICRC_ERRORS: ("", "RoCE packets whose checksum was wrong (rx_icrc_encapsulated)"),
}
"""Unit and meaning of each quantity."""


def _ports() -> list[SeriesRow]:
    """What each port counts."""
    return [
        SeriesRow(
            f"meterbridge_rdma_port_{q.value}_total",
            "counter",
            unit,
            f"{text}, since the port was first read.",
            (*PORT, *LABELS.get(q, ())),
            f.port_counter(q),
        )
        for q, (unit, text) in _TEXTS.items()
    ]


def _owners() -> list[SeriesRow]:
    """What jobs and projects have of it."""
    rows = []
    for q in OF_JOBS:
        unit, text = _TEXTS[q]
        rows.append(
            SeriesRow(
                f"meterbridge_job_rdma_{q.value}_total",
                "counter",
                unit,
                f"{text}, on the job's ports; whole, not a part, where the ports are shared.",
                (*JOB, "shared"),
                f.job_counter(q),
                folded="drop",
            )
        )
        rows.append(
            SeriesRow(
                f"meterbridge_project_rdma_{q.value}_total",
                "counter",
                unit,
                f"{text}, on the project's ports; whole, not a part, where another project shares them.",
                (*PROJECT, "shared"),
                f.project_counter(q),
            )
        )
    return rows


ROWS: tuple[SeriesRow, ...] = (
    SeriesRow(
        "meterbridge_rdma_port_info",
        "info",
        "",
        "A port of an RDMA device; what is not known is empty. role is compute, storage, management (rdma.roles) or "
        "virtual; only ports for compute are of the jobs on their machine.",
        (*PORT, "netdev", "link_layer", "driver", "pci_address", "numa_node", "firmware", "role"),
        f.port_info,
    ),
    SeriesRow("meterbridge_rdma_port_up", "gauge", "", "1 when the port is active, else 0.", PORT, f.port_up),
    SeriesRow(
        "meterbridge_rdma_port_rate_bytes_per_second",
        "gauge",
        "bytes_per_second",
        "What the port can carry.",
        PORT,
        f.port_rate,
    ),
    SeriesRow("meterbridge_rdma_port_links", "gauge", "", "Links that the port's bond (LAG) has.", PORT, f.port_links),
    SeriesRow(
        "meterbridge_rdma_port_links_up",
        "gauge",
        "",
        "Links of the port's bond that carry traffic.",
        PORT,
        f.port_links_up,
    ),
    SeriesRow(
        "meterbridge_rdma_port_jobs",
        "gauge",
        "",
        "Jobs with cards on the port's machine, which share it; 0 = none.",
        PORT,
        f.port_jobs,
    ),
    SeriesRow(
        "meterbridge_rdma_port_job_info",
        "info",
        "",
        "A job whose machine has the port, a compute one: joins a port to its jobs. shared is true when it is not "
        "the only one.",
        (*PORT, *JOB, "project", "shared"),
        f.port_job_info,
    ),
    SeriesRow(
        "meterbridge_rdma_lossless_priority_info",
        "info",
        "",
        "A priority that the site says is lossless (rdma.lossless_priorities).",
        ("priority",),
        f.lossless,
        merge="max",
    ),
    *_ports(),
    *_owners(),
    SeriesRow(
        "meterbridge_job_nodes", "gauge", "", "Machines on which the job holds cards.", JOB, f.job_nodes, folded="drop"
    ),
    SeriesRow(
        "meterbridge_job_rdma_ports",
        "gauge",
        "",
        "Ports of the job's machines that were read.",
        JOB,
        f.job_ports,
        folded="drop",
    ),
    SeriesRow(
        "meterbridge_job_fabric_suspect",
        "gauge",
        "",
        "A port of the job whose pauses say that its machine is the slow_receiver, or a victim; always 1.",
        (*JOB, "project", *PORT, "role", "shared"),
        f.suspects,
        folded="keep",
        merge="max",
    ),
)
