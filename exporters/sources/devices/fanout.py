"""Many endpoints of one or several kinds, listed and discovered, read in one round: what device sources share.

A round is partial when some endpoint could not be read whole, and fails when none could.
"""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from exporters.http.fetch import Answer, ClosedError, Fetcher, FetchError
from exporters.sources.base import SourceError
from exporters.sources.hostnames import short_name
from exporters.stages import Stages
from exporters.status import Target

_NAMED = 3  # endpoints named in a sentence about many

PACE = 0.005
"""Seconds between the turns of two endpoints, on average: 1,000 of them are asked over 5 s, not at once. As few
as may be read at once anyway (``concurrency``) are asked together."""


class Page(Protocol):
    """What one endpoint served."""

    @property
    def bad(self) -> Sequence[tuple[int, str]]:
        """The lines that could not be read, as ``(line number, reason)``."""
        ...


P = TypeVar("P", bound=Page)
P_co = TypeVar("P_co", bound=Page, covariant=True)


class Endpoint(Protocol[P_co]):
    """One endpoint's memory between rounds."""

    def read(self, body: bytes, now: float) -> P_co:
        """What a body says. Raises FetchError or ValueError for one that cannot be used at all."""
        ...


Discovery = Callable[[], Sequence[str] | Mapping[str, str]]
"""Asked once per round for URLs, or for URLs with the node that each is on. Raises `SourceError`."""


def together(ways: Sequence[Discovery]) -> Discovery:
    """What several ways of discovery find, as one."""

    def found() -> dict[str, str]:
        urls: dict[str, str] = {}
        for way in ways:
            some = way()
            urls |= some if isinstance(some, Mapping) else {url: urls.get(url, "") for url in some}
        return urls

    return found


@dataclass(frozen=True)
class Kind(Generic[P]):
    """One kind of endpoint: what people call it, under which setting it is listed, and how one is met.

    ``meet`` is given the URL and the node that discovery says it is on (empty: not told).
    """

    what: str
    setting: str
    meet: Callable[[str, str], Endpoint[P]]
    targets: Sequence[str] = ()
    discover: Discovery | None = None


@dataclass(frozen=True, slots=True)
class Round(Generic[P]):
    """The pages of one round, and sentences about what is missing from it."""

    pages: list[P]
    problems: tuple[str, ...]


