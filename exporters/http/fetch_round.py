"""One round of a fetcher: every endpoint's turn, so many at once, each with its time. Runs on an event loop.

Written as callbacks: a task, a timer and a lock for each of a thousand pages cost more than the pages' bytes do. All
turns have the same time, so they run out in the order in which they began, and one timer watches them all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from exporters.http.connections import Address, Connection, Connections, DroppedError, reason
from exporters.http.http_answer import FetchError

log = logging.getLogger(__name__)

T = TypeVar("T")

TICK = 0.02
"""Seconds in which the turns that fall due begin together: to wake for each costs as much as to ask it does."""
NOT_REACHED = "not reached before the round's time was over"


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What came of one endpoint: ``value``, or ``error`` when that is not empty.

    ``seconds`` is from its turn to its value, ``size`` the bytes of its body.
    """

    url: str
    value: T | None = None
    error: str = ""
    seconds: float = 0.0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom to ask and when: ``where`` is an address, or says why there is none; ``due`` are seconds from the start."""

    url: str
    where: Address | FetchError
    due: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a round may cost: seconds of one endpoint and of the whole round, endpoints at once, bytes of a body."""

    timeout: float
    within: float | None
    concurrency: int
    max_bytes: int


@dataclass(slots=True, eq=False)
class _Turn:
    """An endpoint that is being read; ``number`` is its place in the round."""

    number: int
    where: Address
    began: float
    connection: Connection | None = None
    connecting: asyncio.Task[None] | None = None
    over: bool = False

    def stop(self) -> None:
        """Break it off."""
        self.over = True
        if self.connection is not None:
            self.connection.close()
        if self.connecting is not None:
            self.connecting.cancel()


class FetchRound(Generic[T]):
    """Reads endpoints once. ``asked`` are in the order of their turns; ``handle`` makes a value of a body.

    ``read_seconds`` is the CPU that ``handle`` has used.
    """

    def __init__(
        self, connections: Connections, asked: Sequence[Asked], handle: Callable[[str, bytes], T], bounds: Bounds
    ) -> None:
        self._connections, self._asked, self._handle, self._bounds = connections, asked, handle, bounds
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._next = 0
        self._turns: set[_Turn] = set()
        self._in_time: deque[_Turn] = deque()
        self._answers: list[Answer[T]] = [Answer(one.url, error=NOT_REACHED) for one in asked]
        self._left = len(asked)
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self.read_seconds = 0.0

    async def run(self) -> list[Answer[T]]:
        """An answer to each of ``asked``. What ``handle`` raises is that endpoint's error."""
        if self._bounds.within is not None:
            self._at(self._start + self._bounds.within, self._end)
        try:
            self._begin_turns()
            await self._done
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for turn in self._turns:
                turn.stop()
        return self._answers

    def _at(self, when: float, what: Callable[[], None]) -> None:
        """Have something done at a time, unless that is to be done already."""
        if what not in self._timers:
            self._timers[what] = self._loop.call_at(when, self._due, what)

    def _due(self, what: Callable[[], None]) -> None:
        del self._timers[what]
        what()

    def _begin_turns(self) -> None:
        """Begin the turns that are due, as far as there is room."""
        while self._next < len(self._asked) and len(self._turns) < self._bounds.concurrency:
            asked, now = self._asked[self._next], self._loop.time()
            if self._start + asked.due > now:
                self._at(max(self._start + asked.due, now + TICK), self._begin_turns)
                break
            number, self._next = self._next, self._next + 1
            if isinstance(asked.where, FetchError):
                self._answer(number, Answer(asked.url, error=str(asked.where)))
                continue
            turn = _Turn(number, asked.where, now)
            self._turns.add(turn)
            self._in_time.append(turn)
            self._at(now + self._bounds.timeout, self._expire)
            self._ask(turn)
        if not self._left:
            self._end()

    def _ask(self, turn: _Turn) -> None:
        turn.connection = self._connections.kept(turn.where.origin)
        if turn.connection is None:
            turn.connecting = self._loop.create_task(self._connect(turn))
        else:
            turn.connection.ask(turn.where.request, self._bounds.max_bytes, partial(self._told, turn))

    async def _connect(self, turn: _Turn) -> None:
        try:
            turn.connection = await self._connections.connect(turn.where.origin)
        except FetchError as error:
            self._told(turn, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the round's, not a lost task's
            self._break(error)
        else:
            turn.connection.ask(turn.where.request, self._bounds.max_bytes, partial(self._told, turn))

    def _told(self, turn: _Turn, error: Exception | None) -> None:
        """An endpoint has answered, or will not."""
        if isinstance(error, DroppedError):
            self._ask(turn)
            return
        try:
            answer = self._read(turn) if error is None else self._failed(turn, _words(error))
        except Exception as fault:  # noqa: BLE001 - a fault of ours, which must not be lost in a callback
            self._break(fault)
            return
        self._over(turn, answer)
        self._begin_turns()

    def _read(self, turn: _Turn) -> Answer[T]:
        connection = turn.connection
        assert connection is not None  # noqa: S101 - it has just answered
        body = connection.body()
        self._connections.give_back(turn.where.origin, connection, self._loop.time())
        turn.connection = None
        url = self._asked[turn.number].url
        begun = time.thread_time()
        try:
            value = self._handle(url, body)
        except (FetchError, ValueError) as error:
            return self._failed(turn, str(error) or type(error).__name__)
        except Exception as fault:  # a fault of ours over one page is that page's, and blinds no other
            log.exception("%s: reading its page failed", url)
            return self._failed(turn, f"its page cannot be read: {type(fault).__name__}: {fault}")
        finally:
            self.read_seconds += time.thread_time() - begun
        return Answer(url, value, "", self._loop.time() - turn.began, len(body))

    def _failed(self, turn: _Turn, error: str) -> Answer[T]:
        return Answer(self._asked[turn.number].url, error=error, seconds=self._loop.time() - turn.began)

    def _over(self, turn: _Turn, answer: Answer[T]) -> None:
        turn.over = True
        self._turns.discard(turn)
        self._answer(turn.number, answer)

    def _answer(self, number: int, answer: Answer[T]) -> None:
        self._answers[number] = answer
        self._left -= 1

    def _expire(self) -> None:
        """End the turns whose time is over."""
        waiting, timeout = self._in_time, self._bounds.timeout
        now = self._loop.time()
        while waiting and (waiting[0].over or waiting[0].began + timeout <= now):
            turn = waiting.popleft()
            if not turn.over:
                turn.stop()
                self._over(turn, self._failed(turn, f"no whole answer within {timeout:g} s"))
        if waiting:
            self._at(waiting[0].began + timeout, self._expire)
        self._begin_turns()

    def _end(self) -> None:
        """The round is over, whatever is still under way."""
        if not self._done.done():
            self._done.set_result(None)

    def _break(self, fault: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(fault)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, FetchError) else f"the connection broke ({reason(error)})"
