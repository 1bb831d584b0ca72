"""Slurm's present, read from slurmctld: who holds which cards on which node, who waits, and what nodes there are.

A poll is one call for the jobs and one for the nodes, whatever their number: ``squeue --json`` (exact, whatever a job
is named) and ``scontrol show node``. Where squeue has no JSON, or none with GPU indices in it, the jobs are read as
text in two calls that check each other (`exporters.sources.slurm.live.queue_text`); both ways yield the same nouns.
Which way works is found out once, and again after it has failed. A controller that shows that it is busy is left alone
for a while (`exporters.sources.slurm.live.backoff`).

GPU indices exist here only: Slurm forgets them the second a job ends. While a job completes (its epilog runs) nobody
else can have its cards, but which ones they are is no longer told, and accounting has already ended it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace

from exporters.model import Reject, Scheduler, Snapshot
from exporters.sources.base import Source, SourceError
from exporters.sources.slurm import run_command, runs
from exporters.sources.slurm.live import live_job, queue_json, queue_text
from exporters.sources.slurm.live.backoff import Backoff, is_busy
from exporters.sources.slurm.live.live_job import FormError, LiveJob
from exporters.sources.slurm.live.node_text import busy_nodes, read_nodes

MEND = (
    "Check that this host has Slurm's client commands and slurm.conf, that slurmctld answers (scontrol ping), and that "
    "this user may see all jobs (PrivateData, Operator rights)"
)


class Slurmctld(Source):
    """A live source. ``cluster`` is the cluster's name at this site; the commands ask the one of slurm.conf.

    ``scontrol`` and ``squeue`` may be wrapped (``("ssh", "login1", "env", "SLURM_TIME_FORMAT=%s", "squeue")``);
    ``environment`` is added to this process's own. ``timeout`` seconds and ``max_bytes`` hold for each call.
    ``cluster_name`` is its ClusterName: jobs of other members of its federation are theirs. ``form`` is ``auto``, or
    pins ``json`` or ``text``: JSON grows with the cores of every job, text with their number only.
    """

    name = "slurmctld"
    scheduler: Scheduler | None = Scheduler.SLURM

    def __init__(
        self,
        cluster: str,
        scontrol: Sequence[str] = ("scontrol",),
        squeue: Sequence[str] = ("squeue",),
        environment: Mapping[str, str] | None = None,
        interval: float = 15.0,
        timeout: float = 30.0,
        max_bytes: int = 256 << 20,
        *,
        form: str = "auto",
        identity: str = "auto",
        cluster_name: str = "",
    ) -> None:
        if form not in {"auto", "json", "text"}:
            raise ValueError(f"form must be auto, json or text, not {form!r}")
        self.cluster = cluster
        self.interval = interval
        self._scontrol = tuple(scontrol)
        self._squeue = tuple(squeue)
        self._environment = {
            **(environment or {}),
            "SLURM_TIME_FORMAT": "%s",  # epoch seconds
            "TZ": "UTC",
            "SLURM_BITSTR_LEN": "0",  # waiting array tasks in full, not "1-5,7,..."
        }
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._form = form
        self._backoff = Backoff(interval)
        self._works = ""  # the form that worked last
        self._sluids: bool | None = None
        self._named = runs.by_sluid(identity)
        self._cluster_name = cluster_name

    def poll(self, now: float) -> Snapshot:
        """Read jobs and nodes once. Raises `SourceError` when either cannot be read."""
        with self._backoff.asking(now):
            jobs = self._jobs()
            nodes = self._ask(*self._scontrol, "--local", "-a", "-d", "-o", "show", "node")
        told = [*read_nodes(nodes, self.cluster)]
        slots = live_job.slots_of_nodes(told)
        queue = live_job.nouns(jobs, self.cluster, int(now), self._cluster_name, slots)
        try:
            partial, why = live_job.unnamed(jobs, busy_nodes(nodes))
            found = live_job.snapshot(queue, told, now)
        except FormError as error:
            raise SourceError(f"{' '.join(self._scontrol)} show node: {error}. {MEND}") from error
        return replace(found, complete=False, problems=(*found.problems, why)) if partial else found

    def _jobs(self) -> list[LiveJob | Reject]:
        """The queue, in the form that worked last, or in the other where that cannot be had any more."""
        forms = {"json": self._json, "text": self._text}
        if self._form != "auto":
            return forms[self._form]()
        first = self._works or "json"
        known, self._works = self._works, ""  # until it has worked again
        try:
            jobs = forms[first]()
        except SourceError as error:
            if (known and not isinstance(error, _WrongFormError)) or is_busy(str(error)):
                raise
            first, tried = ("text" if first == "json" else "json"), first
            try:
                jobs = forms[first]()
            except SourceError as other:
                raise SourceError(f"{other}. (As {tried}: {error})") from other
        self._works = first
        return jobs

    def _json(self) -> list[LiveJob | Reject]:
        try:
            return queue_json.read_queue(self._ask(*self._squeue, "-a", "--local", "--json"), sluids=self._named)
        except FormError as error:
            raise _WrongFormError(f"{' '.join(self._squeue)} --json: {error}. {MEND}") from error
        except run_command.TooLargeError as error:
            raise _WrongFormError(
                f"{error}. Raise the limit, or pin the text form, which does not grow with the jobs' cores"
            ) from error

    def _text(self) -> list[LiveJob | Reject]:
        if self._sluids is None:
            version = self._ask(*self._squeue, "--version")
            try:
                self._sluids = self._named and runs.release_of(version) >= runs.SLUID_RELEASE
            except ValueError as error:
                raise SourceError(f"{' '.join(self._squeue)} --version: {error}. {MEND}") from error
        delimiter = f"|{secrets.token_urlsafe(9)}|"
        form = queue_text.squeue_format(delimiter, sluids=self._sluids)
        try:
            told = self._ask(*self._squeue, "-a", "--local", "-h", f"--Format={form}")
            details = self._ask(*self._scontrol, "--local", "-a", "-d", "show", "job")
        except SourceError:
            self._sluids = None  # the release may be another next time
            raise
        try:
            return queue_text.read_queue(told, details, delimiter, sluids=self._sluids)
        except FormError as error:
            raise _WrongFormError(f"{' '.join(self._squeue)}: {error} {MEND}") from error

    def _ask(self, *words: str) -> str:
        """What a command prints, with bytes that are not UTF-8 kept as surrogates."""
        out = run_command.run(
            words, environment=self._environment, timeout=self._timeout, max_bytes=self._max_bytes, mend=MEND
        )
        return out.decode("utf-8", "surrogateescape")


class _WrongFormError(SourceError):
    """The command answered, but not in a form that can be used."""
