"""How sources and their endpoints are doing, as the registry, the pages and the series tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporters.model import Scheduler


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source is doing: what the registry knows of it besides its data.

    ``last_success`` is epoch seconds (0 = never), ``duration`` the seconds of its last poll; ``rejects`` and
    ``failures`` count since the exporter started. ``error`` is the last poll's failure, for people.
    """

    name: str
    cluster: str
    success: bool
    last_success: float
    duration: float
    polls: int
    failures: int
    rejects: int
    complete: bool = True
    error: str = ""
    problems: tuple[str, ...] = ()
    scheduler: Scheduler | None = None
    targets: tuple[int, int] | None = None
    """Endpoints read in the last round, and those that were not; None for a source that reads one thing."""
    unmetered: Mapping[str, int] = field(default_factory=dict)
    """Devices that look like accelerators and have no rule, by resource."""


@dataclass(slots=True)
class Target:
    """How one endpoint is doing, for people: ``last_success`` is epoch seconds (0 = never), ``error`` its last failure.

    ``seconds`` and ``size`` (bytes) are of its last answer. ``found`` is how it is known: listed, or discovered.
    """

    url: str
    found: str = ""
    last_success: float = 0.0
    seconds: float = 0.0
    size: int = 0
    error: str = "not read yet"
