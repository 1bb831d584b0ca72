"""Nouns to rows and back. Text that a database would refuse is escaped (`accounting.store.database.storable`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from accounting.store.database import storable, storables
from exporters.model import Claim, Job, JobKey, LinkKey, LinkKind, NodeKey, Scheduler

JOB_COLUMNS = (
    "scheduler",
    "cluster",
    "run",
    "native_id",
    "display_id",
    "name",
    "user_name",
    "account",
    "partition",
    "qos",
    "kind",
    "state",
    "submit_at",
    "start_at",
    "end_at",
    "labels",
)
"""Columns of ``jobs`` that `job_values` fills, in its order; the first three are the identity."""

CLAIM_COLUMNS = (
    "unit",
    "milligpu",
    "start_at",
    "end_at",
    "model",
    "profile",
    "indices",
    "uuids",
    "link_keys",
    "split_assumed",
    "end_basis",
    "native_id",
)
"""Columns of ``claims`` that `claim_values` fills, in its order."""


WAITS, RUNS, ENDED = 0, 1, 2
"""How final a record is."""

Identity = tuple[str, str, str]
"""Scheduler, cluster, and the run of a job or the name of a node."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True)


def compact(value: object) -> str:
    """JSON without spaces, ASCII only, keys sorted: one text for one value."""
    return _ENCODER.encode(value)


def job_values(job: Job) -> tuple[Any, ...]:
    """A job's row, in the order of `JOB_COLUMNS`."""
    key = job.key
    words = storables(
        (
            key.cluster, key.id, job.native_id, job.display_id, job.name, job.user, job.account, job.partition,
            job.qos, job.kind, job.state,
        )
    )  # fmt: skip
    labels = compact({storable(k): storable(v) for k, v in job.labels.items()}) if job.labels else ""
    return (str(key.scheduler), *words, job.submit, job.start, job.end, labels)


def job_digest(values: tuple[Any, ...]) -> bytes:
    """A digest of a job's row, in the order of `JOB_COLUMNS`: whether it still says what was told."""
    return hashlib.blake2b(ascii(values).encode(), digest_size=16).digest()


def telemetry_digest(row: tuple[Any, ...]) -> int:
    """A digest of a row of ``telemetry``, its columns in their order; a node-day's are combined by exclusive or."""
    told = (*row[:4], *map(float, row[4:10]), *map(int, row[10:]))  # as the database has them, however they were given
    return int.from_bytes(hashlib.blake2b(ascii(told).encode(), digest_size=16).digest())


def bare_job(key: JobKey) -> Job:
    """A job of which nothing is known but that something named it."""
    return Job(key, native_id="", display_id="", name="", user="", account="", partition="")


def job_of(values: Sequence[Any]) -> Job:
    """The job of a row in the order of `JOB_COLUMNS`."""
    scheduler, cluster, run, native, display, name, user, account, partition, qos, kind, state, *rest = values
    submit, start, end, labels = rest
    return Job(
        key=JobKey(Scheduler(scheduler), cluster, run),
        native_id=native,
        display_id=display,
        name=name,
        user=user,
        account=account,
        partition=partition,
        qos=qos,
        kind=kind,
        state=state,
        submit=submit,
        start=start,
        end=end,
        labels=json.loads(labels) if labels else {},
    )


def claim_values(claim: Claim) -> tuple[Any, ...]:
    """A claim's row without its job and node, in the order of `CLAIM_COLUMNS`."""
    unit, model, profile, native_id = storables((claim.unit, claim.model, claim.profile, claim.native_id))
    return (
        unit,
        claim.milligpu,
        claim.start,
        claim.end,
        model,
        profile,
        compact(claim.indices) if claim.indices else "",
        compact([storable(u) for u in claim.uuids]) if claim.uuids else "",
        compact([_key(k) for k in sorted(claim.keys)]) if claim.keys else "",
        claim.split_assumed,
        claim.end_basis,
        native_id,
    )


def _key(key: LinkKey) -> list[str]:
    return [key.kind.value, storable(key.cluster), storable(key.value), storable(key.evidence)]


def claim_of(job: JobKey, node: NodeKey, values: Sequence[Any]) -> Claim:
    """The claim of a row in the order of `CLAIM_COLUMNS`."""
    unit, milligpu, start, end, model, profile, indices, uuids, keys, assumed, basis, native = values
    return Claim(
        job=job,
        unit=unit,
        node=node,
        milligpu=milligpu,
        start=start,
        end=end,
        model=model,
        profile=profile,
        indices=tuple(json.loads(indices)) if indices else (),
        uuids=tuple(json.loads(uuids)) if uuids else (),
        keys=tuple(LinkKey(LinkKind(k), c, v, e) for k, c, v, e in json.loads(keys)) if keys else (),
        split_assumed=bool(assumed),
        end_basis=basis,
        native_id=native,
    )


def claim_text(claim: Claim) -> str:
    """A claim as the record that it is when nobody else keeps one: canonical JSON of everything it says."""
    head = [claim.job.scheduler.value, claim.job.cluster, storable(claim.job.id), storable(claim.node.name)]
    return compact(dict(zip(("scheduler", "cluster", "job", "node"), head, strict=True)) | named(claim))


def named(claim: Claim) -> dict[str, Any]:
    """A claim's columns by name."""
    return dict(zip(CLAIM_COLUMNS, claim_values(claim), strict=True))


def meaning_of(job: Job | None, claims: Sequence[Claim], excluded: str, finality: int) -> bytes:
    """A digest of what a record says; the order of its claims does not matter."""
    held = [((*identity_of(c.job), *identity_of(c.node)), claim_values(c)) for c in claims]
    return digest(job_values(job) if job else None, held, storable(excluded), finality)


def digest(
    job: tuple[Any, ...] | None, claims: Sequence[tuple[tuple[str, ...], tuple[Any, ...]]], excluded: str, finality: int
) -> bytes:
    """`meaning_of` from rows: the job's, and for each claim whose it is and where (identities), and its own."""
    parts = sorted(map(repr, claims)) if len(claims) > 1 else map(repr, claims)
    text = f"({job!r}, [{', '.join(parts)}], {excluded!r}, {finality})"
    if not text.isascii():
        text = ascii((job, sorted(claims, key=ascii), excluded, finality))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def identity_of(key: JobKey | NodeKey) -> Identity:
    """How the tables name a job or a node."""
    cluster, name = storables((key.cluster, key.id if isinstance(key, JobKey) else key.name))
    return str(key.scheduler), cluster, name


@lru_cache(maxsize=1 << 15)
def place_of(node: NodeKey) -> Identity:
    """`identity_of` a node: many claims are on each."""
    return identity_of(node)
