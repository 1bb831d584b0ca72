"""A durable resume point: what was held, what ended and was not taken over, and how far the pods' watch had come.

With it, an exporter that starts again closes pods that vanished meanwhile, and sees how they ended if the API server
still remembers. The file is written whole to a neighbour and renamed: a crash leaves the old one or the new one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.watch.entries import Kept

FORMAT = 1


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
        content = path.read_bytes()
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
    """Write the resume point. Raises OSError when it cannot be kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(_ADAPTER.dump_json(resume))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
