"""From settings to sources."""

from __future__ import annotations

from exporters import build
from exporters.config import parse
from exporters.sources.fabric.rdma import Rdma
from exporters.wiring import devices


def test_the_ports_of_a_site_are_a_source_and_a_sentence() -> None:
    config = parse(
        """
kubernetes: [{cluster: prod, kubeconfig: /etc/none}]
rdma:
  node_exporters: {targets: ["http://gn01:9100/metrics", "http://gn02:9100/metrics"], discover: {cluster: prod}}
  agents: {discover: {cluster: prod, path: /metrics/node}}
  interval: 30s
  lossless_priorities: [3, 4]
"""
    )
    (source,) = [s for s in build.sources(config) if isinstance(s, Rdma)]
    source.close()

    assert ("rdma", 30.0, None) == (source.name, source.interval, source.scheduler)
    assert (3, 4) == build.join_settings(config).lossless_priorities
    assert "ports: 2 node_exporters, 0 node agents, and node_exporter and node agent pods" in build.describe(config)
    assert config.rdma is not None
    found = devices.discovery(config, config.rdma.agents.discover)
    assert found is not None
    assert ("/metrics/node", 9812) == (found._path, found._port)


def test_a_site_without_ports_has_no_such_source() -> None:
    assert [] == build.sources(parse(""))
    assert () == build.join_settings(parse("")).lossless_priorities
