"""Which version of meterbridge this is."""

from __future__ import annotations


def version() -> str:
    """The installed version, or ``unknown`` in a checkout that is not installed."""
    from importlib import metadata  # noqa: PLC0415 - reading packages' metadata takes half as long as all of click

    try:
        return metadata.version("meterbridge")
    except metadata.PackageNotFoundError:
        return "unknown"
