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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from exporters.exposition.reader import Layout, Limits, Reader
from exporters.fetch import Answer, ClosedError, Fetcher, FetchError
from exporters.model import Sample, Scheduler, Snapshot
from exporters.sources.base import Source, SourceError
from exporters.sources.dcgm_cards import OutOfRange, Plan, merge, plan, samples
from exporters.sources.dcgm_fields import FIELDS

_NAMED = 3  # endpoints named in a sentence about many


@dataclass(frozen=True, slots=True)
class Page:
    """What one endpoint served: its samples, and what was wrong with it."""

    samples: list[Sample]
    impossible: list[OutOfRange]
    nameless: int
    bad: tuple[tuple[int, str], ...]


class Dcgm(Source):
    """dcgm-exporter endpoints, read in one round per poll.

    ``targets`` are URLs (``http://gn01:9400/metrics``); ``discover`` is called once per poll for more of them, and may
    raise `SourceError`: then the endpoints it last named are read. ``timeout`` is seconds per endpoint and
    ``max_bytes`` the most its page may have; ``headers`` (a bearer token) and ``tls`` are for endpoints behind a proxy.
    """

    def __init__(
        self,
        name: str = "dcgm",
        targets: Sequence[str] = (),
        discover: Callable[[], Sequence[str]] | None = None,
        interval: float = 15.0,
        timeout: float = 5.0,
        concurrency: int = 64,
        max_bytes: int = 16 << 20,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.cluster = ""
        self.scheduler: Scheduler | None = None
        self.interval = interval
        self._targets = tuple(targets)
        self._discover = discover
        self._discovered: tuple[str, ...] = ()
        self._round = max(interval, timeout)
        self._limits = Limits(size=max_bytes)
        self._endpoints: dict[str, _Endpoint] = {}
        self._fetcher = Fetcher(
            timeout=timeout,
            concurrency=concurrency,
            max_bytes=max_bytes,
            keep_alive=2 * interval + timeout,
            headers=headers,
            tls=tls,
        )

    def poll(self, now: float) -> Snapshot:
        """One round of all endpoints. Raises `SourceError` when there is none, or none could be read."""
        urls, problems = self._urls()
        self._endpoints = {url: self._endpoints.get(url) or _Endpoint(url, self._limits) for url in urls}
        try:
            answers = self._fetcher.fetch(
                urls, lambda url, body: self._endpoints[url].read(body, now), within=self._round
            )
        except ClosedError:
            raise SourceError(f"{self.name}: closed") from None
        pages = [answer.value for answer in answers if answer.value is not None]
        missing = list(_missing(answers))
        if not pages:
            raise SourceError(f"no dcgm-exporter endpoint could be read: {'; '.join([*problems, *missing])}")
        found, twice = merge(page.samples for page in pages)
        bad = list(_bad_lines(answers))
        return Snapshot(
            at=now,
            samples=found,
            complete=not (problems or missing or bad),
            problems=(*problems, *missing, *bad, *_remarks(pages), *twice),
        )

    def close(self) -> None:
        """Break off a poll under way and close the connections."""
        self._fetcher.close()

    def _urls(self) -> tuple[list[str], list[str]]:
        problems = []
        if self._discover is not None:
            try:
                self._discovered = tuple(self._discover())
            except SourceError as error:
                if not (self._discovered or self._targets):
                    raise
                problems.append(f"endpoints not discovered anew, reading {len(self._discovered)} known ones: {error}")
        urls = list(dict.fromkeys((*self._targets, *self._discovered)))
        if not urls:
            hint = "no pod carries the selector's labels" if self._discover else "list them under dcgm.targets"
            raise SourceError(f"no dcgm-exporter endpoint is known: {hint}")
        return urls, problems


class _Endpoint:
    """One endpoint's memory between rounds: what its lines are."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._host = urlsplit(url).hostname or ""
        self._reader = Reader(FIELDS, limits, strict=False)
        self._plans: WeakKeyDictionary[Layout, Plan] = WeakKeyDictionary()

    def read(self, body: bytes, now: float) -> Page:
        """Raises FetchError or ValueError for a page that cannot be used at all."""
        if not body.endswith(b"\n"):
            # Half a number reads as another number, so a page without its last newline is not to be trusted.
            raise FetchError("the page is cut short: it does not end in a newline" if body else "the page is empty")
        reading = self._reader.read(body)
        known = self._plans.get(reading.layout)
        if known is None:
            known = self._plans[reading.layout] = plan(reading.layout, self._host)
        found, impossible = samples(known, reading.layout, reading.values, now)
        if not found:
            first = "".join(f" (line {number}: {reason})" for number, reason in reading.bad[:1])
            raise FetchError(f"the page holds no reading of any card{first}")
        return Page(found, impossible, known.nameless, reading.bad)


def _missing(answers: Iterable[Answer[Page]]) -> Iterable[str]:
    """One sentence per reason, however many endpoints share it."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    total = 0
    for answer in answers:
        total += 1
        if answer.error:
            by_reason[answer.error].append(answer.url)
    for reason, urls in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        named = ", ".join(urls[:_NAMED]) + (", …" if len(urls) > _NAMED else "")
        yield f"{len(urls)} of {total} endpoints: {reason} ({named})"


def _bad_lines(answers: Iterable[Answer[Page]]) -> Iterable[str]:
    bad = [(answer.url, line) for answer in answers if answer.value for line in answer.value.bad]
    if bad:
        url, (number, reason) = bad[0]
        yield f"{len(bad)} lines could not be read, the first is line {number} of {url}: {reason}"


def _remarks(pages: Iterable[Page]) -> Iterable[str]:
    impossible = [value for page in pages for value in page.impossible]
    if impossible:
        counts = ", ".join(f"{series} {n}" for series, n in Counter(i.series for i in impossible).most_common())
        first = impossible[0]
        yield (
            f"{len(impossible)} readings out of range were dropped ({counts}), "
            f"the first is {first.value:g} of card {first.device.uuid} on {first.device.host}"
        )
    nameless = sum(page.nameless for page in pages)
    if nameless:
        yield f"{nameless} lines name no card (no UUID or no gpu label) and were left out"
