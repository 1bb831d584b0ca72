"""Processes that are killed at a chosen moment of their work on a ledger: SIGKILL, no handlers, no clean-up.

They are forked from a server that has imported everything already, which takes milliseconds where a new interpreter
takes a second.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from accounting.store.database import _WRITING

Where = Literal["before", "after", "statement"]


@dataclass(frozen=True)
class Death:
    """Die ``before`` or ``after`` the ``number``-th commit of a writer, from 0, or before its n-th ``statement``."""

    where: Where
    number: int


def forks() -> multiprocessing.context.ForkServerContext:
    """Where processes come from. What is named here is imported once, by the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.accounting.lives", "tests.accounting.crashing", "psycopg", "sqlite3"])
    return context


_CHILDREN = threading.Lock()
"""Held while exit codes may be read. To start a process reads those of all others as well, and of two threads that read
the same one at once, the second finds nothing left of it and makes it 255.
"""


def run(work: Callable[..., None], *arguments: Any, timeout: float = 60) -> int:
    """Do ``work`` in a process of its own; its exit code, negative for a signal. Several threads may do so at once."""
    process = forks().Process(target=work, args=arguments)
    with _CHILDREN:
        process.start()
    ended = wait([process.sentinel], timeout)
    with _CHILDREN:
        if not ended:
            process.kill()
        process.join()
        code = process.exitcode
    if not ended or code is None:
        raise TimeoutError(f"{work.__name__} took longer than {timeout:g} s")
    return code


def live(url: str, folder: Path, steps: Sequence[str], death: Death | None, counts: Path | None = None) -> None:
    """Do steps of `tests.accounting.lives`, to the end or to the ``death``; ``counts`` is told what was counted."""
    from tests.accounting.lives import STEPS

    gc.freeze()  # what the server imported is not worth a collection in every fork
    hook = _Hook(death)
    hook.install()
    for step in steps:
        STEPS[step](url, folder)
    if counts is not None:
        counts.write_text(f"{hook.commits} {hook.statements}")


class _Hook:
    """Counts the commits and statements of writers, and dies at the chosen one."""

    def __init__(self, death: Death | None) -> None:
        self.death = death
        self.commits = self.statements = 0
        self.writing = False

    def install(self) -> None:
        event.listen(Engine, "commit", self._committing)
        event.listen(Engine, "before_cursor_execute", self._executing)
        commit = DefaultDialect.do_commit

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            commit(dialect, connection)
            if self.writing:
                self._maybe_die("after", self.commits)
                self.commits += 1
                self.writing = False

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]

    def _committing(self, connection: Any) -> None:
        self.writing = bool(connection.get_execution_options().get(_WRITING))
        if self.writing:
            self._maybe_die("before", self.commits)

    def _executing(self, connection: Any, *_: Any) -> None:
        if connection.get_execution_options().get(_WRITING):
            self._maybe_die("statement", self.statements)
            self.statements += 1

    def _maybe_die(self, where: Where, number: int) -> None:
        if self.death == Death(where, number):
            os.kill(os.getpid(), signal.SIGKILL)
