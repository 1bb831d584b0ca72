"""Ports of RDMA devices, from node_exporter's pages and the node agent's, over HTTP.

    node_infiniband_np_cnp_packets_sent_total{device="mlx5_0",port="1"} 1712
    node_ethtool_transmitted_prio3_pause_duration{device="eth2"} 83112
    meterbridge_agent_rdma_retries_exceeded_total{device="mlx5_0",port="1",kind="transport"} 0

become the counters of one `PortSample`; the agent's ``meterbridge_agent_gpu_holding_info`` becomes samples of cards
without values, which say who holds them. Endpoints are lists, or discovered, or both. A poll is partial when some
endpoint could not be read whole, and fails when none could.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from exporters.exposition.reader import Layout, Limits, Reader
from exporters.http.fetch import FetchError
from exporters.model import Snapshot
from exporters.sources.devices.device_source import DeviceSource
from exporters.sources.devices.fanout import Discovery, Fanout, Kind, whole
from exporters.sources.fabric.rdma_fields import WANTED
from exporters.sources.fabric.rdma_join import join
from exporters.sources.fabric.rdma_pages import Page, Plan, plan, read
from exporters.sources.fabric.roles import Roles, Rule
from exporters.sources.fabric.vanished import Seen

MAX_PORTS = 20_000
"""Ports that are kept in all, unless the settings say otherwise: 1,000 machines of twenty."""


class Rdma(DeviceSource[Page]):
    """node_exporters and node agents, read in one round per poll.

    ``node_exporters`` and ``agents`` are URLs; ``discover_node_exporters`` and ``discover_agents`` are called once per
    poll for more, and may raise `SourceError`: then the endpoints they last named are read. ``timeout`` is seconds per
    endpoint, ``max_bytes`` the most its page may have, ``max_ports`` the most ports of all pages, ``roles`` what the
    site says that ports are for.
    """

    def __init__(
        self,
        name: str = "rdma",
        node_exporters: Sequence[str] = (),
        agents: Sequence[str] = (),
        discover_node_exporters: Discovery | None = None,
        discover_agents: Discovery | None = None,
        interval: float = 15.0,
        timeout: float = 5.0,
        concurrency: int = 64,
        max_bytes: int = 16 << 20,
        max_ports: int = MAX_PORTS,
        roles: Sequence[Rule] = (),
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_ports = max_ports
        self._roles, self._seen = Roles(roles), Seen()
        limits = Limits(size=max_bytes)

        def meet(url: str, node: str) -> _Endpoint:
            return _Endpoint(url, node, limits)

        fanout: Fanout[Page] = Fanout(
            name,
            [
                Kind("node_exporter", "rdma.node_exporters.targets", meet, node_exporters, discover_node_exporters),
                Kind("node agent", "rdma.agents.targets", meet, agents, discover_agents),
            ],
            interval=interval,
            timeout=timeout,
            concurrency=concurrency,
            max_bytes=max_bytes,
            headers=headers,
            tls=tls,
        )
        super().__init__(fanout, interval)

    def poll(self, now: float) -> Snapshot:
        """One round of all endpoints. Raises `SourceError` when there is none, or none could be read."""
        round_ = self._fanout.read(now)
        joined = join(round_.pages, now, self._max_ports)
        missed = self._seen.missed(joined.ports, {page.plan.host or page.plan.address for page in round_.pages}, now)
        return Snapshot(
            at=now,
            samples=joined.samples,
            complete=not (round_.problems or joined.cut or missed),
            problems=(*round_.problems, *joined.problems, *missed),
            ports=tuple(self._roles.of(joined.ports, joined.facts)),
        )


class _Endpoint:
    """One endpoint's memory between rounds: what its lines are."""

    def __init__(self, url: str, node: str, limits: Limits) -> None:
        self._node, self._address = node, urlsplit(url).hostname or ""
        self._reader = Reader(WANTED, limits, strict=False)
        self._plans: WeakKeyDictionary[Layout, Plan] = WeakKeyDictionary()

    def read(self, body: bytes, now: float) -> Page:
        """Raises FetchError or ValueError for a page that cannot be used at all."""
        whole(body)
        reading = self._reader.read(body)
        if not reading.layout.series:
            first = "".join(f" (line {number}: {reason})" for number, reason in reading.bad[:1])
            raise FetchError(f"the page is neither node_exporter's nor the node agent's{first}")
        known = self._plans.get(reading.layout)
        if known is None:
            known = self._plans[reading.layout] = plan(reading.layout, self._address, self._node)
        return read(known, reading.values, now, reading.bad)
