"""The merge mode: reads the shards' pages on a clock and serves their sum, as one exporter of the whole fleet would."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from exporters.exposition.family import Family
from exporters.exposition.page import Page
from exporters.exposition.reader import Limits, Reader
from exporters.exposition.writer import Writer
from exporters.http.fetch import Fetcher
from exporters.shards.merged_fabric import SUSPECT, MergedFabric
from exporters.shards.merging import NAMES, Key, Pages, Part, merge
from exporters.stages import Stages

log = logging.getLogger(__name__)

STALE_AFTER = 3
"""Rounds after which a shard that cannot be read no longer says anything of the moment; its counters stay."""


class Merger:
    """The shards at ``urls`` (their /metrics), merged once per ``interval`` seconds."""

    def __init__(
        self,
        urls: Sequence[str],
        interval: float = 15.0,
        timeout: float = 10.0,
        max_bytes: int = 256 << 20,
        headers: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._interval = interval
        self._clock = clock
        limits = Limits(size=max_bytes, lines=4_000_000)
        self._readers = {url: (Reader(NAMES, limits, strict=False), Pages()) for url in self._urls}
        self._parts = {url: Part() for url in self._urls}
        self._missed = dict.fromkeys(self._urls, STALE_AFTER)
        self._seen = dict.fromkeys(self._urls, 0.0)
        self._fetcher = Fetcher(
            timeout=timeout, max_bytes=max_bytes, keep_alive=2 * interval + timeout, headers=headers
        )
        self._fabric = MergedFabric(STALE_AFTER * interval)
        self._writer, self._stages = Writer(), Stages()
        self._page: Page | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="merge", daemon=True)

    def step(self) -> None:
        """Read every shard once, and make the page."""
        for answer in self._fetcher.fetch(list(self._urls), self._read, within=self._interval):
            url = answer.url
            if answer.value is not None:
                self._parts[url].step(answer.value)
                self._missed[url], self._seen[url] = 0, self._clock()
                continue
            self._missed[url] += 1
            log.warning("shard=%s not read for %d rounds: %s", url, self._missed[url], answer.error)
            if self._missed[url] == STALE_AFTER:
                self._parts[url].stale()
        parts = list(self._parts.values())
        suspects = sorted(self._fabric.step(parts))
        families = [replace(f, rows=suspects) if f.name == SUSPECT else f for f in merge(parts)] + self._own()
        self._page = Page(self._writer.render(families), self._stages)

    def _read(self, url: str, body: bytes) -> dict[Key, float]:
        reader, pages = self._readers[url]
        return pages.page(reader.read(body))

    def _own(self) -> list[Family]:
        """What the merger says of the shards."""
        up = [((url,), float(self._missed[url] == 0)) for url in sorted(self._urls)]
        seen = [((url,), self._seen[url]) for url in sorted(self._urls)]
        return [
            Family(
                "meterbridge_shard_up", "1 when the shard's page was read in the last round.", "gauge", ("shard",), up
            ),
            Family(
                "meterbridge_shard_last_success_timestamp_seconds",
                "When the shard's page was last read; 0 = never.",
                "gauge",
                ("shard",),
                seen,
            ),
        ]

    def page(self) -> Page | None:
        """The last merged page; None before the first."""
        return self._page

    def ready(self) -> bool:
        """True once every shard was read: before that, a sum would be a part of it."""
        return all(self._seen.values())

    def start(self) -> None:
        """Merge on the clock, until `stop`."""
        self._thread.start()

    def _loop(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.step()
            due = max(due + self._interval, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def stop(self) -> None:
        """End, and close the connections."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=30)
        self._fetcher.close()
