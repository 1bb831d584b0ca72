"""Device readings from dcgm-exporter endpoints, over HTTP.

    # HELP DCGM_FI_PROF_GR_ENGINE_ACTIVE Ratio of time the graphics engine is active.
    # TYPE DCGM_FI_PROF_GR_ENGINE_ACTIVE gauge
    DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0",UUID="GPU-…",…,hostname="gn01",hpc_job="18"} 0.930000

becomes, with the card's other lines, one `Sample` of card ``GPU-…`` on host ``gn01``. Endpoints are a list, or
discovered, or both. A poll is partial (``complete`` False) when some endpoint could not be read whole, and fails when
none could.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from exporters.exposition.reader import Layout, Limits, Reader
from exporters.http.fetch import FetchError
from exporters.model import Snapshot
from exporters.sources.devices.dcgm_cards import Plan, merge, plan
from exporters.sources.devices.dcgm_fields import READ
from exporters.sources.devices.dcgm_fleet import Fleet, OutOfRange, Told
from exporters.sources.devices.device_source import DeviceSource
from exporters.sources.devices.fanout import Discovery, Fanout, Kind, whole

SERIES = 50_000
"""The most readings of one endpoint: ten times those of sixteen cards in seven parts each, shared by several pods."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one endpoint served, and what was wrong with it; ``node`` is where discovery found it."""

    told: Told
    bad: tuple[tuple[int, str], ...]
    node: str = ""


class Dcgm(DeviceSource[Page]):
    """dcgm-exporter endpoints, read in one round per poll.

    ``targets`` are URLs (``http://gn01:9400/metrics``); ``discover`` is called once per poll for more of them, and may
    raise `SourceError`: then the endpoints it last named are read. ``timeout`` is seconds per endpoint and
    ``max_bytes`` the most its page may have; ``headers`` (a bearer token) and ``tls`` are for endpoints behind a proxy.
    """

    def __init__(
        self,
        name: str = "dcgm",
        targets: Sequence[str] = (),
        discover: Discovery | None = None,
        interval: float = 15.0,
        timeout: float = 5.0,
        concurrency: int = 64,
        max_bytes: int = 16 << 20,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._fleet = Fleet()
        limits = Limits(size=max_bytes, series=SERIES)

        def meet(url: str, node: str) -> _Endpoint:
            return _Endpoint(url, node, limits, lambda: fanout.nodes)

        fanout: Fanout[Page] = Fanout(
            name,
            [Kind("dcgm-exporter", "dcgm.targets", meet, targets, discover)],
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
        with self.stages.timed("read"):
            every, impossible = self._fleet.samples([page.told for page in round_.pages], now)
            found, twice = merge(every)
        return Snapshot(
            at=now,
            samples=found,
            complete=not (round_.problems or any(page.told.plan.foreign for page in round_.pages)),
            problems=(*round_.problems, *_remarks(round_.pages, impossible), *twice),
        )


class _Endpoint:
    """One endpoint's memory between rounds: what its lines are."""

    def __init__(self, url: str, node: str, limits: Limits, nodes: Callable[[], frozenset[str]]) -> None:
        self._host, self._node = node or urlsplit(url).hostname or "", node
        self._nodes, self._others = nodes, frozenset[str]()
        self._reader = Reader(READ, limits, strict=False)
        self._plans: WeakKeyDictionary[Layout, Plan] = WeakKeyDictionary()
        self._last: tuple[Layout, Plan] | None = None

    def read(self, body: bytes, now: float) -> Page:  # noqa: ARG002 - samples are made of all pages together
        """Raises FetchError or ValueError for a page that cannot be used at all."""
        whole(body)
        reading = self._reader.read(body)
        known = self._plan(reading.layout)
        if not (known.tells(reading.values) or known.foreign):
            first = "".join(f" (line {number}: {reason})" for number, reason in reading.bad[:1])
            raise FetchError(f"the page holds no reading of any card{first}")
        return Page(Told(known, reading.layout, reading.values), reading.bad, self._node)

    def _plan(self, layout: Layout) -> Plan:
        if self._node and self._nodes() != self._others:
            self._others, self._last = self._nodes(), None
            self._plans.clear()
        if self._last is None or self._last[0] is not layout:
            known = self._plans.get(layout)
            if known is None:
                known = self._plans[layout] = plan(layout, self._host, self._node, self._others)
            self._last = layout, known
        return self._last[1]


def _remarks(pages: Sequence[Page], impossible: Sequence[OutOfRange]) -> Iterable[str]:
    if impossible:
        counts = ", ".join(f"{series} {n}" for series, n in Counter(i.series for i in impossible).most_common())
        first = impossible[0]
        yield (
            f"{len(impossible)} readings out of range were dropped ({counts}), "
            f"the first is {first.value:g} of card {first.device.uuid} on {first.device.host}"
        )
    for page in pages:
        for name, cards in page.told.plan.foreign.items():
            yield (
                f"the page of {page.node} has {cards} cards of {name}, another machine: they were refused, a page "
                "speaks for its own machine"
            )
    nameless = sum(page.told.plan.nameless for page in pages)
    if nameless:
        yield f"{nameless} lines name no card (no UUID or no gpu label) and were left out"
