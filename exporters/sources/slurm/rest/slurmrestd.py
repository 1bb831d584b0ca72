"""Slurm through slurmrestd, for hosts without Slurm's commands: a pod has no munge, but it can have a JSON web token.

    rest = RestClient("https://rest.hpc1:6820")            # the token is in SLURM_JWT
    Slurmrestd("hpc1", rest).poll(time.time())             # the present: jobs and nodes, two questions
    SlurmrestdHistory("hpc1", rest).records(start, end)    # the past: accounting's jobs

Both yield what the commands yield: the jobs of the queue are squeue's own JSON, rows of accounting are read by the same
rules. The version of the API is the newest one that is both offered and known here (`newest`), or a pinned one.

Not in the API of any release: node events. A site that reads its history this way knows of outages what was seen live.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from exporters.model import NodeEvent, Record, Reject, Scheduler, Snapshot
from exporters.sources.base import Source, SourceError
from exporters.sources.slurm import runs
from exporters.sources.slurm.history import rows, windows
from exporters.sources.slurm.live import live_job
from exporters.sources.slurm.live.backoff import Backoff
from exporters.sources.slurm.live.live_job import FormError
from exporters.sources.slurm.rest import rest_json
from exporters.sources.slurm.rest.delta import KeptQueue
from exporters.sources.slurm.rest.rest_http import MEND, RestClient, RestNotFoundError

OLDEST, NEWEST = 38, 45
"""The versions of the API that are known to be read right: of Slurm 22.05, and of 26.05."""

PLAIN = 38
"""Up to here paths have no slash at their end, and accounting knows fewer options."""

_PATH = re.compile(rb"/slurm(db)?/v0\.0\.(\d+)/(jobs|nodes)/?\"")


class Api:
    """Paths of one slurmrestd. ``version`` pins one (``v0.0.42``), empty finds it out at the first question."""

    def __init__(self, client: RestClient, version: str = "") -> None:
        self.client = client
        self._pinned = version
        self._version = version

    def ask(self, place: str, what: str, query: Callable[[int], str] = lambda _: "") -> bytes:
        """``GET /<place>/<version>/<what>?<query>``; ``query`` is given the version's number, 42 for ``v0.0.42``."""
        number = self._number()
        slash = "/" if number > PLAIN else ""
        try:
            return self.client.get(f"/{place}/{self._version}/{what}{slash}{query(number)}")
        except RestNotFoundError as error:
            self._version = self._pinned  # the release may be another next time
            raise SourceError(f"{error}. Is slurmrestd started with the plugins of {place} (-s)?") from error

    def ask_for(self, place: str, what: str) -> bytes | None:
        """``GET /<place>/<version>/<what>``, None where there is no such thing."""
        self._number()
        try:
            return self.client.get(f"/{place}/{self._version}/{what}")
        except RestNotFoundError:
            return None

    def _number(self) -> int:
        """The number of the version in use, 42 for ``v0.0.42``."""
        self._version = self._version or self._found()
        return int(self._version.rpartition(".")[2])

    def _found(self) -> str:
        offered = newest(self.client.get("/openapi/v3"))
        if offered is None:
            raise SourceError(
                f"{self.client.where} offers no version of its API between v0.0.{OLDEST} and v0.0.{NEWEST}: this Slurm "
                "is older than 22.05 or newer than known here, or runs without its slurmctld plugin. A version can be "
                "pinned with slurm.slurmrestd.version"
            )
        return f"v0.0.{offered}"


def newest(openapi: bytes) -> int | None:
    """The newest known version that an OpenAPI document has paths of, None when there is none."""
    found = {int(match[2]) for match in _PATH.finditer(openapi.replace(b"\\/", b"/"))}
    return max((number for number in found if OLDEST <= number <= NEWEST), default=None)


