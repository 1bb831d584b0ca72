"""Endpoints from files in the form of Prometheus' file_sd: whoever feeds Prometheus feeds meterbridge.

A file is JSON or YAML, a list of groups::

    - targets: [gn01:9400, gn02:9400]
      labels: {__scheme__: https, __metrics_path__: /metrics}

Of the labels only ``__scheme__`` and ``__metrics_path__`` count. Files are read again when they change; one that cannot
be read leaves its last good endpoints in place, as Prometheus does.
"""

from __future__ import annotations

import glob
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

log = logging.getLogger(__name__)

MAX_FILE = 16 << 20
"""Bytes of one file beyond which it is refused."""


class FileSdError(Exception):
    """A file is not as it must be. The message says what."""


class FileTargets:
    """Call it for the URLs of every file that the patterns match now, sorted. ``path`` is for groups that name none."""

    def __init__(self, patterns: Sequence[str], path: str = "/metrics") -> None:
        self._patterns, self._path = tuple(patterns), path
        self._known: dict[str, tuple[tuple[int, int], list[str]]] = {}

    def __call__(self) -> list[str]:
        """The URLs. A file with nothing in it has none; a pattern may match nothing yet."""
        names = sorted({n for p in self._patterns for n in glob.glob(p, recursive=True)})  # noqa: PTH207 - absolute ones
        self._known = {name: self._read(name) for name in names}
        return sorted({url for _, urls in self._known.values() for url in urls})

    def _read(self, name: str) -> tuple[tuple[int, int], list[str]]:
        before = self._known.get(name)
        try:
            status = Path(name).stat()
            version = (status.st_mtime_ns, status.st_size)
            if before is not None and before[0] == version:
                return before
            return version, urls(yaml.safe_load(_text(Path(name), status.st_size)), self._path)
        except (OSError, UnicodeDecodeError, FileSdError, yaml.YAMLError) as e:
            kept = before[1] if before else []
            log.warning("file_sd %s: %s; keeping %d endpoints of it", name, " ".join(str(e).split()), len(kept))
            return (before[0] if before else (0, 0)), kept


def _text(file: Path, size: int) -> str:
    if size > MAX_FILE:
        raise FileSdError(f"{size} bytes, more than {MAX_FILE}")
    return file.read_text("utf-8")


def urls(groups: Any, path: str = "/metrics") -> list[str]:
    """The URLs of file_sd groups, in their order. Raises `FileSdError` with what is not as it must be.

    >>> urls([{"targets": ["gn01:9400"]}])
    ['http://gn01:9400/metrics']
    """
    if groups is None:
        return []
    if not isinstance(groups, list):
        raise FileSdError(f"a list of groups is expected, not {type(groups).__name__}")
    found = []
    for number, group in enumerate(groups, start=1):
        if not isinstance(group, Mapping) or set(group) - {"targets", "labels"}:
            raise FileSdError(f"group {number} must have targets, and may have labels, and nothing else")
        labels = group.get("labels") or {}
        targets = group.get("targets")
        if not isinstance(labels, Mapping) or not isinstance(targets, list):
            raise FileSdError(f"group {number}: targets must be a list, labels a mapping")
        scheme, where = labels.get("__scheme__", "http"), labels.get("__metrics_path__", path)
        for target in targets:
            if not isinstance(target, str) or not target or "/" in target:
                raise FileSdError(f"group {number}: {target!r} is not HOST:PORT")
            found.append(f"{scheme}://{target}{where}")
    return found
