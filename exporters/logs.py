"""How every command logs: text or JSON, on standard error. It loads nothing of the house."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


WINDOW = 60.0
"""Seconds in which the same trouble is one line."""
KINDS = 20
"""Lines of one text with different names in it, in that time."""
_TEXTS = 1000


@dataclass(slots=True)
class _Told:
    """What one line of code said in a window, and how often it was not let through."""

    since: float
    texts: set[str] = field(default_factory=set)
    more: int = 0
    last: logging.LogRecord | None = None


class QuietHandler(logging.StreamHandler[TextIO]):
    """Writes every warning and error once a minute, with a count of how often it came again.

    Troubles come in storms: one per scrape, per connection, per pod. A log that is filled by one of them hides the
    others, and fills the disk. What is below a warning is written as it comes. ``clock`` is monotonic seconds.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._told: dict[tuple[str, int, str], _Told] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it; and write the counts whose minute is over."""
        now = self._clock()
        self._tell_counts(now - WINDOW)
        if record.levelno < logging.WARNING or self._is_new(record, now):
            super().emit(record)

    def close(self) -> None:
        """Write the counts that are left, and end."""
        with self.lock or threading.RLock():
            self._tell_counts(float("inf"))
        super().close()

    def _is_new(self, record: logging.LogRecord, now: float) -> bool:
        key = (record.name, record.levelno, str(record.msg))
        if key not in self._told and len(self._told) >= _TEXTS:
            return True
        told = self._told.setdefault(key, _Told(now))
        text = record.getMessage()
        if text not in told.texts and len(told.texts) < KINDS:
            told.texts.add(text)
            return True
        told.more += 1
        told.last = record
        return False

    def _tell_counts(self, before: float) -> None:
        for key, told in [(key, told) for key, told in self._told.items() if told.since <= before]:
            del self._told[key]
            if told.last is not None:
                text = f"{told.last.getMessage()} (and the like: {told.more} more in {WINDOW:.0f} s)"
                again = logging.makeLogRecord({**told.last.__dict__, "msg": text, "args": (), "exc_info": None})
                super().emit(again)


def log_options(command: F) -> F:
    """``--log-level`` and ``--log-format``."""
    level = click.option(
        "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
    )
    form = click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
    return level(form(command))


def set_up_logging(log_level: str, log_format: str) -> None:
    """Log to standard error from now on."""
    handler = QuietHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    handler.setFormatter(_Json() if log_format == "json" else text)
    logging.basicConfig(level=log_level.upper(), handlers=[handler], force=True)
