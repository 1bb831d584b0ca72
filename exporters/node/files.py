"""Reading what the kernel shows as files: small, quick, and every failure told apart from an absence."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

LIMIT = 4096
"""A page: no file of sysfs holds more."""

ABSENT = (errno.ENOENT, errno.ENODEV)
"""There is no such file (any more): a driver that does not have it, or a device that was just unplugged."""

UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENODATA)
"""The file is there, and the driver says that it cannot know: as good as absent, and the same every time."""


@dataclass(frozen=True, slots=True, order=True)
class Unread:
    """A thing that is there and could not be read. ``device`` and ``port`` are empty where it is about neither.

    ``what`` is the file below the port's or device's folder; ``reason`` is for the log.
    """

    device: str
    port: str
    what: str
    reason: str


def read_text(path: str, limit: int = LIMIT) -> str:
    """A small file's text without its line end. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, limit).decode(errors="replace").strip()
    finally:
        os.close(descriptor)


def text_or_empty(path: str) -> str:
    """A small file's text; empty when it is absent or unreadable, for what is only good to know."""
    try:
        return read_text(path)
    except OSError:
        return ""


def names(path: str) -> list[str]:
    """What a folder holds, sorted; empty when it is absent. Raises OSError when it is there and closed."""
    try:
        return sorted(os.listdir(path))  # noqa: PTH208 - hundreds of names a round, and no need of Path objects
    except OSError as error:
        if error.errno in ABSENT:
            return []
        raise


def link_name(path: str) -> str:
    """The last part of where a symbolic link leads (a device's driver, its bus); empty when there is none."""
    try:
        return Path(path).readlink().name
    except OSError:
        return ""
