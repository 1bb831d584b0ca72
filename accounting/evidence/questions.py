"""What evidence is asked for: which machine a node is, and who pays for a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporters.model import Job, NodeKey

Resolver = Callable[[NodeKey, int, int], Sequence[tuple[str, int, int]]]
"""Which machine a node is: stretches ``(machine, start, end)`` that partition the interval asked for."""

Projects = Callable[[Job, float], str]
"""Who pays for a job at a moment: a matter of its scheduler, cluster, account and labels alone."""
