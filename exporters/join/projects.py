"""Who pays: a map from Slurm accounts and Kubernetes namespaces and labels to projects, with validity dates.

What maps to nothing is project ``unmapped``: visible, never dropped. A pod's label goes before its namespace, since a
namespace is the wider net. Whoever makes a pod chooses its labels, and with them who pays: a label may be bound to the
namespaces in which it is believed, and the bound rule goes before the free one. A Slurm account may be written
``cluster/account`` to bind it to one cluster, likewise a namespace; the bound rule goes before the free one. Letter
case of an account says nothing: slurmdbd keeps all account and cluster names in lower case, whatever an administrator
typed (sacctmgr(1)).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from exporters.model import Job, JobKey, Scheduler

UNMAPPED = "unmapped"
"""The project of what no rule maps."""

_ALWAYS = 1 << 62


class ProjectMapError(Exception):
    """The map contradicts itself; the message names both rules."""


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """``value`` of ``kind`` belongs to ``project`` over ``[valid_from, valid_to)`` epoch seconds (None = open).

    ``kind`` is ``account`` (Slurm), ``namespace`` or ``label`` (Kubernetes, written ``key=value``). A label is believed
    in ``namespaces`` (``cluster/namespace`` binds one to a cluster); without any, in all of them.
    """

    project: str
    kind: Literal["account", "namespace", "label"]
    value: str
    valid_from: int | None = None
    valid_to: int | None = None
    namespaces: frozenset[str] = frozenset()

    @property
    def interval(self) -> tuple[int, int]:
        """The validity as comparable numbers."""
        return (
            -_ALWAYS if self.valid_from is None else self.valid_from,
            _ALWAYS if self.valid_to is None else self.valid_to,
        )

    def __str__(self) -> str:
        days = [
            "…" if t is None else datetime.fromtimestamp(t, UTC).date().isoformat()
            for t in (self.valid_from, self.valid_to)
        ]
        where = f" in {', '.join(sorted(self.namespaces))}" if self.namespaces else ""
        return f"{self.kind} {self.value!r}{where} -> {self.project!r} ({days[0]} to {days[1]})"

    def believed(self, job: Job) -> bool:
        """Whether it speaks of this job's namespace. Not asked of accounts and namespaces: they are looked up."""
        bound = self.namespaces
        return not bound or job.account in bound or f"{job.key.cluster}/{job.account}" in bound

    def rivals(self, other: ProjectRule) -> bool:
        """Whether both may speak of one job at one moment, and neither goes before the other."""
        (a, b), (start, end) = self.interval, other.interval
        same = bool(self.namespaces & other.namespaces) or not (self.namespaces or other.namespaces)
        return same and max(a, start) < min(b, end)


@dataclass(frozen=True)
class ProjectMap:
    """Resolves a job at a moment to a project. Build with `ProjectMap.of`, which refuses a map that overlaps itself."""

    rules: Mapping[tuple[str, str], tuple[ProjectRule, ...]]

    @classmethod
    def of(cls, rules: Iterable[ProjectRule]) -> ProjectMap:
        """Check and index rules. Raises `ProjectMapError` on an empty validity or two projects for the same moment."""
        indexed: dict[tuple[str, str], list[ProjectRule]] = defaultdict(list)
        for rule in rules:
            start, end = rule.interval
            if start >= end:
                raise ProjectMapError(f"{rule}: valid_from is not before valid_to, so it never applies")
            value = rule.value.lower() if rule.kind == "account" else rule.value
            for other in indexed[rule.kind, value]:
                if rule.rivals(other) and other.project != rule.project:
                    raise ProjectMapError(f"{other} and {rule} overlap: give them validity dates that do not")
            indexed[rule.kind, value].append(rule)
        return cls({k: tuple(sorted(v, key=lambda rule: not rule.namespaces)) for k, v in indexed.items()})

    def project(self, job: Job, at: float) -> str:
        """The project that pays for this job at this moment, or ``unmapped``."""
        if job.key.scheduler is Scheduler.SLURM:
            account = job.account.lower()
            tries = [("account", f"{job.key.cluster.lower()}/{account}"), ("account", account)]
        else:
            tries = [("label", f"{k}={v}") for k, v in sorted(job.labels.items())]
            tries += [("namespace", f"{job.key.cluster}/{job.account}"), ("namespace", job.account)]
        for wanted in tries:
            for rule in self.rules.get(wanted, ()):
                start, end = rule.interval
                if start <= at < end and rule.believed(job):
                    return rule.project
        return UNMAPPED

    def projects(self, jobs: Mapping[JobKey, Job], at: float) -> dict[JobKey, str]:
        """The project of each job at this moment. Jobs of one account or namespace without labels are asked once."""
        known: dict[tuple[str, str, str], str] = {}
        found = {}
        for key, job in jobs.items():
            if job.labels:
                found[key] = self.project(job, at)
                continue
            owner = (key.scheduler, key.cluster, job.account)
            project = known.get(owner)
            if project is None:
                project = known[owner] = self.project(job, at)
            found[key] = project
        return found

    def borders(self, start: int, end: int) -> list[int]:
        """The moments inside ``(start, end)`` at which some rule begins or ends, sorted."""
        moments = {t for rules in self.rules.values() for rule in rules for t in rule.interval}
        return sorted(t for t in moments if start < t < end)
