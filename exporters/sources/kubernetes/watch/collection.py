"""Follows one collection of an API server: list it once, then watch it, for ever.

The server ends every watch after ``timeoutSeconds``; it is resumed from the last resourceVersion that was read, as is a
connection that breaks, also in the middle of a line. When the server no longer has that version it says 410, as an HTTP
status or as an ERROR event on a healthy stream; then the collection is listed again and compared with what is known.
An answer of the server, even an empty watch that it opens, is the proof that what is known is fresh: `Reflector.error`
holds the reason as long as the last attempt got none.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from typing import Generic, Protocol, TypeVar

from exporters.sources.kubernetes.api import ApiError, KubeApi, Stream, parse
from exporters.sources.kubernetes.raw import Raw, items, part

log = logging.getLogger(__name__)

PAGE = 500
WATCH_SECONDS = 60
"""How long a watch lasts. Short enough that a connection which died in silence is noticed within the minute."""

CATCH_UP_SECONDS = 5
"""How long a watch lasts that replays an earlier life, or what it missed while it was cut: on a quiet server its end is
the end of the replay.
"""

_SPREAD = random.Random()  # noqa: S311 (spreads the retries of many clients, guards nothing)
"""Its own: whoever seeds the process's generator gets the same numbers, whatever a watch's thread does meanwhile."""

SILENCE = 15.0
"""How much longer than its time a watch may stay silent before it counts as broken."""

LONGEST_PAUSE = 30.0

PASSING = frozenset(
    (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    )
)
"""Refusals that say nothing about the watch: a token that expired, a role that was replaced, a server that is busy.

Its position is kept: a list afterwards would not show what came and went meanwhile.
"""


T = TypeVar("T")


class _StoppedError(Exception):
    """The reflector was asked to end."""


class Handler(Protocol[T]):
    """Who keeps what a reflector reads. Called from the reflector's thread; must not raise."""

    def reduce(self, raw: Raw) -> T | None:
        """What to keep of an object, so that a list need not be held whole; None = it is of no interest."""
        ...

    def replace(self, objects: list[T]) -> None:
        """The whole collection: what is not in it is gone."""
        ...

    def change(self, kind: str, obj: T) -> None:
        """One event: ADDED, MODIFIED or DELETED."""
        ...

    def behind(self) -> None:
        """Events from now on may have happened long before they are told: they are a replay, until `caught_up`."""
        ...

    def caught_up(self) -> None:
        """What happened before the first list, or while the watch was cut, has been replayed, or cannot be any more."""
        ...


