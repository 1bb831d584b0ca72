"""From settings to a running ground floor: its sources, as they are registered, and what a join needs."""

from __future__ import annotations

import time
from collections.abc import Callable

from exporters.config import Config
from exporters.join.shard import WHOLE, Shard
from exporters.masking import masked
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Recorder
from exporters.sources.base import Source
from exporters.wiring.registered import SOURCES


def join_settings(config: Config, shard: Shard = WHOLE) -> JoinSettings:
    """What a join depends on besides what sources say."""
    return JoinSettings(
        config.project_map(),
        config.model_names,
        config.machines.match,
        config.machines.names,
        int(config.link_grace),
        config.join_interval,
        config.job_linger,
        config.rdma.lossless_priorities if config.rdma else (),
        config.max_jobs,
        shard,
        tuple(c.cluster for c in config.slurm),
    )


def sources(config: Config, clock: Callable[[], float] = time.time) -> list[Source]:
    """Every live source of the settings, not yet polled."""
    return [source for registered in SOURCES for source in registered.live(config, clock)]


def collector(
    config: Config, recorder: Recorder | None = None, clock: Callable[[], float] = time.time, shard: Shard = WHOLE
) -> Collector:
    """The exporter of these settings, not yet started."""
    return Collector(sources(config, clock), join_settings(config, shard), recorder, clock)


def describe(config: Config) -> str:
    """What the settings mean, in sentences, for ``exporter --check``."""
    lines = [f"site {config.site}, billing months in {config.time_zone}"]
    found = [line for registered in SOURCES for line in registered.describe(config)]
    lines += found or ["no source is configured: there is nothing to meter (slurm, kubernetes, dcgm or rdma)"]
    lines.append(f"projects: {len({p.project for p in config.projects})}, everything else is unmapped")
    free = sorted({f"{k}={v}" for p in config.projects if not p.label_namespaces for k, v in p.labels.items()})
    if free:
        lines.append(f"labels: whoever makes a pod chooses by {', '.join(free)} who pays (projects.label_namespaces)")
    lines.append(f"ledger: {masked(config.ledger.url)}" if config.ledger else "ledger: none, live only")
    return "\n".join(lines)
