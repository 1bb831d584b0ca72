"""Runs without an end are a question: who else knows them, and who tells their end.

A window of a history never selects again what ended before it: of a run that the ledger has as open, and that an
answer reaching *now* does not tell, the history is asked by its id. So it is of a run that slurmctld showed and no
record tells.

* It ended: that is taken, however old it is.
* It runs, and should have been in the answer: the answer was not whole, and nothing is covered by it.
* It is nowhere: it is *lost*, and held to the last moment at which anybody saw it.

A run that the history tells as running while slurmctld, read in full since, does not have it is a *runaway* (what
``sacctmgr show runawayjobs`` lists): it is held to its last sighting and no longer, until the history tells better.
What is held less than it is told has that in its raw text, after what was read, and is set aside in ``rejects`` by its
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from accounting.intake.live_only import LIVE_ONLY, SEEN_ONLY, claims_seen, versions_seen
from accounting.intake.rejects import DOUBTS, LOST, RUNAWAY, UNCOUNTED, Aside, set_aside, standing_about
from accounting.intake.rejects import resolve as resolved
from accounting.intake.runs_seen import Present, Sighting, mark_recorded
from accounting.intake.versions import Version, hash_of
from accounting.store.database import chunks, raw_bytes, storable
from accounting.store.rows import CLAIM_COLUMNS, ENDED, JOB_COLUMNS, RUNS, claim_of, job_of
from accounting.store.tables import OPEN_RECORDS
from accounting.store.tables import claims as claims_table
from accounting.store.tables import jobs as jobs_table
from accounting.store.tables import nodes as nodes_table
from accounting.store.tables import records as records_table
from exporters.model import Claim, Job, JobKey, NodeKey, Record, Scheduler

GRACE = 60
"""Seconds after its start from which slurmctld must show a run: two clocks, and a poll that was under way."""

LATE = 900
"""Seconds after which slurmdbd has what slurmctld told it, while both are well."""

FRESH = 600
"""Seconds for which what slurmctld showed says something about now."""

NO_CARDS = "no gpu"
"""Why a run is excluded for which accounting records no card."""

NOTE = "\x1fmeterbridge: "
"""Stands in a record's raw text between what was read and what is held against it."""


class Doubt(NamedTuple):
    """What is in doubt, in a sentence, and the milliGPU-seconds that it is about, 0 where nobody knows."""

    said: str
    quantity: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """An open run that the answer did not tell. ``record`` is the ledger's record of it, None where it has none."""

    run: str
    native_id: str
    began: int | None
    record: int | None = None
    lost: bool = False