class Fanout(Generic[P]):
    """Reads rounds of endpoints. ``timeout`` is seconds per endpoint, ``max_bytes`` the most its page may have.

    ``headers`` (a bearer token) and ``tls`` are for endpoints behind a proxy; ``name`` is the source's. ``nodes`` are
    the short names of the machines on which endpoints were discovered.
    """

    def __init__(
        self,
        name: str,
        kinds: Sequence[Kind[P]],
        *,
        interval: float,
        timeout: float,
        concurrency: int,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._kinds = tuple(kinds)
        self._discovered: list[dict[str, str]] = [{} for _ in kinds]
        self.nodes: frozenset[str] = frozenset()
        self._found: dict[str, str] = {}
        self.endpoints: dict[str, Endpoint[P]] = {}
        self._round = max(interval, timeout)
        self._spread, self._burst = interval / 3, concurrency
        self._targets: dict[str, Target] = {}
        self._elsewhere: Callable[[str], bool] | None = None
        self._fetcher = Fetcher(
            timeout=timeout,
            concurrency=concurrency,
            max_bytes=max_bytes,
            keep_alive=2 * interval + timeout,
            headers=headers,
            tls=tls,
        )

    def leave_out(self, elsewhere: Callable[[str], bool]) -> None:
        """From now on do not read endpoints on a host that is another's to read, as far as their names tell that."""
        self._elsewhere = elsewhere

    def read(self, now: float) -> Round[P]:
        """One round of all endpoints. Raises `SourceError` when there is none, or none could be read."""
        problems = self._meet()
        endpoints = self.endpoints
        if not endpoints:  # every one is another shard's
            self._targets = {}
            return Round([], tuple(problems))
        spread = min(self._spread, PACE * len(endpoints)) if len(endpoints) > self._burst else 0.0
        try:
            answers = self._fetcher.fetch(
                list(endpoints), lambda url, body: endpoints[url].read(body, now), within=self._round, spread=spread
            )
        except ClosedError:
            raise SourceError(f"{self.name}: closed") from None
        self._remember(answers, now)
        pages = [answer.value for answer in answers if answer.value is not None]
        missing = list(_missing(answers))
        if not pages:
            raise SourceError(f"no {self._what()} endpoint could be read: {'; '.join([*problems, *missing])}")
        return Round(pages, (*problems, *missing, *_bad_lines(answers)))

    @property
    def stages(self) -> Stages:
        """What fetching and reading have cost."""
        return self._fetcher.stages

    def targets(self) -> list[Target]:
        """How every endpoint of the last round did."""
        return list(self._targets.values())

    def _remember(self, answers: Sequence[Answer[P]], now: float) -> None:
        """Keep what the page for people tells of each endpoint; those that are no longer known are forgotten."""
        known: dict[str, Target] = {}
        for answer in answers:
            target = known[answer.url] = self._targets.get(answer.url) or Target(answer.url, self._found[answer.url])
            target.error, target.seconds = answer.error, answer.seconds
            if not answer.error:
                target.last_success, target.size = now, answer.size
        self._targets = known

    def close(self) -> None:
        """Break off a round under way and close the connections."""
        self._fetcher.close()

    def _what(self) -> str:
        return " or ".join(kind.what for kind in self._kinds)

    def _meet(self) -> list[str]:
        """Know every endpoint of this round and forget the others; sentences about those not discovered."""
        problems = []
        known: dict[str, Endpoint[P]] = {}
        self._found = {}
        others = 0
        for n, kind in enumerate(self._kinds):
            if kind.discover is not None:
                try:
                    found = kind.discover()
                except SourceError as error:
                    if not (self._discovered[n] or any(k.targets for k in self._kinds)):
                        raise
                    problems.append(
                        f"endpoints not discovered anew, reading {len(self._discovered[n])} known ones: {error}"
                    )
                else:
                    self._discovered[n] = dict(found) if isinstance(found, Mapping) else dict.fromkeys(found, "")
            listed = dict.fromkeys(kind.targets, "")
            for url, node in (*listed.items(), *self._discovered[n].items()):
                if self._elsewhere is not None and self._elsewhere(node or urlsplit(url).hostname or ""):
                    others += 1
                elif url not in known:
                    self._found[url] = "listed" if url in listed else "discovered"
                    known[url] = self.endpoints.get(url) or kind.meet(url, node)
        self.endpoints = known
        nodes = frozenset(short_name(node) for found in self._discovered for node in found.values() if node)
        if nodes != self.nodes:
            self.nodes = nodes
        if not known and not others:
            searched = any(kind.discover for kind in self._kinds)
            settings = " or ".join(kind.setting for kind in self._kinds)
            hint = "no pod carries the selector's labels" if searched else f"list them under {settings}"
            raise SourceError(f"no {self._what()} endpoint is known: {hint}")
        return problems


def whole(body: bytes) -> None:
    """Raise FetchError for a page without its last newline: half a number reads as another number."""
    if not body.endswith(b"\n"):
        raise FetchError("the page is cut short: it does not end in a newline" if body else "the page is empty")


def _missing(answers: Sequence[Answer[P]]) -> Iterable[str]:
    """One sentence per reason, however many endpoints share it."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for answer in answers:
        if answer.error:
            by_reason[answer.error].append(answer.url)
    for reason, urls in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        named = ", ".join(urls[:_NAMED]) + (", …" if len(urls) > _NAMED else "")
        yield f"{len(urls)} of {len(answers)} endpoints: {reason} ({named})"


def _bad_lines(answers: Iterable[Answer[P]]) -> Iterable[str]:
    bad = [(answer.url, line) for answer in answers if answer.value is not None for line in answer.value.bad]
    if bad:
        url, (number, reason) = bad[0]
        yield f"{len(bad)} lines could not be read, the first is line {number} of {url}: {reason}"