def _window(start: int, end: int, number: int) -> str:
    """The query for rows of ``[start, end)``. 22.05 takes no bare number for a time, but one behind ``uts``.

    Asked to leave steps out, releases after it leave out the earlier runs of a job as well, unless asked for those too.
    """
    options = "" if number <= PLAIN else "&show_duplicates=true&disable_truncate_usage_time=true"
    return f"?start_time=uts{start}&end_time=uts{end}&skip_steps=true{options}"


class Slurmrestd(Source):
    """A live source: slurmctld's present. ``cluster`` is the cluster's name at this site, ``cluster_name`` its
    ClusterName; ``identity`` as for sacct.
    """

    name = "slurmctld"  # what is read is the same, whoever carries it
    scheduler: Scheduler | None = Scheduler.SLURM

    def __init__(
        self,
        cluster: str,
        client: RestClient,
        interval: float = 15.0,
        *,
        version: str = "",
        identity: str = "auto",
        cluster_name: str = "",
    ) -> None:
        self.cluster = cluster
        self.interval = interval
        self._api = Api(client, version)
        self._backoff = Backoff(interval)
        self._queue = KeptQueue(cluster, sluids=runs.by_sluid(identity), cluster_name=cluster_name)

    def poll(self, now: float) -> Snapshot:
        """Read nodes once, and jobs if any of them changed. Raises `SourceError` when either cannot be read."""
        try:
            with self._backoff.asking(now):
                nodes = rest_json.document(self._api.ask("slurm", "nodes"), "nodes")
                told = [*rest_json.read_nodes(nodes, self.cluster)]
                queue = self._queue.at(now, self._jobs_since, live_job.slots_of_nodes(told))
            return live_job.snapshot(queue, told, now)
        except FormError as error:
            raise SourceError(f"{self._api.client.where}: {error}. {MEND}") from error

    def _jobs_since(self, since: int) -> bytes:
        return self._api.ask("slurm", "jobs", lambda _: f"?update_time={since}" if since else "")


class SlurmrestdHistory:
    """A history: slurmdbd's jobs. ``step`` seconds bound the memory of one answer, here and in slurmrestd.

    slurmrestd tells the jobs of every cluster of its slurmdbd: those of ``cluster_name`` (its ClusterName) are taken.
    """

    name = "slurmrestd"

    def __init__(
        self,
        cluster: str,
        client: RestClient,
        *,
        version: str = "",
        step: int = 86_400,
        identity: str = "auto",
        cluster_name: str = "",
    ) -> None:
        if step <= 0:
            raise ValueError(f"step must be a positive number of seconds, not {step}")
        self.cluster = cluster
        self.step = step
        self._api = Api(client, version)
        self._sluids = runs.by_sluid(identity)
        self.ours = windows.Ours(cluster_name)

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        """Every run that was or could have been running in ``[start, end)`` (epoch seconds), each once.

        Raises `SourceError` where it cannot be read; what was yielded until then is whole and true.
        """
        yield from windows.records(
            self._rows, start, end, self.step, self.cluster, self.name, ours=self.ours, sluids=self._sluids
        )

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        """Every run of these jobs, however old. Raises as `records` does."""
        for number in sorted(set(native_ids)):
            body = self._api.ask_for("slurmdb", f"job/{number}")
            told = self._told(body) if body is not None else ()
            yield from windows.as_records(told, self.cluster, self.name, ours=self.ours, sluids=self._sluids)

    def events(self, start: int, end: int) -> Iterator[NodeEvent | Reject]:
        """None: slurmrestd does not tell them."""
        del start, end
        return iter(())

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _rows(self, start: int, end: int, *, new: bool) -> Iterator[rows.Row | Reject]:
        del new  # it can only be asked for all
        yield from self._told(self._api.ask("slurmdb", "jobs", lambda number: _window(start, end, number)))

    def _told(self, body: bytes) -> Iterator[rows.Row | Reject]:
        try:
            yield from rest_json.read_rows(body, sluids=self._sluids)
        except FormError as error:
            raise SourceError(f"{self._api.client.where}: {error}. {MEND}") from error
