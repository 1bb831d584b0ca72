"""Families about meterbridge itself: its sources, its joins, its recorder."""

from __future__ import annotations

import platform

from exporters.series import view as v
from exporters.series.row import SOURCE, SeriesRow
from exporters.version import version

ROWS: tuple[SeriesRow, ...] = (
    SeriesRow(
        "meterbridge_source_success",
        "gauge",
        "",
        "1 when the source's last poll succeeded, else 0: its data is then the last good, and stale.",
        SOURCE,
        v.source(lambda s: s.success),
        merge="min",
    ),
    SeriesRow(
        "meterbridge_source_complete",
        "gauge",
        "",
        "1 when the last successful poll read all of the system, 0 when some of it (a few targets) was missing.",
        SOURCE,
        v.source(lambda s: s.complete),
        merge="min",
    ),
    SeriesRow(
        "meterbridge_source_last_success_timestamp_seconds",
        "gauge",
        "seconds",
        "When the source was last read; 0 = never. Its age is time() minus this.",
        SOURCE,
        v.source(lambda s: s.last_success),
        merge="min",
    ),
    SeriesRow(
        "meterbridge_source_age_seconds",
        "gauge",
        "seconds",
        "Age of the source's data at the last join; +Inf = never read.",
        SOURCE,
        v.source_age,
        merge="max",
    ),
    SeriesRow(
        "meterbridge_source_poll_duration_seconds",
        "gauge",
        "seconds",
        "How long the source's last poll took.",
        SOURCE,
        v.source(lambda s: s.duration),
        merge="max",
    ),
    SeriesRow(
        "meterbridge_source_polls_total", "counter", "", "Polls of the source.", SOURCE, v.source(lambda s: s.polls)
    ),
    SeriesRow(
        "meterbridge_source_failures_total",
        "counter",
        "",
        "Polls of the source that failed.",
        SOURCE,
        v.source(lambda s: s.failures),
    ),
    SeriesRow(
        "meterbridge_unmetered_devices",
        "gauge",
        "",
        "Devices that look like accelerators and have no rule, by extended resource or DRA driver: nothing of them is "
        "metered until devices.resources says what one is.",
        (*SOURCE, "resource"),
        v.unmetered,
        merge="max",
    ),
    SeriesRow(
        "meterbridge_source_rejects_total",
        "counter",
        "",
        "Records of the source that were set aside with a reason.",
        SOURCE,
        v.source(lambda s: s.rejects),
    ),
    SeriesRow(
        "meterbridge_source_targets",
        "gauge",
        "",
        "Endpoints of the source by whether its last round read them: read, failed. The page /targets names them.",
        (*SOURCE, "state"),
        v.source_targets,
    ),
    SeriesRow(
        "meterbridge_join_duration_seconds",
        "gauge",
        "seconds",
        "How long the last join of all sources took.",
        (),
        lambda view: [((), view.join_seconds)],
        merge="max",
    ),
    SeriesRow(
        "meterbridge_join_timestamp_seconds",
        "gauge",
        "seconds",
        "When the last join was made; a scrape serves it unchanged.",
        (),
        lambda view: [((), view.picture.at)],
        merge="min",
    ),
    SeriesRow(
        "meterbridge_stage_cpu_seconds_total",
        "counter",
        "seconds",
        "CPU that each stage of a round has used: fetch, read, join, write, compress.",
        ("stage",),
        v.stage_seconds,
    ),
    SeriesRow(
        "meterbridge_stage_bytes_total",
        "counter",
        "bytes",
        "Bytes that each stage has handled: fetched, read, written, and after compression. A join has none.",
        ("stage",),
        v.stage_bytes,
    ),
    SeriesRow(
        "meterbridge_jobs_folded",
        "gauge",
        "",
        "Jobs beyond max_jobs, which have no series of their own: they are added up as job_id other.",
        ("scheduler", "cluster"),
        v.folded,
    ),
    SeriesRow(
        "meterbridge_recorder_pending_rounds",
        "gauge",
        "",
        "Rounds kept in memory because the ledger could not be written.",
        (),
        lambda view: [((), float(view.recorder_pending))],
    ),
    SeriesRow(
        "meterbridge_recorder_last_success_timestamp_seconds",
        "gauge",
        "seconds",
        "When a round was last recorded in the ledger; 0 = never, or no ledger is configured.",
        (),
        lambda view: [((), view.recorder_last)],
        merge="min",
    ),
    SeriesRow(
        "meterbridge_build_info",
        "info",
        "",
        "Version of meterbridge and of Python.",
        ("version", "python"),
        lambda _: [((version(), platform.python_version()), 1.0)],
        merge="max",
    ),
)
