"""A simulated RDMA fabric: machines whose node_exporter pages count as fast as a scenario says, over real HTTP.

Each machine has one port ``mlx5_0``/1 on ``eth2``. Its page carries what node_exporter and the node agent would serve
(a proxy in front of both may), and names the machine as node_exporter does. Counters grow with the time that passes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from tests.lab.fake_slurm import RECORDED_DELIMITER, script

PORT = 'device="mlx5_0",port="1"'
SERIES = {
    "receive_bytes": f"node_infiniband_port_data_received_bytes_total{{{PORT}}}",
    "transmit_bytes": f"node_infiniband_port_data_transmitted_bytes_total{{{PORT}}}",
    "receive_packets": f"node_infiniband_port_packets_received_total{{{PORT}}}",
    "transmit_packets": f"node_infiniband_port_packets_transmitted_total{{{PORT}}}",
    "marked": f"node_infiniband_np_ecn_marked_roce_packets_received_total{{{PORT}}}",
    "cnp_sent": f"node_infiniband_np_cnp_packets_sent_total{{{PORT}}}",
    "cnp_handled": f"node_infiniband_rp_cnp_packets_handled_total{{{PORT}}}",
    "cnp_ignored": f"node_infiniband_rp_cnp_ignored_packets_received_total{{{PORT}}}",
    "out_of_sequence": f"node_infiniband_out_of_sequence_packets_received_total{{{PORT}}}",
    "ack_timeouts": f"node_infiniband_local_ack_timeout_errors_total{{{PORT}}}",
    "sequence_errors": f"node_infiniband_packet_sequence_errors_total{{{PORT}}}",
    "retransmissions": f"node_infiniband_roce_adp_retransmits_total{{{PORT}}}",
    "link_downed": f"node_infiniband_link_downed_total{{{PORT}}}",
    "paused_us": 'node_ethtool_received_prio3_pause_duration{device="eth2"}',
    "pausing_us": 'node_ethtool_transmitted_prio3_pause_duration{device="eth2"}',
    "storms": 'node_ethtool_transmitted_pause_storm_error_events{device="eth2"}',
    "discards": 'node_ethtool_received_prio3_discards{device="eth2"}',
    "retries_exceeded": f'meterbridge_agent_rdma_retries_exceeded_total{{{PORT},kind="transport"}}',
}
"""What a scenario may speed up, and the series that it is."""

AGENT_PORT = (
    f'meterbridge_agent_rdma_port_info{{{PORT},netdev="eth2",link_layer="Ethernet",driver="mlx5_core",'
    'pci_address="0000:17:00.0",numa_node="0",firmware="",gpus=""}'
)

HEALTHY = {
    "receive_bytes": 2e10,
    "transmit_bytes": 2e10,
    "receive_packets": 5e6,
    "transmit_packets": 5e6,
    "marked": 5e3,
    "cnp_sent": 1e3,
    "cnp_handled": 1e3,
    "paused_us": 1e3,
}
"""A training job in its collectives: counts per second."""


class Machine:
    """One machine's counters. ``rates`` is what they grow by in a second, ``step`` adds at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._counters = dict.fromkeys(SERIES, 0.0)
        self._rates: Mapping[str, float] = HEALTHY
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def run(self, changed: Mapping[str, float] | None = None, step: Mapping[str, float] | None = None) -> None:
        """From now on the counters grow as those of a healthy machine, with ``changed`` in their place."""
        with self._lock:
            self._advance()
            self._rates = {**HEALTHY, **(changed or {})}
            for name, amount in (step or {}).items():
                self._counters[name] += amount

    def page(self) -> str:
        """What its exporters serve now."""
        with self._lock:
            self._advance()
            values = dict(self._counters)
        lines = [
            f'node_uname_info{{nodename="{self.name}",sysname="Linux"}} 1',
            'node_exporter_build_info{version="1.11.1"} 1',
            'node_scrape_collector_success{collector="infiniband"} 1',
            'node_scrape_collector_success{collector="ethtool"} 1',
            f"node_infiniband_state_id{{{PORT}}} 4",
            f"node_infiniband_rate_bytes_per_second{{{PORT}}} 5e+10",
            'node_ethtool_info{bus_info="0000:17:00.0",device="eth2",driver="mlx5_core"} 1',
            f"{AGENT_PORT} 1",
        ]
        lines += [f"{series} {int(values[name])}" for name, series in SERIES.items()]
        return "\n".join(lines) + "\n"

    def _advance(self) -> None:
        now = time.monotonic()
        for name, rate in self._rates.items():
            self._counters[name] += rate * (now - self._at)
        self._at = now