class Reflector(Generic[T]):
    """One collection, kept up to date by one thread.

    ``optional`` collections may be missing (404) or closed to us (403): then `refused` says why, and it is tried again
    only after `LONGEST_PAUSE`. ``since`` is a resourceVersion from an earlier life: the first watch starts there, older
    than the first list, so that what was deleted in between is seen as it happened.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        handler: Handler[T],
        *,
        optional: bool = False,
        since: str = "",
        page: int = PAGE,
        watch_seconds: int = WATCH_SECONDS,
        pause: float = 1.0,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.error: ApiError | None = None
        self.refused: ApiError | None = None
        self.synced = False
        self.version = ""
        self._api = api
        self._handler = handler
        self._optional = optional
        self._since = since
        self._listed = ""  # the version of the list that a replay has to reach
        self._behind = False  # the watch was cut, and what it missed has not been told
        self._page = page
        self._watch_seconds = watch_seconds
        self._pause = pause
        self._on_answer = on_answer
        self._failures = 0
        self._stopping = threading.Event()
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)

    @property
    def ready(self) -> bool:
        """The collection has been listed, and what led to the first list is known."""
        return self.synced and not self._listed

    def start(self) -> None:
        """Begin to follow. Safe to call twice."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self, *, wait: bool = True) -> None:
        """End the thread, and wait for it. Safe to call twice."""
        self._stopping.set()
        with self._lock:
            if self._stream is not None:
                self._stream.stop()
        if wait and self._thread.ident is not None:
            self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.version:
                    self._list()
                    self._answered()
                if self._watch():
                    continue
                self._failures += 1  # the server had nothing for us but an error or an end
            except _StoppedError:
                return
            except ApiError as e:
                self._failures += 1
                self._failed(e)
            except Exception as e:
                # Whatever it is, it must not end the thread: data that nobody follows any more would pass for fresh.
                log.exception("%s: reading it failed", self.path)
                self._failures += 1
                self.version = ""
                self._failed(ApiError(0, f"{self.path}: {type(e).__name__}: {e}"))
            if self._failures > 1 or self.error or self.refused:
                self._stopping.wait(self._delay())

    def _delay(self) -> float:
        longest = LONGEST_PAUSE if self.refused else min(LONGEST_PAUSE, self._pause * 2 ** min(self._failures - 1, 10))
        return longest * _SPREAD.uniform(0.5, 1.0)

    def _failed(self, error: ApiError) -> None:
        self._fall_behind()
        if self._optional and error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            self.refused, self.error = error, None
        else:
            if self.error is None:
                log.warning("%s", error)
            self.error = error
        if 400 <= error.status < 500 and error.status not in PASSING:
            self.version = ""  # the server does not take this watch: start over
        self._on_answer()

    def _answered(self) -> None:
        self.error = self.refused = None
        self.synced = True
        self._on_answer()

    def _list(self) -> None:
        objects: list[T] = []
        params = {"limit": str(self._page)}
        while True:
            raw = self._api.get(self.path, params)
            for item in items(raw, "items"):
                kept = self._handler.reduce(item)
                if kept is not None:
                    objects.append(kept)
            meta = part(raw, "metadata")
            following = str(meta.get("continue") or "")
            if not following:
                break
            if self._stopping.is_set():
                raise _StoppedError
            params["continue"] = following
        version = str(meta.get("resourceVersion") or "")
        if not version:
            raise ApiError(0, f"{self.path}: a list without metadata.resourceVersion")
        self._handler.replace(objects)
        self.version = version
        if self._since and older(self._since, version):
            self.version, self._listed = self._since, version
            self._fall_behind()
        else:
            self._caught_up()
        self._since = ""

    def _fall_behind(self) -> None:
        self._behind = True
        self._handler.behind()

    def _caught_up(self) -> None:
        self._handler.caught_up()
        self._listed = ""
        self._behind = False
        self._on_answer()

    def _watch(self) -> bool:
        """One watch, to its end. False when it brought nothing and did not last: the next one should wait."""
        lasting = CATCH_UP_SECONDS if self._behind else self._watch_seconds
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(lasting),
            "resourceVersion": self.version,
        }
        try:
            stream = self._api.stream(self.path, params, timeout=lasting + SILENCE)
        except ApiError as e:
            if e.status == HTTPStatus.GONE:
                return self._gone()
            raise
        with self._lock:
            self._stream = stream
        opened, progress, cut = time.monotonic(), False, False
        try:
            self._answered()
            if self._stopping.is_set():
                raise _StoppedError
            with closing(stream) as lines:
                for line in lines:
                    if line.strip() and not self._take(self._parse(line)):
                        return progress
                    progress = True
        except ApiError as e:
            if e.status != 0 or not self.version:
                raise
            log.info("%s; it is resumed", e)  # no complaint yet: only when it cannot be opened again
            cut = True
            self._fall_behind()
        finally:
            with self._lock:
                self._stream = None
            lasted = time.monotonic() - opened > 1
            if progress or lasted:
                self._failures = 0
        if self._stopping.is_set():
            raise _StoppedError
        if self._behind and lasted and not cut:
            self._caught_up()  # nothing more happened meanwhile, or the server would have said so by now
        return progress or lasted

    def _parse(self, line: bytes) -> Raw:
        try:
            return parse(line, f"{self.path} (watch)")
        except ApiError:
            self.version = ""  # what this line said can only be had from a fresh list
            raise

    def _take(self, event: Raw) -> bool:
        """One event. False when the stream has no more to give."""
        kind, obj = str(event.get("type") or ""), part(event, "object")
        if kind == "ERROR":
            if obj.get("code") == HTTPStatus.GONE:
                return self._gone()
            code = obj.get("code")
            if code not in PASSING:
                self.version = ""  # whatever it is, a fresh list decides
            raise ApiError(code if isinstance(code, int) else 500, f"{self.path} (watch): {obj.get('message') or obj}")
        version = str(part(obj, "metadata").get("resourceVersion") or "")
        if not version:
            self.version = ""
            raise ApiError(0, f"{self.path} (watch): an event without resourceVersion: {str(event)[:200]}")
        if kind in ("ADDED", "MODIFIED", "DELETED"):
            kept = self._handler.reduce(obj)
            if kept is not None:
                self._handler.change(kind, kept)
        self.version = version
        if not older(version, self._listed) if self._listed else self._behind and kind == "BOOKMARK":
            self._caught_up()
        return True

    def _gone(self) -> bool:
        self.version = ""
        return False


def older(a: str, b: str) -> bool:
    """Whether resourceVersion ``a`` was before ``b``. Versions that are no numbers cannot be compared: never."""
    return a.isascii() and b.isascii() and a.isdigit() and b.isdigit() and int(a) < int(b)
