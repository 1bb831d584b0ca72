"""Names of hosts, as records of different systems write them. Pure."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"\d+(\.\d+){3}|.*:.*")


def short_name(name: str) -> str:
    """The part before the first dot, lower case: ``GN01.cluster.example`` -> ``gn01``. Addresses stay whole."""
    return name.lower() if _ADDRESS.fullmatch(name) else name.split(".", 1)[0].lower()
