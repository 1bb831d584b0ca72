"""A durable resume point: what was held, what ended and was not taken over, and how far the pods' watch had come.

With it, an exporter that starts again closes pods that vanished meanwhile, and sees how they ended if the API server
still remembers. The file is written whole to a neighbour and renamed: a crash leaves the old one or the new one.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.watch.entries import Kept

FORMAT = 1
LIMIT = 1 << 30
"""Bytes: some kB for each pod that holds or lately held cards, so that this is more than any cluster has."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The content of a resume file. ``versions``: path of a collection -> the last resourceVersion read from it."""

    cluster: str
    saved: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    format: int = FORMAT


_ADAPTER = TypeAdapter(Resume)


def load(path: Path, cluster: str) -> tuple[Resume, str]:
    """The resume point, and a sentence where there was one that could not be used: it is set aside, not lost.

    Raises `SourceError` when the file belongs to another cluster or cannot be read at all.
    """
    try:
        content = _read(path)
    except FileNotFoundError:
        return Resume(cluster), ""
    except OSError as e:
        raise SourceError(f"resume file {path} cannot be read: {e}") from e
    try:
        found = _ADAPTER.validate_json(content)
    except ValidationError as e:
        aside = path.with_name(f"{path.name}.broken")
        path.replace(aside)
        problem = e.errors()[0]
        where = ".".join(str(step) for step in problem["loc"]) or "the whole file"
        return Resume(cluster), (
            f"resume file {path} is not one of ours ({where}: {problem['msg']}); it was moved to {aside}, and pods "
            "that vanished since it was written are not closed"
        )
    if found.cluster != cluster:
        raise SourceError(
            f"resume file {path} is of cluster {found.cluster!r}, not {cluster!r}: give each cluster a file of its own"
        )
    return found, ""


def save(path: Path, resume: Resume) -> None:
    """Write the resume point, readable by our own user alone. Raises OSError when it cannot be kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # what a crash left, or a link that somebody laid there
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_ADAPTER.dump_json(resume))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _read(path: Path) -> bytes:
    """The file's content. Raises OSError, also where it is a link, no plain file, or larger than `LIMIT`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file")
        if status.st_size > LIMIT:
            raise OSError(errno.EFBIG, f"it has {status.st_size} bytes, more than {LIMIT}")
        return file.read(LIMIT)
