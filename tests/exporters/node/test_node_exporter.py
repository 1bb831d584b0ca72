"""The agent beside the real node_exporter, on the same tree: what both serve agrees, and one of them serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporters.fabric_model import LABELS, PortQuantity
from exporters.node.agent import Agent, Paths
from exporters.node.ethtool import Ethtool
from tests.exporters.node.fake_nic import FakeNic
from tests.exporters.node.trees import NAMES, unpack
from tests.lab.node_exporter import NodeExporter

pytestmark = pytest.mark.server("node_exporter")

NODE_EXPORTER = {
    "port_data_received_bytes": ("receive_bytes",),
    "port_data_transmitted_bytes": ("transmit_bytes",),
    "port_packets_received": ("receive_packets",),
    "port_packets_transmitted": ("transmit_packets",),
    "np_ecn_marked_roce_packets_received": ("ce_marked_packets",),
    "np_cnp_packets_sent": ("cnp_sent_packets",),
    "rp_cnp_packets_handled": ("cnp_handled_packets",),
    "rp_cnp_ignored_packets_received": ("cnp_ignored_packets",),
    "out_of_sequence_packets_received": ("out_of_sequence_packets",),
    "local_ack_timeout_errors": ("ack_timeouts",),
    "packet_sequence_errors": ("sequence_errors",),
    "implied_nak_seq_errors": ("sequence_errors",),
    "rnr_nak_retry_packets_received": ("rnr_naks",),
    "roce_adp_retransmits": ("retransmissions",),
    "roce_slow_restart_used": ("slow_restarts",),
    "port_discards_transmitted": ("discards", "transmit", ""),
    "link_downed": ("link_downed",),
    "symbol_error": ("symbol_errors",),
    "link_error_recovery": ("link_recoveries",),
    "local_link_integrity_errors": ("link_integrity_errors",),
    "port_errors_received": ("receive_errors",),
    "excessive_buffer_overrun_errors": ("buffer_overruns",),
    "rx_icrc_encapsulated_errors": ("icrc_errors",),
}
"""node_exporter's counters that are one of our quantities, or a part of it."""

Key = tuple[str, str, tuple[str, ...]]


class Told(NamedTuple):
    """What a page says of ports: counters by device, port and quantity; and the gauges ``up`` and ``rate``."""

    counters: dict[Key, float]
    gauges: dict[tuple[str, str, str], float]


def of_node_exporter(page: str) -> Told:
    counters: dict[Key, float] = {}
    gauges = {}
    for family in text_string_to_metric_families(page):
        name = family.name.removeprefix("node_infiniband_")
        for sample in family.samples:
            if name in NODE_EXPORTER:
                key = (sample.labels["device"], sample.labels["port"], NODE_EXPORTER[name])
                counters[key] = counters.get(key, 0.0) + sample.value
            elif name == "state_id":
                gauges[sample.labels["device"], sample.labels["port"], "up"] = float(sample.value == 4)
            elif name == "rate_bytes_per_second":
                gauges[sample.labels["device"], sample.labels["port"], "rate"] = sample.value
    return Told(counters, gauges)


def of_agent(sysfs: Path, all_of_them: bool) -> Told:
    away = str(sysfs / "away")
    agent = Agent(Paths(str(sysfs), away, away, away, away), Ethtool(FakeNic()), "0", all_of_them=all_of_them)
    counters: dict[Key, float] = {}
    gauges = {}
    for family in text_string_to_metric_families(agent.page().body().decode()):
        name = family.name.removeprefix("meterbridge_agent_rdma_")
        for sample in family.samples:
            if family.type == "counter":
                extra = (sample.labels[label] for label in LABELS.get(PortQuantity(name), ()))
                counters[sample.labels["device"], sample.labels["port"], (name, *extra)] = sample.value
            elif name in {"port_up", "port_rate_bytes_per_second"}:
                gauges[sample.labels["device"], sample.labels["port"], name.split("_")[1]] = sample.value
    return Told(counters, gauges)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NodeExporter, Path]]:
    """One node_exporter, and the link that says which tree it reads."""
    root = tmp_path_factory.mktemp("trees")
    for name in NAMES:
        unpack(name, root / name)
    link = root / "sys"
    link.symlink_to(NAMES[0])
    with NodeExporter(link, root / "log") as server:
        yield server, link


def read_by_both(turned: tuple[NodeExporter, Path], tree: str) -> tuple[Told, Told, Told]:
    server, link = turned
    link.unlink()
    link.symlink_to(tree)
    return of_node_exporter(server.page()), of_agent(link, all_of_them=True), of_agent(link, all_of_them=False)


WHOLE = [name for name in NAMES if name != "broken"]


@pytest.mark.parametrize("tree", WHOLE)
def test_every_counter_that_both_serve_agrees(turned: tuple[NodeExporter, Path], tree: str) -> None:
    theirs, ours, _ = read_by_both(turned, tree)
    shared = theirs.counters.keys() & ours.counters.keys()

    assert {key: theirs.counters[key] for key in shared} == {key: ours.counters[key] for key in shared}
    assert set() == theirs.counters.keys() - ours.counters.keys()
    assert {k: v for k, v in theirs.gauges.items() if k[0] != "efa_1"} == {
        k: v for k, v in ours.gauges.items() if k[0] != "efa_1"
    }


@pytest.mark.parametrize("tree", WHOLE)
def test_by_default_each_counter_is_served_by_exactly_one_of_the_two(
    turned: tuple[NodeExporter, Path], tree: str
) -> None:
    theirs, everything, ours = read_by_both(turned, tree)

    assert set() == theirs.counters.keys() & ours.counters.keys()
    assert everything.counters.keys() == theirs.counters.keys() | ours.counters.keys()


def test_most_of_a_roce_port_is_served_by_both(turned: tuple[NodeExporter, Path]) -> None:
    theirs, _, _ = read_by_both(turned, "mlx5")

    assert set(NODE_EXPORTER.values()) == {key[2] for key in theirs.counters if key[0] == "mlx5_0"}


def test_of_an_efa_device_that_is_down_only_the_agent_says_so(turned: tuple[NodeExporter, Path]) -> None:
    theirs, ours, _ = read_by_both(turned, "efa")

    assert (1.0, 0.0) == (theirs.gauges["efa_1", "1", "up"], ours.gauges["efa_1", "1", "up"])


def test_one_device_in_trouble_blinds_node_exporter_and_not_the_agent(turned: tuple[NodeExporter, Path]) -> None:
    theirs, ours, _ = read_by_both(turned, "broken")

    assert {} == theirs.counters
    assert {"mlx5_0", "mlx5_1"} == {key[0] for key in ours.counters}
