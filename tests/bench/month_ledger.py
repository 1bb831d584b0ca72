"""The synthetic month as a ledger has it before it is reconciled: records as read, and what they say.

The rows are those that intake would have written (`accounting.intake.records`): every record has the hash and the
meaning that `meterbridge check` computes again. They are written in bulk, since here not intake is measured but what
comes after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from accounting.intake.identities import HISTORY, LIVE
from accounting.intake.records import ENDED
from accounting.intake.versions import hash_of
from accounting.reconcile.sweep import Columns
from accounting.store.database import insert_many, write
from accounting.store.rows import (
    CLAIM_COLUMNS,
    JOB_COLUMNS,
    claim_text,
    claim_values,
    job_digest,
    job_values,
    meaning_of,
)
from accounting.store.tables import capacity, claim_keys, claims, coverage, cursors, jobs, nodes, records
from exporters.model import Claim, Job, Scheduler
from tests.bench.month import CLUSTERS, PERIOD, PROJECTS, month

SEEN = PERIOD[1] + 3600
BATCH = 20_000

SETTINGS = """
slurm: [{{cluster: hpc1, live: {{enabled: false}}}}]
kubernetes: [{{cluster: prod}}]
ledger: {{url: "{url}", settle: 1h}}
gpu_models: {{h100: [NVIDIA-H100-80GB-HBM3]}}
rates: {{currency: EUR, gpu_hour: {{h100: 2.1017}}}}
projects:
"""


def settings(url: str) -> str:
    """The settings of this site: each account and namespace is a project's."""
    rules = "".join(
        f"  - {{project: project-{n:02}, accounts: [account-{n:02}], namespaces: [account-{n:02}]}}\n"
        for n in range(PROJECTS)
    )
    return SETTINGS.format(url=url) + rules


def fill(engine: Engine, number: int) -> int:
    """Write the month of so many nodes into an empty ledger; the number of claims."""
    site = month(number)
    with write(engine) as connection:
        _places(connection, site)
    rows = _Rows(site)
    for part in rows.parts():
        with write(engine) as connection:
            for table, columns, values in part:
                insert_many(connection, table, columns, values)
    return len(site.job)


def _places(connection: Connection, site: Columns) -> None:
    """Nodes, what they have, and what could be read."""
    names = [(n * 2 + k + 1, s.value, c, m) for n, m in enumerate(site.machines) for k, (s, c) in enumerate(_SIDES)]
    insert_many(connection, nodes, ("id", "scheduler", "cluster", "name"), names)
    seen = []
    for n, stretches in enumerate(site.capacity):
        for s in stretches:
            slurm = s.scheduler is Scheduler.SLURM
            source, basis = ("slurmctld" if slurm else "pods"), "changed" if s.end < PERIOD[1] else ""
            end = s.end if basis else None
            seen.append(
                (len(seen) + 1, n * 2 + (not slurm) + 1, source, s.model, s.milligpu, s.up, s.reason, "",
                 s.start, end, basis, "")
            )  # fmt: skip
    insert_many(connection, capacity, [c.name for c in capacity.columns], seen)
    spans = [
        (("sacct", "history") if s.scheduler is Scheduler.SLURM else ("pods", "live"), s) for s in site.coverage[0]
    ]
    told = [
        (n, source, s.scheduler.value, s.cluster, kind, s.start, s.end)
        for n, ((source, kind), s) in enumerate(spans, start=1)
    ]
    told.append((len(told) + 1, "slurmctld", "slurm", CLUSTERS[0], "live", *PERIOD))
    insert_many(connection, coverage, [c.name for c in coverage.columns], told)
    insert_many(connection, cursors, ("source", "cluster", "position"), [("sacct", CLUSTERS[0], SEEN)])


