"""One project: what it uses, what it costs so far, and how much of it did work, both schedulers together."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.parts import COLOURS, COUNT, JOB, bars, by_name, choice, lines, named, number, query, rows, to

_OF = '{project=~"$project",cluster=~"$cluster"}'
_JOBS = f"last_over_time(meterbridge_job_info{_OF}[$__range])"


def _rate(name: str, by: str = "") -> str:
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate(meterbridge_project_{name}_total{_OF}[$__rate_interval]))"


def _in_range(name: str, by: str = "") -> str:
    group = f" by ({by})" if by else ""
    return f"sum{group} (increase(meterbridge_project_{name}_total{_OF}[$__range]))"


def _of_jobs(name: str) -> str:
    """A job counter's growth over the time shown, of the project's jobs."""
    grown = f'sum by ({JOB}) (increase(meterbridge_job_{name}_total{{cluster=~"$cluster"}}[$__range]))'
    return f"({grown} and on ({JOB}) {_JOBS})"


def project() -> Dashboard:
    """Usage and cost to date, efficiency, waste, top jobs."""
    held, observed = _of_jobs("gpu_seconds"), _of_jobs("gpu_observed_seconds")
    active = _of_jobs("gpu_active_seconds")
    job = named("job", **to("job", "job", job="job_id"))
    return board(
        "project",
        "Project",
        "What a project holds and does, whichever scheduler placed it.",
        [
            choice(
                "project",
                "Project",
                'label_values(meterbridge_project_gpu_seconds_total{cluster=~"$cluster"}, project)',
                "who pays",
            )
        ],
        [
            (
                "To date",
                [
                    number(
                        "Cards now",
                        "Cards charged to the project now (meterbridge_project_gpus).",
                        f"sum(meterbridge_project_gpus{_OF})",
                    ),
                    number(
                        "GPU-hours in the time shown",
                        "Cards times hours held, from the schedulers' records.",
                        f"{_in_range('gpu_seconds')} / 3600",
                        decimals=1,
                    ),
                    number(
                        "GPU-hours of the month",
                        "What the ledger has booked to the project in its newest month so far, charged.",
                        'sum by (period) (meterbridge_ledger_project_gpu_seconds{project=~"$project",disposition="charged"}'
                        " and on (period) topk(1, meterbridge_ledger_period_end_timestamp_seconds)) / 3600",
                        decimals=1,
                        legend="{{period}}",
                    ),
                    number(
                        "Cost of the month",
                        "What that comes to at the month's prices, as on the statement.",
                        'sum by (period, currency) (meterbridge_ledger_project_charge{project=~"$project"}'
                        " and on (period) topk(1, meterbridge_ledger_period_end_timestamp_seconds))",
                        decimals=0,
                        legend="{{currency}} {{period}}",
                    ),
                    number(
                        "Engines busy",
                        "Busy part of the card-seconds that were observed, in the time shown.",
                        f"{_in_range('gpu_active_seconds')} / {_in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.3, "orange"), (0.6, "green")),
                    ),
                    number(
                        "Tensor cores busy",
                        "Part of the observed card-seconds in which tensor cores were busy.",
                        f"{_in_range('gpu_tensor_active_seconds')} / {_in_range('gpu_observed_seconds')}",
                        unit="percentunit",
                    ),
                    number(
                        "Energy",
                        "Energy of the cards held, in the time shown.",
                        f"{_in_range('gpu_energy_joules')} / 3.6e6",
                        unit="kwatth",
                    ),
                    number(
                        "Coverage",
                        "Device readings seen, of those that a complete record would have had. Low: the numbers on use "
                        "tell of part of the time only.",
                        f"{_in_range('gpu_samples')} / {_in_range('gpu_samples_expected')}",
                        unit="percentunit",
                        steps=((None, "red"), (0.9, "orange"), (0.99, "green")),
                    ),
                ],
            ),
            (
                "Usage",
                [
                    lines(
                        "Cards by scheduler",
                        "Cards charged to the project, by the scheduler and cluster that placed its jobs.",
                        query(
                            f"sum by (scheduler, cluster) (meterbridge_project_gpus{_OF})", "{{scheduler}} {{cluster}}"
                        ),
                        stacked=True,
                    ),
                    lines(
                        "Cards by model",
                        "Cards charged to the project, by GPU model.",
                        query(f"sum by (gpu_model) (meterbridge_project_gpus{_OF})", "{{gpu_model}}"),
                        stacked=True,
                    ),
                    lines(
                        "Efficiency",
                        "Busy part of the card-seconds observed: engines, and tensor cores.",
                        query(f"{_rate('gpu_active_seconds')} / {_rate('gpu_observed_seconds')}", "engines"),
                        query(
                            f"{_rate('gpu_tensor_active_seconds')} / {_rate('gpu_observed_seconds')}",
                            "tensor cores",
                            ref="B",
                        ),
                        unit="percentunit",
                        most=1,
                        span=8,
                    ),
                    lines(
                        "Memory in use",
                        "GPU memory in use on the project's cards.",
                        query(f"sum by (scheduler) (meterbridge_project_gpu_memory_used_bytes{_OF})", "{{scheduler}}"),
                        unit="bytes",
                        span=8,
                    ),
                    lines(
                        "Power",
                        "Power of the project's cards: growth of their energy counters.",
                        query(_rate("gpu_energy_joules", "scheduler"), "{{scheduler}}"),
                        unit="watt",
                        span=8,
                    ),
                    lines(
                        "NVLink",
                        "Bytes a second between the project's cards of one machine, headers included.",
                        query(_rate("nvlink_transmit_bytes"), "sent"),
                        query(_rate("nvlink_receive_bytes"), "received", ref="B"),
                        unit="Bps",
                    ),
                    lines(
                        "RoCE",
                        "Bytes a second through the RDMA ports of the project's machines; ports shared with another "
                        "project count whole, on a line of their own.",
                        query(_rate("rdma_transmit_bytes", "shared"), "sent, shared={{shared}}"),
                        query(_rate("rdma_receive_bytes", "shared"), "received, shared={{shared}}", ref="B"),
                        unit="Bps",
                    ),
                ],
            ),
            (
                "Waste and top jobs",
                [
                    bars(
                        "GPU-hours by project",
                        "GPU-hours held in the time shown, by project.",
                        "sort_desc(sum by (project) "
                        f"(increase(meterbridge_project_gpu_seconds_total{_OF}[$__range]))) / 3600",
                        "{{project}}",
                        decimals=0,
                        span=6,
                        height=10,
                    ),
                    rows(
                        "Top jobs",
                        "The jobs that held most card-time in the time shown; wasted is the observed card-time in which "
                        "their engines were idle.",
                        {
                            "display_id": job,
                            "name": named("name"),
                            "user": named("user"),
                            "scheduler": named("scheduler"),
                            "Value #A": named("GPU-hours held", unit=COUNT, decimals=1),
                            "Value #B": named("engines busy", unit="percentunit"),
                            "Value #C": named("GPU-hours wasted", unit=COUNT, decimals=1),
                            "job_id": {"custom.hidden": True},
                        },
                        f"topk(20, {held}) / 3600 * {by_name(_OF[1:-1])}",
                        f"(({active} / {observed}) and topk(20, {held})) * {by_name(_OF[1:-1])}",
                        f"(({observed} - {active}) and topk(20, {held})) / 3600 * {by_name(_OF[1:-1])}",
                        span=18,
                        height=10,
                        sort="Value #A",
                    ),
                    lines(
                        "Held, observed, busy",
                        "Cards held (by the records), observed (readings tell what they did) and busy. The distance "
                        "between the upper two is missing data, between the lower two it is waste.",
                        query(_rate("gpu_seconds"), "held"),
                        query(_rate("gpu_observed_seconds"), "observed", ref="B"),
                        query(_rate("gpu_active_seconds"), "busy", ref="C"),
                        colours={"held": "blue", "observed": COLOURS["unknown"], "busy": "green"},
                        span=24,
                    ),
                ],
            ),
        ],
    )
