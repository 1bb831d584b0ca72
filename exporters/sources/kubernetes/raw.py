"""Small readers of raw Kubernetes JSON, which holds nulls where its schema says lists and maps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Raw = Mapping[str, Any]
"""One JSON object as the API server served it."""

_QUANTITY = re.compile(r"(\d+)(k|M|G|Ki|Mi|Gi)?")
_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

GPU_RESOURCE = re.compile(r"(nvidia\.com/(gpu|mig-[^/]+?)|amd\.com/gpu)(\.shared)?")
"""Extended resources that are GPUs or parts of them."""


def part(raw: Any, *path: str) -> Raw:
    """The object at ``path``, empty where any step is missing or null."""
    for step in path:
        raw = raw.get(step) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def items(raw: Any, *path: str) -> Iterator[Raw]:
    """The objects of the list at ``path``, none where it is missing or null."""
    found = part(raw, *path[:-1]).get(path[-1]) if path else raw
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def texts(raw: Any, *path: str) -> dict[str, str]:
    """The map of strings at ``path`` (labels, annotations)."""
    return {str(k): str(v) for k, v in part(raw, *path).items() if v is not None}


def seconds(value: Any) -> int | None:
    """Epoch seconds of an RFC 3339 time, None when there is none. Raises ValueError for anything else."""
    if value is None or value == "":
        return None
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"time {value!r} has no zone")
    return int(moment.timestamp())


def quantity(value: Any) -> int:
    """A count of an extended resource: ``8``, ``"8"``, ``"1k"``. Raises ValueError for what cannot be a count."""
    found = _QUANTITY.fullmatch(str(value).strip())
    if not found:
        raise ValueError(f"{value!r} is not a whole number of devices")
    return int(found.group(1)) * _SCALE[found.group(2) or ""]


def gpu_counts(resources: Raw) -> dict[str, int]:
    """The GPU resources of a resource map, zeros left out."""
    counts = {name: quantity(value) for name, value in resources.items() if GPU_RESOURCE.fullmatch(name)}
    return {name: count for name, count in counts.items() if count}


def number(value: str | None) -> int:
    """A label that should be a whole number, 0 when it is missing or is not."""
    return int(value) if value is not None and value.isascii() and value.isdigit() else 0
