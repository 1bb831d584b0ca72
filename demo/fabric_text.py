"""What the demo's RDMA ports count: invented node_exporter pages that follow what the cards beside them do.

Every machine has two ports, each for four cards, whose work talks in proportion to the load of the first one, so
counters only ever grow and are the same however often they are asked for. Two stories are told from a moment on:

* **slow receiver**: ``k04`` cannot take in what it is sent and pauses the network; ``k03``, the other machine of the
  job that trains there, is paused by it;
* **incast**: many senders meet on ``gn03``: its packets arrive marked, it sends notifications back, some are discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Busy = Callable[[str, int, float], float]
"""Machine, card and epoch seconds to the card's load, integrated (seconds)."""

PORTS = 2
CARDS_PER_PORT = 4
RATE = 50e9
"""Bytes per second that a port can carry: 400 Gbit/s."""

TRAFFIC = 36e9
"""Bytes per second, each way, of a port whose cards are at full load."""

PACKET = 4096.0
SLOW_RECEIVER, VICTIM, INCAST = "k04", "k03", "gn03"


@dataclass(frozen=True)
class FabricText:
    """Pages of the site's node_exporters. ``since`` is when the stories begin, in epoch seconds."""

    busy: Busy
    since: float

    def page(self, machine: str, at: float) -> str:
        """The page of one machine at one moment: its infiniband and ethtool collectors, and its name."""
        lines = [
            f'node_uname_info{{nodename="{machine}"}} 1\n',
            'node_exporter_build_info{version="1.12.1"} 1\n',
        ]
        for index in range(PORTS):
            card = CARDS_PER_PORT * index
            load = self.busy(machine, card, at)
            told = load - self.busy(machine, card, min(at, self.since))
            address = f"0000:{0x10 + 8 * index:02x}:00.0"
            for name, value in _infiniband(machine, load, told).items():
                lines.append(f'node_infiniband_{name}{{device="mlx5_{index}",port="1"}} {value!r}\n')
            for name, value in _ethtool(machine, told).items():
                lines.append(f'node_ethtool_{name}{{device="ens{index}np0"}} {value!r}\n')
            lines.append(
                f'node_ethtool_info{{bus_info="{address}",device="ens{index}np0",driver="mlx5_core",'
                f'firmware_version="28.39.1002"}} 1\n'
            )
        return "".join(_by_family(lines))


def _infiniband(machine: str, load: float, told: float) -> Mapping[str, float]:
    """A port's own counters after ``load`` seconds of full work, of which ``told`` lie in the stories."""
    traffic = TRAFFIC * load
    packets = float(int(traffic / PACKET))
    share = 0.12 if machine == INCAST else 0.0
    marked = float(int(0.0005 * packets + share * TRAFFIC * told / PACKET))
    lost = float(int(2e-6 * TRAFFIC * told / PACKET)) if machine == INCAST else 0.0
    return {
        "state_id": 4.0,
        "rate_bytes_per_second": RATE,
        "port_data_received_bytes_total": float(int(traffic)),
        "port_data_transmitted_bytes_total": float(int(traffic)),
        "port_packets_received_total": packets,
        "port_packets_transmitted_total": packets,
        "link_downed_total": 0.0,
        "np_ecn_marked_roce_packets_received_total": marked,
        "np_cnp_packets_sent_total": float(int(marked / 4)),
        "rp_cnp_packets_handled_total": float(int(0.0001 * packets)),
        "rp_cnp_ignored_packets_received_total": 0.0,
        "out_of_sequence_packets_received_total": lost,
        "packet_sequence_errors_total": lost,
        "local_ack_timeout_errors_total": 0.0,
        "roce_adp_retransmits_total": lost,
        "rnr_nak_retry_packets_received_total": 0.0,
    }


def _ethtool(machine: str, told: float) -> Mapping[str, float]:
    """What the interface on the port says of pauses: durations are in microseconds."""
    pausing = 0.08 * told if machine == SLOW_RECEIVER else 0.0
    paused = 0.25 * told if machine == VICTIM else 0.0
    return {
        "received_prio3_pause": float(int(20_000 * paused)),
        "received_prio3_pause_duration": float(int(1e6 * paused)),
        "transmitted_prio3_pause": float(int(20_000 * pausing)),
        "transmitted_prio3_pause_duration": float(int(1e6 * pausing)),
        "transmitted_pause_storm_warning_events": 0.0,
        "transmitted_pause_storm_error_events": 0.0,
        "received_prio3_buf_discard": 0.0,
        "received_discards_phy": 0.0,
    }


def _by_family(lines: Iterable[str]) -> Iterable[str]:
    """Lines of one family together, under its type, as node_exporter writes them."""
    last = ""
    for line in sorted(lines, key=_name):
        name = _name(line)
        if name != last:
            counter, untyped = name.endswith("_total"), name.startswith("node_ethtool_") and name != "node_ethtool_info"
            yield f"# TYPE {name} {'counter' if counter else 'untyped' if untyped else 'gauge'}\n"
        yield line
        last = name


def _name(line: str) -> str:
    return line.partition("{")[0]
