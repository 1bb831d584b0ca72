"""A simulated fleet of dcgm-exporters: real HTTP, real text, invented readings. It says so in every answer.

    with Fleet(["gn01", "gn02"], readings) as fleet:
        Dcgm(targets=fleet.targets).poll(time.time())

``readings(node, at)`` tells the state of a node's cards, so that they can follow the jobs of the demo. Nothing here is
random: the same node at the same second reads the same, however often it is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType

from aiohttp import web

from demo.dcgm_text import CardState, Spelling, render

Readings = Callable[[str, float], Sequence[CardState]]
"""Node name and epoch seconds to the node's cards."""

Ports = Callable[[str, float], str]
"""Node name and epoch seconds to the page of the node's node_exporter."""

SIMULATED = {"X-Simulated-By": "meterbridge demo fleet"}
_STARTUP_SECONDS = 30
_DRIVER_LOADED = 1_767_225_600  # 2026-01-01


class Fleet:
    """N endpoints on one loopback port: ``http://127.0.0.1:<port>/<node>/metrics``.

    ``clock`` is what the readings are asked for; ``port`` 0 takes a free one. A node for which ``readings`` raises
    LookupError answers 503, as an exporter does whose driver is gone. With ``ports`` every node has a node_exporter as
    well: ``http://127.0.0.1:<port>/<node>/ports``.
    """

    def __init__(
        self,
        nodes: Sequence[str],
        readings: Readings,
        clock: Callable[[], float] = time.time,
        spelling: Spelling = "classic",
        host: str = "127.0.0.1",
        port: int = 0,
        ports: Ports | None = None,
    ) -> None:
        self._ports = ports
        self._nodes = tuple(nodes)
        self._known = frozenset(nodes)
        self._readings = readings
        self._clock = clock
        self._spelling: Spelling = spelling
        self._host = host
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fleet", daemon=True)
        self._runner: web.AppRunner | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The URLs, in the order of the nodes. Only once started."""
        return tuple(f"http://{self._host}:{self._port}/{node}/metrics" for node in self._nodes)

    @property
    def port_targets(self) -> tuple[str, ...]:
        """The URLs of the node_exporters, in the order of the nodes. Only once started."""
        return tuple(f"http://{self._host}:{self._port}/{node}/ports" for node in self._nodes) if self._ports else ()

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_STARTUP_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(_STARTUP_SECONDS)
            self._runner = None
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def __enter__(self) -> Fleet:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _listen(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/", self._index), web.get("/{node}/metrics", self._metrics)])
        if self._ports is not None:
            app.add_routes([web.get("/{node}/ports", partial(self._node_exporter, self._ports))])
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        (address, *_) = self._runner.addresses
        self._port = address[1]

    async def _index(self, _: web.Request) -> web.Response:
        lines = ["A simulated fleet: no GPU was read for any number served here.", *self.targets]
        return web.Response(text="\n".join(lines) + "\n", headers=SIMULATED)

    async def _metrics(self, request: web.Request) -> web.Response:
        node = self._node(request)
        try:
            cards = self._readings(node, self._clock())
        except LookupError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n", headers=SIMULATED) from error
        return _text(render(node, cards, self._spelling))

    async def _node_exporter(self, ports: Ports, request: web.Request) -> web.Response:
        return _text(ports(self._node(request), self._clock()))

    def _node(self, request: web.Request) -> str:
        node = request.match_info["node"]
        if node not in self._known:
            raise web.HTTPNotFound(text=f"no node {node} in this simulated fleet\n", headers=SIMULATED)
        return node


def _text(page: str) -> web.Response:
    return web.Response(
        body=page.encode(), headers={**SIMULATED, "Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def card_uuid(node: str, index: int) -> str:
    """The UUID of a node's card, the same on every machine: ``GPU-5fd0c9d7-…``."""
    text = _digest(node, index).hex()
    return f"GPU-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def noise(*key: object) -> float:
    """A number in ``[0, 1)`` that only depends on ``key``: the fleet's only source of variety."""
    return int.from_bytes(_digest(*key)[:8]) / 2**64


def card_at_work(
    node: str,
    index: int,
    at: float,
    load: float,
    tensor: float = 0.0,
    busy_seconds: float = 0.0,
    model: str = "NVIDIA H100 80GB HBM3",
    memory_total: int = 80 << 30,
    linked: bool = False,
) -> CardState:
    """A plausible card: ``load`` and ``tensor`` 0..1 with a few percent of noise, the rest follows from them.

    ``busy_seconds`` is the load integrated since the beginning of 2026, so that joules only ever grow. ``linked`` cards
    talk over NVLink in proportion to their load. An idle card (``load`` 0) reads exactly zero activity.
    """
    idle_watts, full_watts = 70.0, 690.0
    wobble = 0.94 + 0.12 * noise(node, index, int(at) // 5)
    engine = min(1.0, load * wobble)
    used = int(memory_total * min(0.95, 0.08 + 0.8 * load)) if load else 0
    rate = 180e9 * engine if linked else 0.0
    return CardState(
        index=index,
        uuid=card_uuid(node, index),
        model=model,
        engine=engine,
        sm=0.92 * engine,
        tensor=min(engine, tensor * wobble),
        dram=0.55 * engine,
        power=idle_watts + (full_watts - idle_watts) * engine,
        energy=idle_watts * max(0.0, at - _DRIVER_LOADED) + (full_watts - idle_watts) * busy_seconds,
        memory_used=used,
        memory_total=memory_total,
        nvlink_transmit=rate,
        nvlink_receive=rate * 0.98,
        temperature=29.0 + 41.0 * engine,
    )


def _digest(*key: object) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