@dataclass(slots=True)
class OpenRuns:
    """What one reading of a cluster's history tells of open runs, confronted with what slurmctld shows.

    ``position`` is up to when the history had been read before. Of the runs that ``ended``, those are ``settled`` of
    which accounting tells what they held. What is not the ``newest`` answer judges nothing. ``withheld`` is what runs
    hold no longer than they were seen. ``charge_live`` charges what slurmctld showed and no record tells.
    """

    source: str
    cluster: str
    present: Present
    position: int
    newest: bool = True
    told: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    asides: dict[str, Aside] = field(default_factory=dict)
    uncounted: set[str] = field(default_factory=set)
    charge_live: bool = False
    withheld: dict[str, tuple[Claim, ...]] = field(default_factory=dict)

    def take(self, record: Record) -> Record:
        """A record as it is to be kept: an open one that slurmctld contradicts is held to its last sighting."""
        run, seen = record.job.key.id, self.present.runs.get(record.job.key.id)
        if not record.pending:
            self.ended.add(run)
            if record.claims or record.excluded != NO_CARDS:
                self.settled.add(run)
        else:
            self.told.add(run)
        if not record.claims and record.job.start is not None and seen is not None and not _shared(record):
            self.uncounted.add(record.job.display_id)
            return self._as_seen(record, seen) if self.charge_live else record
        if not record.pending or not record.claims or not self._gone(record, seen):
            return record
        return self._held_to(record, None if seen is None else seen.last)

    def _as_seen(self, record: Record, seen: Sighting) -> Record:
        """A record that tells no cards, with those that slurmctld showed."""
        job = record.job
        end = seen.last if record.pending else job.end
        if job.start is None or (end is not None and end <= job.start):
            return record
        claims = claims_seen(job.key, seen, job.start, end)
        return replace(record, raw=f"{record.raw}{NOTE}{LIVE_ONLY}", claims=claims, excluded="", doubt=LIVE_ONLY)

    def _gone(self, record: Record, seen: Sighting | None) -> bool:
        """Whether slurmctld, read in full since the run began, does not have it."""
        at = self.present.at
        if at is None or at < min(c.start for c in record.claims) + GRACE:
            return False
        if seen is not None:
            return seen.last is not None
        # the same job under the other kind of name (slurm.identity is not the same everywhere) is no other job
        plain = "@" in record.job.key.id
        return not any(
            s.native_id == record.job.native_id and s.last is None and ("@" in run) != plain
            for run, s in self.present.runs.items()
        )

    def _held_to(self, record: Record, until: int | None) -> Record:
        job = record.job
        claims = self.withheld[job.key.id] = cut(record.claims, until, RUNAWAY)
        where = f"it was last seen there at {_moment(until)}" if until else "it was never seen there"
        said = (
            f"job {job.display_id} {job.name!r} of {job.user or '-'}, {job.account or '-'}, is {job.state} in"
            f" accounting since {_moment(job.start)}, and slurmctld, read in full, does not have it: {where}, and"
            " it is held no longer than that. See sacctmgr show runawayjobs: what is mended there is taken"
        )
        self.asides[job.key.id] = self._aside(RUNAWAY, job.key.id, record.raw, said)
        return replace(record, raw=f"{record.raw}{NOTE}{RUNAWAY}, {where}", claims=claims, doubt=RUNAWAY)

    def _aside(self, kind: str, run: str, raw: str, reason: str) -> Aside:
        where = f"{self.cluster}/{run}"
        return Aside(
            kind, storable(self.source), storable(self.cluster), raw_bytes(raw), storable(reason), where.encode(), where
        )

    # -- what the answer did not tell ----------------------------------------------------------------------------------

    def missing(self, connection: Connection, now: int) -> list[Asked]:
        """The open runs that the answer up to ``now`` did not tell."""
        r, j = records_table.c, jobs_table.c
        query = (
            select(j.run, j.native_id, j.start_at, r.id, r.reason)
            .join(jobs_table, j.id == r.job_id)
            .where(OPEN_RECORDS, r.cluster == self.cluster, j.scheduler == Scheduler.SLURM.value, ~SEEN_ONLY)
            .order_by(r.id)
        )
        found = [
            Asked(run, native, began, number, reason == LOST)
            for run, native, began, number, reason in connection.execute(query)
            if native and run not in self.told and run not in self.ended
        ]
        known = self._recorded(connection)
        return found + [
            Asked(run, seen.native_id, seen.start)
            for run, seen in self.present.runs.items()
            if seen.native_id and seen.job_id not in known and (seen.last is not None or seen.start < now - LATE)
        ]

    def _recorded(self, connection: Connection) -> set[int]:
        """Jobs that slurmctld showed and some record tells; of those that ended, that is written down."""
        r = records_table.c
        seen = {s.job_id: s for s in self.present.runs.values()}
        known, over = set(), []
        for part in chunks(sorted(seen)):
            query = select(r.job_id, r.finality, r.reason).where(r.current, r.job_id.in_(part), ~SEEN_ONLY)
            for job, finality, reason in connection.execute(query):
                known.add(job)
                over += [seen[job].row] * (finality == ENDED and reason not in (NO_CARDS, LIVE_ONLY))
        mark_recorded(connection, over)
        return known

    def not_whole(self, asked: Iterable[Asked], read: int, now: int) -> str:
        """Why the answer cannot have been whole, or nothing. ``read`` is how many records it had."""
        open_ = [a for a in asked if a.began is not None and a.began < now - LATE and a.run in self.told]
        if open_:
            return f"{_of(open_)} in no answer up to now, and still open when asked for by id"
        at = self.present.at
        shown = [
            Asked(run, s.native_id, s.start)
            for run, s in self.present.runs.items()
            if s.last is None and s.start < now - LATE
        ]
        if not read and shown and at is not None and at >= now - FRESH:
            return f"it names no job at all, while slurmctld shows {_of(shown)}"
        return ""

    def lost(self, connection: Connection, asked: Iterable[Asked]) -> Iterator[Version]:
        """Runs that nobody tells any more, held to the last moment at which anybody saw them."""
        for a in asked:
            seen = self.present.runs.get(a.run)
            known = a.run in self.told or a.run in self.ended or (seen is not None and seen.last is None)
            if known or a.record is None or a.began is None:
                continue
            raw, subject, job = _told(connection, a.record)
            until = self.position if seen is None or seen.last is None else seen.last
            name = job.display_id or job.native_id
            said = f"job {name} was open when it was last told, and accounting has it no more: held to {_moment(until)}"
            self.asides[a.run] = self._aside(LOST, a.run, raw, said)
            held = self.withheld[a.run] = cut(_claims(connection, a.record, job.key), until, LOST)
            if not a.lost:
                whole = raw.partition(NOTE)[0]
                told = raw_bytes(f"{whole}{NOTE}{LOST}, held to {until}")
                yield Version(
                    subject,
                    storable(self.source),
                    storable(self.cluster),
                    told,
                    hash_of(storable(self.source), storable(self.cluster), told),
                    job.key,
                    job,
                    held,
                    "pending",
                    LOST,
                    RUNS,
                )

    def seen_only(self, connection: Connection, now: int) -> Iterator[Version]:
        """Runs that slurmctld showed and that no history tells, while the site charges them; else what undoes it."""
        seen = {
            run: s
            for run, s in self.present.runs.items()
            if run not in self.told and run not in self.ended and (s.last is not None or s.start < now - LATE)
        }
        yield from versions_seen(connection, self.cluster, seen, charge=self.charge_live)

    def settle(self, connection: Connection, now: int) -> list[Doubt]:
        """Set aside by name what is in doubt, and what was and is no longer as mended; what stands, the largest first.

        What a run would hold had it gone on until ``now`` is what it is about.
        """
        if self.uncounted:
            jobs = sorted(self.uncounted)
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            said = (
                f"slurmctld shows cards in the hands of job {jobs[0]}{more}, and accounting records none for it: add"
                " gres/gpu to AccountingStorageTRES in slurm.conf, and restart slurmctld"
            )
            self.asides[""] = self._aside(UNCOUNTED, "", self.cluster, said)
        found = list(self.asides.values())
        set_aside(connection, found, now)
        resolved(connection, standing_about(connection, self.cluster, DOUBTS), found, now)
        mark_recorded(connection, [s.row for run, s in self.present.runs.items() if run in self.settled])
        about = {run: sum(_beyond(claim, now) for claim in held) for run, held in self.withheld.items()}
        told = [Doubt(aside.reason, about.get(run, 0)) for run, aside in self.asides.items()]
        return sorted(told, key=lambda doubt: -doubt.quantity)


