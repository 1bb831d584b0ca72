"""The month as the ledger has it: whose it is, what it comes to, and what still has to be decided."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.parts import COLOURS, COUNT, bars, choice, named, number, rows, to

_MONTH = 'period=~"$period"'
_ALL = f"sum(meterbridge_ledger_gpu_seconds{{{_MONTH}}})"
_MEANS = {
    "charged": "held by workloads that pay",
    "reserved": "passed on to Slurm, with no job inside",
    "idle": "free, and nobody asked",
    "down": "not available",
    "disputed": "with two owners and no link: charged to nobody until somebody rules",
    "unknown": "of which no source could tell",
}


def chargeback() -> Dashboard:
    """Month to date by project and disposition, disputes, unknown time, corrections."""
    return board(
        "chargeback",
        "Chargeback",
        "The billing month in the ledger so far. The statement (`meterbridge statement`) has the lines and the cents.",
        [
            choice(
                "period",
                "Month",
                "label_values(meterbridge_ledger_gpu_seconds, period)",
                "the billing month",
                several=False,
                newest=True,
            )
        ],
        [
            (
                "The month",
                [
                    number(
                        "Capacity, GPU-hours",
                        "GPU-hours of the fleet booked so far: the sum of the six words.",
                        f"{_ALL} / 3600",
                        decimals=0,
                        span=4,
                    ),
                    *(
                        number(
                            word,
                            f"Part of the month's capacity {meaning}.",
                            f'(sum(meterbridge_ledger_gpu_seconds{{{_MONTH},disposition="{word}"}}) or vector(0)) / {_ALL}',
                            unit="percentunit",
                            decimals=1,
                            steps=((None, COLOURS[word]),),
                            span=3 if word in ("charged", "idle") else 2,
                        )
                        for word, meaning in _MEANS.items()
                    ),
                    number(
                        "Amount",
                        "What all projects come to at the month's prices, as on the statement.",
                        f"sum by (currency) (meterbridge_ledger_project_charge{{{_MONTH}}})",
                        decimals=0,
                        legend="{{currency}}",
                        span=3,
                    ),
                    number(
                        "State",
                        "Whether the month may still change: open, closed, or sealed.",
                        f"max by (state) (meterbridge_ledger_period_info{{{_MONTH}}})",
                        legend="{{state}}",
                        words=True,
                        span=3,
                    ),
                ],
            ),
            (
                "Who",
                [
                    bars(
                        "GPU-hours by project",
                        "GPU-hours charged in the month, both schedulers together, each card-second once.",
                        f'sort_desc(sum by (project) (meterbridge_ledger_project_gpu_seconds{{{_MONTH},disposition="charged"}}))'
                        " / 3600",
                        "{{project}}",
                        decimals=0,
                        span=8,
                        height=10,
                    ),
                    bars(
                        "Amount by project",
                        "What each project comes to at the month's prices, as on the statement.",
                        f"sort_desc(sum by (project, currency) (meterbridge_ledger_project_charge{{{_MONTH}}}))",
                        "{{project}} ({{currency}})",
                        decimals=0,
                        span=8,
                        height=10,
                    ),
                    bars(
                        "GPU-hours by disposition and model",
                        "GPU-hours of the month by what they were and on which model.",
                        f"sum by (disposition, gpu_model) (meterbridge_ledger_gpu_seconds{{{_MONTH}}}) / 3600",
                        "{{disposition}} {{gpu_model}}",
                        decimals=0,
                        span=8,
                        height=10,
                    ),
                    rows(
                        "Projects",
                        "GPU-hours of each project by disposition, scheduler and model.",
                        {
                            "project": named("project", **to("project", "project", project="project")),
                            "disposition": named("disposition"),
                            "scheduler": named("scheduler"),
                            "gpu_model": named("model"),
                            "Value #A": named("GPU-hours", unit=COUNT, decimals=1),
                        },
                        "sum by (project, disposition, scheduler, gpu_model)"
                        f" (meterbridge_ledger_project_gpu_seconds{{{_MONTH}}}) / 3600",
                        span=24,
                        sort="Value #A",
                    ),
                ],
            ),
            (
                "What has to be decided or mended",
                [
                    number(
                        "Disputes",
                        "Node-days of the month with cards in dispute: `meterbridge disputes`, then `meterbridge rule`.",
                        f"sum(meterbridge_ledger_disputes{{{_MONTH}}})",
                        steps=((None, "green"), (1, "orange")),
                        span=4,
                    ),
                    number(
                        "Corrections",
                        "Corrections of closed months that are booked in this month.",
                        f"sum(meterbridge_ledger_corrections{{{_MONTH}}})",
                        span=4,
                    ),
                    number(
                        "Unknown GPU-hours",
                        "GPU-hours of which no source could tell: not billed, and not called idle.",
                        f'(sum(meterbridge_ledger_gpu_seconds{{{_MONTH},disposition="unknown"}}) or vector(0)) / 3600',
                        decimals=1,
                        steps=((None, "green"), (1, "orange")),
                        span=4,
                    ),
                    number(
                        "Breaches",
                        "Breaches of an invariant that the last check of the ledger found (`meterbridge check`).",
                        "max(meterbridge_ledger_breaches)",
                        steps=((None, "green"), (1, "red")),
                        span=4,
                    ),
                    number(
                        "Records set aside",
                        "Records that could not be used and are not mended: `meterbridge rejects` has the reasons.",
                        "sum(meterbridge_ledger_rejects) or vector(0)",
                        steps=((None, "green"), (1, "orange")),
                        span=4,
                    ),
                    number(
                        "Oldest history",
                        "How far behind the least read history is.",
                        "clamp_min(max(time() - meterbridge_ledger_intake_position_timestamp_seconds), 0)",
                        unit="s",
                        steps=((None, "green"), (7200, "orange"), (86400, "red")),
                        span=4,
                    ),
                    number(
                        "Last reconcile",
                        "How long ago the books were last brought up to date.",
                        'clamp_min(time() - max(meterbridge_task_last_success_timestamp_seconds{task="reconcile"}), 0)',
                        unit="s",
                        steps=((None, "green"), (21600, "orange")),
                        span=6,
                    ),
                    number(
                        "Last check",
                        "How long ago the ledger's invariants were last checked (`meterbridge check`).",
                        "clamp_min(time() - max(meterbridge_ledger_checked_timestamp_seconds), 0)",
                        unit="s",
                        steps=((None, "green"), (172800, "orange")),
                        span=6,
                    ),
                    number(
                        "Months over and open",
                        "Months that ended five days ago or earlier and are not closed.",
                        "count((time() - max by (period) (meterbridge_ledger_period_end_timestamp_seconds) > 432000)"
                        ' and on (period) meterbridge_ledger_period_info{state="open"}) or vector(0)',
                        steps=((None, "green"), (1, "orange")),
                        span=6,
                    ),
                    number(
                        "Runaway GPU-hours",
                        "GPU-hours of runs whose end Slurm's accounting lost (`sacctmgr show runawayjobs`).",
                        f"(sum(meterbridge_ledger_contradicted_gpu_seconds{{{_MONTH}}}) or vector(0)) / 3600",
                        decimals=1,
                        steps=((None, "green"), (1, "orange")),
                        span=6,
                    ),
                    rows(
                        "Months",
                        "The months that the ledger knows, and their state.",
                        {"period": named("month"), "state": named("state")},
                        "meterbridge_ledger_period_info",
                        span=12,
                        height=5,
                    ),
                    rows(
                        "Histories",
                        "How far each scheduler's history was read.",
                        {
                            "source": named("source"),
                            "cluster": named("cluster"),
                            "Value #A": named("read up to", unit="dateTimeAsIso"),
                        },
                        "meterbridge_ledger_intake_position_timestamp_seconds * 1000",
                        span=12,
                        height=5,
                    ),
                ],
            ),
        ],
        since="now-1h",
        refresh="5m",
    )
