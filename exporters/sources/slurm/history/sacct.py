"""Slurm's history, read from sacct and sacctmgr: every run of every job, and when nodes were not available.

    sacct = Sacct("hpc1")
    for item in sacct.records(start, end): ...     # Record or Reject, one per run

One call per sub-window, as text: ``sacct -a -D -X -n -P`` with a delimiter of its own
(`exporters.sources.slurm.history.rows` says why that is exact). ``-D`` because requeued, preempted and failed runs held
cards too; ``-X`` because steps hold nothing of their own. Times are epoch seconds (SLURM_TIME_FORMAT), never the
client's local time.

Measured on 22.05 with 200,000 jobs in a month, day by day: 8 s of processor time and 44 MB here, 124 MB in sacct; in
one window 187 MB here and 355 MB in sacct.

Not in any answer: jobs that never became eligible to start (held to their end); they held nothing. A job of a few
seconds may first appear under the name ``allocation``, and its own follows seconds later: the caller's overlap reads it
again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence

from exporters.model import NodeEvent, Record, Reject
from exporters.sources.base import SourceError
from exporters.sources.slurm import run_command as command
from exporters.sources.slurm import runs
from exporters.sources.slurm.history import rows, windows
from exporters.sources.slurm.history.events import read_events

MEND = (
    "Check that this host has Slurm's client commands and slurm.conf, that slurmdbd answers (sacctmgr show cluster), "
    "and that this user may see all jobs (PrivateData, Operator rights)"
)


class Sacct:
    """Reads one cluster's accounting. ``cluster`` is its name at this site; the command asks the cluster of slurm.conf.

    ``command`` may reach elsewhere: ``("ssh", "login1", "env", "SLURM_TIME_FORMAT=%s", "TZ=UTC", "sacct")``.
    ``environment`` is added to this process's own (``SLURM_CONF`` to read another cluster). ``timeout`` seconds and
    ``max_bytes`` hold for each sub-window of ``step`` seconds, which bounds the memory used, here and in sacct.
    ``cluster_name`` is its ClusterName: rows of others are not taken (`exporters.sources.slurm.history.windows.Ours`).
    ``identity`` pins what names a run (`exporters.sources.slurm.runs`): ``auto`` follows the release; ``submit`` is for
    a site that goes over to 26.05 with jobs running, and the same for every source of its cluster.
    """

    name = "sacct"

    def __init__(
        self,
        cluster: str,
        command: Sequence[str] = ("sacct",),
        environment: Mapping[str, str] | None = None,
        timeout: float = 300.0,
        *,
        sacctmgr: Sequence[str] = ("sacctmgr",),
        step: int = 86_400,
        max_bytes: int = 256 << 20,
        identity: str = "auto",
        cluster_name: str = "",
    ) -> None:
        if step <= 0:
            raise ValueError(f"step must be a positive number of seconds, not {step}")
        self.cluster = cluster
        self.step = step
        self._command = tuple(command)
        self._sacctmgr = tuple(sacctmgr)
        self._environment = {
            **(environment or {}),
            "SLURM_TIME_FORMAT": "%s",  # epoch seconds
            "TZ": "UTC",  # what -S and -E are read in
            "SLURM_BITSTR_LEN": "0",  # never-started array tasks in full, not "39_[5,7,...]"
        }
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._identity, self._sluids = identity, runs.by_sluid(identity)
        self._fields: tuple[str, ...] = ()
        self.ours = windows.Ours(cluster_name)

    def records(self, start: int, end: int) -> Iterator[Record | Reject]:
        """Every run that was or could have been running in ``[start, end)`` (epoch seconds), each once.

        Rows of one sub-window are yielded only after sacct has ended well. Raises `SourceError` (which names the
        command, its exit code and its words) when it has not; what was yielded until then is whole and true.
        """
        yield from windows.records(
            self._rows, start, end, self.step, self.cluster, self.name, ours=self.ours, sluids=self._sluids
        )

    def again(self, native_ids: Sequence[str]) -> Iterator[Record | Reject]:
        """Every run of these jobs (JobIDRaw), however old, and of arrays that they lead. Raises as `records` does."""
        for some in windows.together(sorted(set(native_ids))):
            found = self._told("-j", ",".join(some))
            yield from windows.as_records(found, self.cluster, self.name, ours=self.ours, sluids=self._sluids)

    def events(self, start: int, end: int) -> Iterator[NodeEvent | Reject]:
        """When nodes were down, drained or unknown within ``[start, end)`` (epoch seconds).

        Events still open have end None. Raises `SourceError` as `records` does.
        """
        text = self._ask(
            *self._sacctmgr, "-n", "-P", "show", "event", f"start={_utc(start)}", f"end={_utc(end)}",
            "format=NodeName,Start,End,State,StateRaw,TRES,Reason",
        )  # fmt: skip
        yield from read_events(text, self.cluster)

    def close(self) -> None:
        """Nothing is held open between calls."""

    def _rows(self, start: int, end: int, *, new: bool) -> Iterator[rows.Row | Reject]:
        del new  # it can only be asked for all
        yield from self._told("-S", _utc(start), "-E", _utc(end))

    def _told(self, *which: str) -> Iterator[rows.Row | Reject]:
        """The rows of one call. ``--local``: those of a federation's other members are theirs (sacct(1))."""
        fields = self._known_fields()
        told = rows.form(fields)
        delimiter = f"|{secrets.token_urlsafe(9)}|"
        form = (f"--delimiter={delimiter}", f"--format={','.join(fields)}")
        text = self._ask(*self._command, "-a", "-D", "-X", "-n", "-P", "--local", *form, *which)
        if text and not text.endswith("\n"):
            raise SourceError(
                f"{' '.join(self._command)} ended well in the middle of a row: its answer is not whole. {MEND}"
            )
        for row in rows.cut(text, delimiter, len(fields)):
            if isinstance(row, str):
                yield Reject(rows.SOURCE, row[: rows.RECORD_LIMIT], "this is not a row that sacct was asked for")
            else:
                yield told(row)

    def _known_fields(self) -> tuple[str, ...]:
        """What to ask this release for; found out once."""
        if not self._fields:
            offered = set(self._ask(*self._command, "--helpformat").split())
            fields = rows.SLUID_FIELDS if self._identity == "sluid" or "OriginalSLUID" in offered else rows.FIELDS
            missing = [name for name in fields if name not in offered]
            if missing:
                raise SourceError(
                    f"{' '.join(self._command)} has no field {', '.join(missing)}: --helpformat lists its own"
                )
            self._fields = fields
        return self._fields

    def _ask(self, *words: str) -> str:
        """What a command prints, with bytes that are not UTF-8 kept as surrogates."""
        out = command.run(
            words, environment=self._environment, timeout=self._timeout, max_bytes=self._max_bytes, mend=MEND
        )
        return out.decode("utf-8", "surrogateescape")


def _utc(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))
