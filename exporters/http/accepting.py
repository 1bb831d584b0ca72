"""The listening socket: it takes no more connections than it may, and always has room for the next one."""

from __future__ import annotations

import errno
import logging
import os
import socket
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Talk(Protocol):
    """What is said on one connection, once it is open (after the handshake, with TLS)."""

    @property
    def busy(self) -> bool:
        """Whether a whole request is there and its answer is on its way."""
        ...

    def abort(self) -> None:
        """End it at once."""
        ...


@dataclass(slots=True)
class _Taken:
    connection: socket.socket
    talk: Talk | None = None


class Accepting(socket.socket):
    """A listening socket that holds ``limit`` connections at most; for one event loop's thread alone.

    Where all are taken, the oldest that has no request under way is closed for the new one: half a request, or none,
    is what an honest client has for a moment only. Where all have one, the new connection is closed.
    """

    def __init__(self, bound: socket.socket, limit: int) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._limit = limit
        self._taken: dict[int, _Taken] = {}  # by descriptor, the oldest first
        self._spare = _spare()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError where there is none, or no room for it."""
        if len(self._taken) >= self._limit:
            self._forget_closed()
        full = len(self._taken) >= self._limit
        if full and self._make_room():
            raise BlockingIOError(errno.EAGAIN, "room is being made")  # the one closed goes with the loop's next turn
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE}:
                raise
            self._turn_away()
            raise BlockingIOError(errno.EAGAIN, "no file descriptor is left") from error
        if full:
            log.warning("a connection was closed unanswered: all %d have a request under way", self._limit)
            connection.close()
            raise BlockingIOError(errno.EAGAIN, "no room")
        self._taken.pop(connection.fileno(), None)
        self._taken[connection.fileno()] = _Taken(connection)
        return connection, address

    def opened(self, descriptor: int, talk: Talk) -> None:
        """Say who talks on a connection that was accepted."""
        taken = self._taken.get(descriptor)
        if taken is not None:
            taken.talk = talk

    def close(self) -> None:
        """Listen no more; connections stay."""
        super().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _forget_closed(self) -> None:
        for descriptor in [d for d, taken in self._taken.items() if taken.connection.fileno() != d]:
            del self._taken[descriptor]

    def _make_room(self) -> bool:
        for descriptor, taken in self._taken.items():
            if taken.talk is not None and taken.talk.busy:
                continue
            del self._taken[descriptor]
            if taken.talk is not None:
                taken.talk.abort()
            else:  # in the handshake: its transport sees the end
                taken.connection.shutdown(socket.SHUT_RDWR)
            log.warning("a connection without a whole request was closed to make room: %d are open", self._limit)
            return True
        return False

    def _turn_away(self) -> None:
        """Close the connection that waits: left there, it would be offered again at once, for ever."""
        log.error("no file descriptor is left: a connection was closed unanswered (LimitNOFILE, ulimit -n)")
        if self._spare is None:
            self._make_room()
        else:
            os.close(self._spare)
            self._spare = None
            try:
                super().accept()[0].close()
            except OSError as error:  # it went away by itself, or somebody else took the descriptor
                log.debug("the connection that waits could not be taken: %s", error)
        self._spare = _spare()


def _spare() -> int | None:
    """A descriptor to give up where none is left."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
