"""Processes that read the ledger side by side, each with a connection of its own."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from os import cpu_count
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from accounting.processes import end_with_parent
from accounting.store.database import LedgerError, connect, read

In = TypeVar("In")
Out = TypeVar("Out")


class Readers(Protocol):
    """Those who read."""

    def map(self, function: Callable[[Connection, In], Out], items: Iterable[In]) -> Iterator[Out]:
        """The results in the order of the items, which are taken only a little ahead of the results."""
        ...


class Here:
    """The process that asks, alone."""

    def __init__(self, ledger: Engine) -> None:
        self.ledger = ledger

    def map(self, function: Callable[[Connection, In], Out], items: Iterable[In]) -> Iterator[Out]:
        """One item after the other."""
        with read(self.ledger) as connection:
            for item in items:
                yield function(connection, item)


class Given:
    """A connection that is open already."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def map(self, function: Callable[[Connection, In], Out], items: Iterable[In]) -> Iterator[Out]:
        """One item after the other."""
        return (function(self.connection, item) for item in items)


class Beside:
    """Processes beside this one, which works as well in the meantime."""

    def __init__(self, pool: ProcessPoolExecutor, ahead: int) -> None:
        self.pool, self.ahead = pool, ahead

    def map(self, function: Callable[[Connection, In], Out], items: Iterable[In]) -> Iterator[Out]:
        """Several items at a time."""
        waiting: deque[Future[Out]] = deque()
        for item in items:
            waiting.append(self.pool.submit(_read, function, item))
            if len(waiting) > self.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def readers(ledger: Engine, *, much: bool, number: int = 0, loading: Sequence[str] = ()) -> Iterator[Readers]:
    """``number`` processes (0: one per processor) where there is ``much`` to do: to start them takes a while.

    They come from one that has loaded the modules ``loading``, those of the functions that are going to be mapped: so
    that is done once, and the memory it takes is shared.
    """
    number = number or cpu_count() or 1
    if not much:
        yield Here(ledger)
        return
    address = ledger.url.render_as_string(hide_password=False)
    try:
        context = get_context("forkserver")
        context.set_forkserver_preload([__name__, *loading])
        with ProcessPoolExecutor(number, context, initializer=_begin, initargs=(address,)) as pool:
            yield Beside(pool, number)
    except BrokenProcessPool as error:
        raise LedgerError(
            f"one of {number} processes that read the ledger {ledger.url!r} was killed, perhaps for its memory: what "
            "was written before that stands, and the same command goes on from there"
        ) from error


_ledger: list[Engine] = []


def _begin(address: str) -> None:
    end_with_parent()
    gc.disable()  # rows that come and go, no cycles
    _ledger.append(connect(address))


def _read(function: Callable[[Connection, Any], Any], item: Any) -> Any:
    with read(_ledger[0]) as connection:
        return function(connection, item)
