"""meterbridge itself: whether what it says can be believed."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.parts import lines, named, number, query, rows

_S = '{cluster=~"$cluster|"}'
_NAME = "{{source}} {{cluster}}"


def itself() -> Dashboard:
    """Sources, joins, the recorder, the accounting service."""
    return board(
        "self",
        "meterbridge itself",
        "Whether the sources answer, the joins are made, and the ledger is written.",
        [],
        [
            (
                "Now",
                [
                    number(
                        "Sources failing",
                        "Sources whose last poll failed: their data is the last good, and stale.",
                        f"count(meterbridge_source_success{_S} == 0) or vector(0)",
                        steps=((None, "green"), (1, "red")),
                    ),
                    number(
                        "Sources incomplete",
                        "Sources of which a part was missing in the last poll (a few device endpoints).",
                        f"count(meterbridge_source_complete{_S} == 0) or vector(0)",
                        steps=((None, "green"), (1, "orange")),
                    ),
                    number(
                        "Oldest data",
                        "Age of the oldest source's data at the last join.",
                        f"max(meterbridge_source_age_seconds{_S})",
                        unit="s",
                        steps=((None, "green"), (600, "red")),
                    ),
                    number(
                        "Join",
                        "How long the last join took.",
                        "max(meterbridge_join_duration_seconds)",
                        unit="s",
                        steps=((None, "green"), (5, "orange")),
                        decimals=2,
                    ),
                    number(
                        "Devices without an owner",
                        "Cards and MIG instances that were read and that nobody holds.",
                        'sum(meterbridge_devices{owned="false"})',
                    ),
                    number(
                        "Rounds waiting",
                        "Rounds kept in memory because the ledger could not be written.",
                        "max(meterbridge_recorder_pending_rounds)",
                        steps=((None, "green"), (1, "orange"), (20, "red")),
                    ),
                    number(
                        "Last round in the ledger",
                        "How long ago a round was last recorded.",
                        "max(meterbridge_join_timestamp_seconds - meterbridge_recorder_last_success_timestamp_seconds)",
                        unit="s",
                    ),
                    number(
                        "Unplaced cards",
                        "Cards claimed on machines of which no capacity is known, in the time shown (the most at once).",
                        "sum(max_over_time(meterbridge_unplaced_gpus[$__range])) or vector(0)",
                        steps=((None, "green"), (0.001, "orange")),
                    ),
                ],
            ),
            (
                "Sources",
                [
                    rows(
                        "Sources",
                        "How each source is doing.",
                        {
                            "source": named("source"),
                            "cluster": named("cluster"),
                            "Value #A": named("answers"),
                            "Value #B": named("complete"),
                            "Value #C": named("age", unit="s"),
                            "Value #D": named("poll took", unit="s"),
                            "Value #E": named("polls"),
                            "Value #F": named("failed"),
                            "Value #G": named("set aside"),
                        },
                        *(
                            f"max by (source, cluster) (meterbridge_source_{name}{_S})"
                            for name in (
                                "success",
                                "complete",
                                "age_seconds",
                                "poll_duration_seconds",
                                "polls_total",
                                "failures_total",
                                "rejects_total",
                            )
                        ),
                        span=24,
                        height=7,
                    ),
                    lines(
                        "Poll duration",
                        "How long each source's last poll took.",
                        query(f"meterbridge_source_poll_duration_seconds{_S}", _NAME),
                        unit="s",
                        span=8,
                    ),
                    lines(
                        "Age of data",
                        "Age of each source's data at the join.",
                        query(f"meterbridge_source_age_seconds{_S} < +Inf", _NAME),
                        unit="s",
                        steps=((None, "transparent"), (600, "red")),
                        span=8,
                    ),
                    lines(
                        "Failed polls",
                        "Failed polls a second.",
                        query(f"rate(meterbridge_source_failures_total{_S}[$__rate_interval])", _NAME),
                        unit="ops",
                        span=8,
                    ),
                ],
            ),
            (
                "Accounting service",
                [
                    rows(
                        "Tasks",
                        "What the accounting service does on its clock.",
                        {
                            "task": named("task"),
                            "Value #A": named("succeeded"),
                            "Value #B": named("took", unit="s"),
                            "Value #C": named("failed runs"),
                        },
                        "max by (task) (meterbridge_task_success)",
                        "max by (task) (meterbridge_task_duration_seconds)",
                        "max by (task) (meterbridge_task_failures_total)",
                        span=12,
                    ),
                    lines(
                        "Requests",
                        "Requests a second to the accounting service, by answer.",
                        query("sum by (code) (rate(meterbridge_http_requests_total[$__rate_interval]))", "{{code}}"),
                        unit="reqps",
                    ),
                ],
            ),
            (
                "Versions",
                [
                    rows(
                        "Versions",
                        "What runs where.",
                        {"instance": named("instance"), "version": named("version"), "python": named("Python")},
                        "meterbridge_build_info",
                        span=24,
                        height=5,
                    )
                ],
            ),
        ],
    )
