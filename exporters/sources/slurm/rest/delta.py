"""The jobs of slurmctld, read anew only where one of them changed since: delta polling through slurmrestd.

From v0.0.39 of its API on, an answer says as of when it is (``last_update``), and a question may say what is known
(``update_time``). slurmctld then compares two times and sends nothing where no job is another than before: slurmrestd
answers with status 304, or with an empty list as of time 0. Whatever changes brings the whole list.

Nodes are asked for whole each time. 24.11 asks for the partitions as of the same time, which seldom change, and answers
with an error (status 500, "Unable to query partitions") when a node changed and they did not.
"""

from __future__ import annotations

from collections.abc import Callable

from exporters.sources.slurm.live import live_job, queue_json
from exporters.sources.slurm.rest import rest_json
from exporters.sources.slurm.rest.rest_http import RestUnchangedError

WHOLE = 300.0
"""Seconds after which the queue is read whole in any case: the clock of a controller that took over may be behind."""


class KeptQueue:
    """The queue of one cluster, as it was told last; ``sluids`` as for `queue_json.read_jobs`."""

    def __init__(self, cluster: str, *, sluids: bool, cluster_name: str = "") -> None:
        self._cluster, self._sluids, self._cluster_name = cluster, sluids, cluster_name
        self._last: tuple[float, int, live_job.Queue] | None = None

    def at(self, now: float, ask: Callable[[int], bytes], slots: live_job.Slots) -> live_job.Queue:
        """The queue as it is at ``now``. ``ask(since)`` gets a document; ``since`` 0 asks for all of it. ``slots`` are
        the nodes' own.

        Raises what ``ask`` raises, and `FormError`; what was known is not returned in the place of an answer.
        """
        read_at, since, last = self._last or (now, 0, None)
        if not 0 <= now - read_at < WHOLE:
            since = 0
        try:
            document = rest_json.document(ask(since), "jobs")
        except RestUnchangedError:
            if since and last is not None:
                return last
            raise
        as_of = rest_json.last_update(document)
        if since and last is not None and not as_of:
            return last
        jobs = queue_json.read_jobs(document, sluids=self._sluids)
        queue = live_job.nouns(jobs, self._cluster, int(now), self._cluster_name, slots)
        self._last = (now, as_of, queue)
        return queue
