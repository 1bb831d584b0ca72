"""How every source did when it was just asked, in the doctor's form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accounting.doctor.finding import Finding, look, unseen, well, wrong
from exporters.status import SourceStatus, Target

_TOLD = 5
"""Endpoints and problems that are named one by one; of more, their number."""

_LOST = {
    "slurmctld": "what Slurm's jobs hold now is unknown",
    "pods": "what pods hold is unknown, and it is charged to nobody",
    "dcgm": "no utilization, energy or NVLink figure, and no card is known by its UUID",
    "rdma": "no alert on the fabric can name anything",
}


def sources(statuses: Sequence[SourceStatus], targets: Sequence[tuple[str, Sequence[Target]]]) -> Iterator[Finding]:
    """Reachability, permissions and completeness, one finding or more for each source."""
    if not statuses:
        yield wrong(
            "sources",
            "none is configured",
            "there is nothing to meter",
            "add slurm, kubernetes or dcgm to the settings (docs/configure.md), or let meterbridge init write them",
        )
    endpoints = dict(targets)
    for status in statuses:
        about = f"{status.name} {status.cluster}".strip()
        if not status.success:
            why = _LOST.get(status.name, "what it alone could prove is unknown")
            yield wrong(about, status.error, why, "the sentence says what; then ask again")
            continue
        yield from _problems(about, status)
        yield from _endpoints(about, endpoints.get(status.name, ()))
        for resource, devices in sorted(status.unmetered.items()):
            yield look(
                about,
                f"{devices} devices of {resource} have no rule",
                "they are on no bill and in no utilization",
                f"devices.resources: {{{resource}: {{model: NAME, milligpu: 1000}}}} if one of them is one card",
            )
        if status.complete and not status.problems:
            yield well(about, f"read in {status.duration:.1f} s")


def _problems(about: str, status: SourceStatus) -> Iterator[Finding]:
    for problem in status.problems[:_TOLD]:
        yield look(about, problem, "what it cannot place or read is unknown, and charged to nobody", "as it says")
    if len(status.problems) > _TOLD:
        more = f"{len(status.problems) - _TOLD} more of the kind"
        yield look(about, more, "each is unknown time", "the log of the exporter names them")
    if not status.complete and not status.problems:
        yield look(
            about, "it was not read completely", "what is missing is unknown", "the log of the exporter says why"
        )


def _endpoints(about: str, targets: Sequence[Target]) -> Iterator[Finding]:
    failed = [target for target in targets if target.error]
    if targets and not failed:
        yield well(about, f"all {len(targets)} endpoints were read")
    for target in failed[:_TOLD]:
        yield wrong(
            about, f"{target.url}: {target.error}", "the cards or ports of that machine are not seen", "see there"
        )
    if len(failed) > _TOLD:
        yield wrong(about, f"{len(failed) - _TOLD} more endpoints failed", "their machines are not seen", "/targets")
    if not targets and about in {"dcgm", "rdma"}:
        yield unseen(about, "it has no endpoint", "name some, or let them be discovered (docs/configure.md)")