_SIDES = ((Scheduler.SLURM, CLUSTERS[0]), (Scheduler.KUBERNETES, CLUSTERS[1]))
_RECORD = [c.name for c in records.columns]
_CLAIM = ["id", "record_id", "job_id", "node_id", *CLAIM_COLUMNS, "current"]
_JOB = ("id", "origin", "seen_at", *JOB_COLUMNS, "digest")


class _Rows:
    """Rows of jobs, records, claims and keys, in the order in which claims ended."""

    def __init__(self, site: Columns) -> None:
        self.site = site
        self.order = np.argsort(site.end, kind="stable")
        self.machine = np.repeat(np.arange(len(site.machines)), np.diff(site.first))
        told = site.job[self.order]
        _, first, inverse = np.unique(told, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(1, len(first) + 1)
        self.job_id = rank[inverse]
        self.new = np.zeros(len(told), dtype=bool)
        self.new[first] = True

    def parts(self) -> Iterator[list[tuple[Any, Sequence[str], list[tuple[Any, ...]]]]]:
        """What is written together."""
        for a in range(0, len(self.order), BATCH):
            yield self._part(a, min(a + BATCH, len(self.order)))

    def _part(self, a: int, b: int) -> list[tuple[Any, Sequence[str], list[tuple[Any, ...]]]]:
        which = self.order[a:b]
        found: tuple[list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [])
        machine, job_id, new = self.machine[which].tolist(), self.job_id[a:b].tolist(), self.new[a:b].tolist()
        project = self.site.project[which].tolist()
        for n, claim in enumerate(self.site.claims(which)):
            number = a + n + 1
            job = _job(claim, f"account-{project[n]:02}")
            told, values = job_values(job), claim_values(claim)
            if new[n]:
                origin = HISTORY if job.key.scheduler is Scheduler.SLURM else LIVE
                found[0].append((job_id[n], origin, SEEN, *told, job_digest(told)))
            found[1].append(_record(number, job_id[n], claim, job))
            node_id = machine[n] * 2 + (job.key.scheduler is not Scheduler.SLURM) + 1
            found[2].append((number, number, job_id[n], node_id, *values, True))
            found[3].extend((number, k.kind.value, k.cluster, k.value) for k in claim.keys)
        keys = [c.name for c in claim_keys.columns]
        return [*zip((jobs, records, claims, claim_keys), (_JOB, _RECORD, _CLAIM, keys), found, strict=True)]


def _job(claim: Claim, account: str) -> Job:
    if claim.job.scheduler is Scheduler.SLURM:
        return Job(
            claim.job, claim.native_id, claim.native_id, f"train-{claim.native_id}", "alice", account, "gpu", "normal",
            "batch", "COMPLETED", claim.start - 60, claim.start, claim.end,
        )  # fmt: skip
    name = f"{account}/Job/{claim.unit}"
    return Job(
        claim.job, name, name, claim.unit, "bob", account, "", "", "Job", "Succeeded", None, claim.start, claim.end
    )


def _record(number: int, job_id: int, claim: Claim, job: Job) -> tuple[Any, ...]:
    if claim.job.scheduler is Scheduler.SLURM:
        source, cluster, subject = "sacct", CLUSTERS[0], str(claim.job)
        raw = _LINE.format(
            claim.native_id, job.name, job.account, claim.start, claim.end, claim.node.name, claim.milligpu
        )
        meaning = meaning_of(job, (claim,), "", ENDED)
    else:
        source, cluster, subject, raw = "pods", CLUSTERS[1], f"{claim.node}/{claim.unit}", claim_text(claim)
        meaning = meaning_of(None, (claim,), "", ENDED)
    data = raw.encode()
    return (
        number, hash_of(source, cluster, data), meaning, subject, source, cluster, job_id, data, "charged", "", ENDED,
        SEEN, True,
    )  # fmt: skip


_LINE = (
    "{0}|{0}|{1}|alice|{2}|gpu|normal|batch|COMPLETED|0:0|{3}|{4}|{5}|billing=32,cpu=32,gres/gpu={6},mem=256G,node=1"
)