class Fabric:
    """Machines ``gn01``... and the server of their pages: ``targets`` are the URLs that an exporter reads."""

    def __init__(self, count: int) -> None:
        self.machines = {name: Machine(name) for name in (f"gn{n:02}" for n in range(1, count + 1))}
        machines = self.machines

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = machines[self.path.split("/")[1]].page().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass  # one line per machine and second tells nobody anything

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.targets = [f"http://127.0.0.1:{self._server.server_port}/{name}/metrics" for name in self.machines]

    def __enter__(self) -> Fabric:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class FabricJob:
    """A running Slurm job with whole machines of eight cards."""

    number: int
    account: str
    first: int
    last: int

    @property
    def nodes(self) -> list[str]:
        """Its machines."""
        return [f"gn{n:02}" for n in range(self.first, self.last + 1)]


def slurm_commands(bin_: Path, jobs: Sequence[FabricJob], machines: Sequence[str], start: int) -> dict[str, str]:
    """``squeue`` and ``scontrol`` of a Slurm 22.05 in which these jobs have run since ``start``, as scripts."""
    busy = {node for job in jobs for node in job.nodes}
    nodes = [
        f"NodeName={name} Arch=x86_64 CoresPerSocket=1 CPUTot=64 Gres=gpu:h100:8(S:0) "
        f"GresUsed=gpu:h100:{8 if name in busy else 0}(IDX:{'0-7' if name in busy else 'N/A'}) NodeAddr={name} "
        f"NodeHostName={name} Version=22.05.8 State={'ALLOCATED' if name in busy else 'IDLE'} Partitions=all "
        "BootTime=1795324361 SlurmdStartTime=1795330176 CfgTRES=cpu=64,mem=500G,billing=64,gres/gpu=8,gres/gpu:h100=8"
        for name in machines
    ]
    rows = []
    for job in jobs:
        count = len(job.nodes)
        tres = f"cpu={64 * count},node={count},gres/gpu={8 * count},gres/gpu:h100={8 * count}"
        hosts = f"gn[{job.first:02}-{job.last:02}]"
        times = (start, start, count)
        who = ("ada", job.account, "all", "normal")
        fields = (job.number, "RUNNING", *times, job.number, "N/A", "N/A", *who, hosts, tres, f"train-{job.number}", "")
        rows.append("".join(f"{field} {RECORDED_DELIMITER}" for field in fields))
    (bin_ / "nodes.txt").write_text("\n".join(nodes) + "\n")
    (bin_ / "queue.txt").write_text("\n".join(rows) + "\n")
    squeue = f"""
case "$*" in *--version*) echo slurm 22.05.8; exit;; *--json*) echo "no JSON here" >&2; exit 1;; esac
for word in "$@"; do case "$word" in --Format=*) form="${{word#*JobID:12}}"; delimiter="${{form%%,*}}";; esac; done
sed "s/{RECORDED_DELIMITER}/$delimiter/g" {bin_}/queue.txt
"""
    scontrol = f'case "$*" in *node*) exec cat {bin_}/nodes.txt;; esac'
    return {name: script(bin_ / name, body) for name, body in (("squeue", squeue), ("scontrol", scontrol))}
