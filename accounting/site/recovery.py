"""Recovery as the front door and the service do it."""

from __future__ import annotations

from accounting.intake import backfill
from accounting.site import book
from exporters.config import Config, KubernetesCluster
from exporters.wiring import kubernetes


def recover(config: Config, cluster: KubernetesCluster, now: int) -> backfill.RecoveryReport:
    """Recover what nobody recorded of a Kubernetes cluster, where its settings name a history."""
    source = kubernetes.past(cluster)
    if source is None or cluster.history is None:
        return backfill.RecoveryReport("", cluster.cluster)
    gap = int(config.ledger.gap) if config.ledger else 0
    try:
        with book.opened(config, create=True) as engine:
            start = book.since_or_month(cluster.history.since, now, config)
            return backfill.recover(engine, source, now=now, start=start, shortest=gap)
    finally:
        source.close()


def recovered(report: backfill.RecoveryReport) -> str:
    """What a recovery did, in one line."""
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(report.excluded.items()))
    excluded = f"{sum(report.excluded.values())} excluded" + (f" ({why})" if why else "")
    return (
        f"{report.source} {report.cluster}: {report.seconds} s of {report.gap} s that nobody recorded; {report.read} "
        f"pods read = {report.charged} charged + {excluded} + {report.pending} pending + {report.rejected} rejected"
    )
