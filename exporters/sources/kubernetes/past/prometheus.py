"""Asks a Prometheus (or what speaks its HTTP API: Thanos, Mimir) one question at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from exporters.masking import masked
from exporters.sources.base import SourceError

Series = tuple[Mapping[str, str], list[tuple[float, float]]]
"""Labels, and samples as (epoch seconds, value)."""

MAX_BYTES = 256 << 20
"""The most that one answer may have."""


class Prometheus:
    """One server. ``token_file`` holds a bearer token and is read at each question; ``timeout`` is seconds for one."""

    def __init__(self, url: str, *, token_file: Path | None = None, timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._token_file, self._timeout = token_file, timeout
        self._pool = urllib3.PoolManager(retries=False)

    def ask(self, query: str, at: int) -> list[Series]:
        """An instant query at ``at``, epoch seconds: one sample per series, or many when the query has a range.

        Raises `SourceError` when it cannot be read, or was answered only in part.
        """
        where = f"Prometheus {masked(self.url)}"
        try:
            headers = {"User-Agent": "meterbridge"}
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text('utf-8').strip()}"
            response = self._pool.request(
                "POST",
                f"{self.url}/api/v1/query",
                fields={"query": query, "time": str(at), "timeout": f"{self._timeout:g}s"},
                encode_multipart=False,
                headers=headers,
                timeout=self._timeout,
                preload_content=False,
            )
            body = response.read(MAX_BYTES + 1)
            response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError) as e:
            raise SourceError(f"{where} cannot be read: {e}; check kubernetes.history.prometheus") from e
        if len(body) > MAX_BYTES:
            raise SourceError(f"{where}: an answer has more than {MAX_BYTES} bytes; narrow kubernetes.history.matcher")
        return _series(body, f"{where}: {query[:200]}")

    def close(self) -> None:
        """Release the connections."""
        self._pool.clear()


def _series(body: bytes, where: str) -> list[Series]:
    try:
        told: Any = json.loads(body)
        if told["status"] != "success":
            raise SourceError(f"{where}: {told.get('error', told['status'])}")
        found = [(row["metric"], _samples(row)) for row in told["data"]["result"]]
    except (ValueError, KeyError, TypeError, IndexError) as e:
        raise SourceError(f"{where}: not an answer of Prometheus' query API: {body[:200]!r}") from e
    partial = [str(w) for w in told.get("warnings") or ()]
    if partial:  # Thanos answers in part when a store is away, and what is missing would look like an end
        raise SourceError(f"{where}: answered in part: {'; '.join(partial)}")
    return found


def _samples(row: Mapping[str, Any]) -> list[tuple[float, float]]:
    pairs = row["values"] if "values" in row else [row["value"]]
    return [(float(at), float(value)) for at, value in pairs]
