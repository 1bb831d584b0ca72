"""What is known of jobs besides numbers, as rows: a job's row is one object for as long as it says the same."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from exporters.model import Job

_ABOUT = attrgetter("display_id", "name", "user", "account", "partition", "qos", "kind", "state")
"""What is known of a job, in the order of the labels of its info."""

Labels = tuple[str, ...]


class JobNames:
    """The rows of the last round. Sources name a job anew in each poll, but hardly ever otherwise."""

    def __init__(self) -> None:
        self._known: dict[Labels, tuple[Job, str, Labels]] = {}

    def rows(self, every: Iterable[Labels], jobs: Iterable[Job | None], projects: Iterable[str]) -> list[Labels]:
        """The rows of jobs, given each one's labels, what is known of it (None: it has no row) and its project."""
        known = self._known
        rows = []
        for labels, job, project in zip(every, jobs, projects, strict=True):
            if job is None:
                continue
            last = known.get(labels)
            if last is not None and last[0] is job and last[1] == project:
                row = last[2]
            else:
                row = (*labels, project, *_ABOUT(job))
                if last is not None and last[2] == row:
                    row = last[2]
                known[labels] = job, project, row
            rows.append(row)
        if len(known) > 2 * len(rows) + 100:
            self._known = {row[:3]: known[row[:3]] for row in rows}
        return rows
