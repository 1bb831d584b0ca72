"""What is known of jobs besides numbers, as rows: a job's row is one object for as long as it says the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

from exporters.model import Job, JobKey

_ABOUT = attrgetter("display_id", "name", "user", "account", "partition", "qos", "kind", "state")
"""What is known of a job, in the order of the labels of its info."""

Row = tuple[str, ...]
"""The label values of one job's info."""


class JobNames:
    """The rows of the last round. Sources name a job anew in each poll, but hardly ever otherwise."""

    def __init__(self) -> None:
        self._known: dict[JobKey, tuple[Job, str, Row]] = {}

    def rows(self, keys: Sequence[JobKey], jobs: Iterable[Job | None], projects: Iterable[str]) -> list[Row]:
        """The rows of jobs, given what is known of each (None: it has no row) and its project."""
        known = self._known
        rows = []
        for key, job, project in zip(keys, jobs, projects, strict=True):
            if job is None:
                continue
            last = known.get(key)
            if last is not None and last[0] is job and last[1] == project:
                row = last[2]
            else:
                row = (*key, project, *_ABOUT(job))
                if last is not None and last[2] == row:
                    row = last[2]
                known[key] = job, project, row
            rows.append(row)
        if len(known) > 2 * len(rows) + 100:
            self._known = {key: known[key] for key in keys if key in known}
        return rows
