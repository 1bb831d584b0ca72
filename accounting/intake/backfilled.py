"""What the books owe to recovery (`accounting.intake.backfill`)."""

from __future__ import annotations

from sqlalchemy import Engine, select

from accounting.intake.coverage import HISTORY
from accounting.store.database import read
from accounting.store.tables import claims, coverage, records
from exporters.model import Scheduler
from exporters.sources.kubernetes.past.kube_past import RECOVERED


def recovered_time(engine: Engine, start: int, end: int, known_by: int | None = None) -> dict[tuple[str, str], int]:
    """MilliGPU-seconds of ``[start, end)`` that claims hold by recovery, by source and cluster: what was held in
    recovered time by pods whose end the recorder did not see. ``known_by`` leaves out what was recovered later.
    """
    c, r, t = claims.c, records.c, coverage.c
    query = (
        select(r.source, r.cluster, c.milligpu, c.start_at, c.end_at)
        .join(records, r.id == c.record_id)
        .where(c.current, c.end_basis.startswith(RECOVERED), c.start_at < end, c.end_at > start)
    )
    if known_by is not None:
        query = query.where(r.seen_at <= known_by)
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    found: dict[tuple[str, str], int] = {}
    with read(engine) as connection:
        stretches = select(t.source, t.cluster, t.start_at, t.end_at).where(
            t.kind == HISTORY, t.scheduler == Scheduler.KUBERNETES.value, t.start_at < end, t.end_at > start
        )
        for source, cluster, a, b in connection.execute(stretches):
            spans.setdefault((source, cluster), []).append((max(a, start), min(b, end)))
        if not spans:
            return {}  # as mostly: nobody need read all claims for it
        for source, cluster, milligpu, first, last in connection.execute(query):
            there = spans.get((source, cluster), ())
            seconds = sum(max(0, min(b, last) - max(a, first)) for a, b in there)
            found[source, cluster] = found.get((source, cluster), 0) + milligpu * seconds
    return {place: held for place, held in sorted(found.items()) if held}