def cut(claims: Iterable[Claim], until: int | None, basis: str) -> tuple[Claim, ...]:
    """Claims without an end, held to ``until`` (None: not at all). One that holds nothing says what it is about."""
    return tuple(
        replace(c, end=max(c.start, until or c.start), end_basis=basis) if c.end is None else c for c in claims
    )


def _beyond(claim: Claim, now: int) -> int:
    """What a claim would hold beyond its last sighting, had it gone on."""
    return claim.milligpu * max(0, now - (claim.end or now)) if claim.end_basis in (RUNAWAY, LOST) else 0


def _shared(record: Record) -> bool:
    """Whether a record tells parts of cards (shards), which are another question than none at all."""
    return record.excluded.startswith("gres/")


def _told(connection: Connection, record: int) -> tuple[str, str, Job]:
    """A record of the ledger: its raw text, its subject and its job."""
    r, j = records_table.c, jobs_table.c
    query = select(r.raw, r.subject, *(j[name] for name in JOB_COLUMNS)).join(jobs_table, j.id == r.job_id)
    raw, subject, *values = connection.execute(query.where(r.id == record)).one()
    return bytes(raw).decode("utf-8", "surrogateescape"), subject, job_of(values)


def _claims(connection: Connection, record: int, key: JobKey) -> list[Claim]:
    c, n = claims_table.c, nodes_table.c
    query = (
        select(n.scheduler, n.cluster, n.name, *(c[name] for name in CLAIM_COLUMNS))
        .join(nodes_table, n.id == c.node_id)
        .where(c.record_id == record)
        .order_by(c.id)
    )
    return [
        claim_of(key, NodeKey(Scheduler(scheduler), cluster, name), values)
        for scheduler, cluster, name, *values in connection.execute(query)
    ]


def _of(asked: list[Asked]) -> str:
    more = f" and {len(asked) - 1} more" if len(asked) > 1 else ""
    return f"job {asked[0].native_id}{more}"


def _moment(at: int | None) -> str:
    return "an unknown time" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
