"""The fleet in the morning: what every card is doing, and what lies idle while somebody waits."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.board import board
from dashboards.faults import NOTHING, card_faults, switch_faults
from dashboards.parts import COLOURS, COUNT, bars, by_name, lines, named, number, query, rows, to

_WAITS = 'meterbridge_pending_gpus{cluster=~"$cluster"}'


def fleet() -> Dashboard:
    """Capacity by disposition, idle cards beside queues, orphans, utilization by model, every machine."""
    words = (
        ("charged", "held by a workload that pays"),
        ("reserved", "held by something that only passes cards on, with no workload inside"),
        ("idle", "schedulable, and nobody asked"),
        ("down", "drained, down, not ready or in maintenance"),
        ("disputed", "two owners and no link between them: nobody is charged until somebody rules"),
        ("unknown", "a source could not be read: not billed, and not called idle"),
    )
    capacity = [
        number(
            "Cards", "Cards of the fleet (meterbridge_fleet_capacity_gpus).", "sum(meterbridge_fleet_capacity_gpus)"
        ),
        *(
            number(
                word,
                f"Cards {meaning}.",
                f'sum(meterbridge_fleet_gpus{{disposition="{word}"}})',
                steps=((None, COLOURS[word]),),
            )
            for word, meaning in words
        ),
        number(
            "waited for",
            "Cards that waiting jobs ask for, of both schedulers.",
            f"sum({_WAITS})",
            steps=((None, "text"), (1, "orange")),
        ),
    ]
    return board(
        "fleet",
        "Fleet",
        "Every card of the fleet in one of six words, whichever scheduler has it.",
        [],
        [
            ("Now", capacity),
            (
                "Over time",
                [
                    lines(
                        "Cards by disposition",
                        "Every card in exactly one word; the stack's height is the fleet's capacity.",
                        query("sum by (disposition) (meterbridge_fleet_gpus)", "{{disposition}}"),
                        stacked=True,
                        colours=COLOURS,
                    ),
                    lines(
                        "Free in one scheduler while the other queues",
                        "Free cards (idle, and reserved by NodeSet pods for Slurm) beside the cards that waiting jobs of "
                        "each cluster ask for. Both high at once: the boundary between the schedulers costs cards.",
                        query('sum(meterbridge_fleet_gpus{disposition="idle"})', "idle"),
                        query('sum(meterbridge_fleet_gpus{disposition="reserved"})', "reserved for Slurm", ref="B"),
                        query(f"sum by (scheduler, cluster) ({_WAITS})", "{{scheduler}} {{cluster}} waits", ref="C"),
                        colours={"idle": COLOURS["idle"], "reserved for Slurm": COLOURS["reserved"]},
                    ),
                ],
            ),
            (
                "How well cards are used",
                [
                    bars(
                        "Utilization by model",
                        "Part of the time in which a card of this model had busy engines, over its cards that were read "
                        "(meterbridge_card_engine_active_ratio).",
                        "avg by (gpu_model) (meterbridge_card_engine_active_ratio"
                        " * on (node) group_left(gpu_model) group by (node, gpu_model) (meterbridge_node_gpus))",
                        "{{gpu_model}}",
                        unit="percentunit",
                        most=1,
                        span=6,
                    ),
                    lines(
                        "Utilization of the cards held",
                        "Busy part of the card-seconds held, of those that were observed: engines, and tensor cores.",
                        query(
                            'sum(rate(meterbridge_job_gpu_active_seconds_total{cluster=~"$cluster"}[$__rate_interval]))'
                            ' / sum(rate(meterbridge_job_gpu_observed_seconds_total{cluster=~"$cluster"}[$__rate_interval]))',
                            "engines",
                        ),
                        query(
                            'sum(rate(meterbridge_job_gpu_tensor_active_seconds_total{cluster=~"$cluster"}[$__rate_interval]))'
                            ' / sum(rate(meterbridge_job_gpu_observed_seconds_total{cluster=~"$cluster"}[$__rate_interval]))',
                            "tensor cores",
                            ref="B",
                        ),
                        unit="percentunit",
                        most=1,
                        span=9,
                    ),
                    lines(
                        "Cards by project",
                        "Cards charged to each project, both schedulers together.",
                        query('sum by (project) (meterbridge_project_gpus{cluster=~"$cluster"})', "{{project}}"),
                        stacked=True,
                        span=9,
                    ),
                ],
            ),
            (
                "What needs somebody",
                [
                    rows(
                        "Orphaned cards",
                        "Jobs that held cards which the pods they made did not use, in the time shown (the most at once).",
                        {
                            "display_id": named("job", **to("job", "job", job="job_id")),
                            "project": named("project", **to("project", "project", project="project")),
                            "user": named("user"),
                            "Value #A": named("cards"),
                            "job_id": {"custom.hidden": True},
                        },
                        "max by (scheduler, cluster, job_id)"
                        f' (max_over_time(meterbridge_orphaned_gpus{{cluster=~"$cluster"}}[$__range])) * {by_name()} > 0',
                        span=8,
                        height=6,
                        sort="Value #A",
                    ),
                    rows(
                        "Disputed cards",
                        "Cards with two owners and no link between them, in the time shown (the most at once). "
                        "`meterbridge disputes` has the evidence.",
                        {
                            "display_id": named("job", **to("job", "job", job="job_id")),
                            "project": named("project", **to("project", "project", project="project")),
                            "opponent": named("opponent"),
                            "Value #A": named("cards"),
                            "job_id": {"custom.hidden": True},
                        },
                        "max by (scheduler, cluster, job_id, opponent)"
                        f' (max_over_time(meterbridge_disputed_gpus{{cluster=~"$cluster"}}[$__range])) * {by_name()} > 0',
                        span=8,
                        height=6,
                        sort="Value #A",
                    ),
                    rows(
                        "Waiting",
                        "Cards that waiting jobs ask for, by cluster.",
                        {
                            "scheduler": named("scheduler"),
                            "cluster": named("cluster"),
                            "Value #A": named("cards waited for"),
                        },
                        f"sum by (scheduler, cluster) ({_WAITS})",
                        span=8,
                        height=6,
                        sort="Value #A",
                    ),
                ],
            ),
            (
                "Health",
                [
                    number(
                        "Cards with something to report",
                        "Cards of which the table beside this has a row.",
                        f"count(count by (node, gpu) ({card_faults()})) or vector(0)",
                        steps=((None, "green"), (1, "orange")),
                        span=4,
                        height=7,
                    ),
                    rows(
                        "What cards report",
                        "What the alerts about cards look at, in the time shown: XIDs, memory errors, throttles, PCIe, NVLink, "
                        "NVSwitches. docs/alerts.md says which counters dcgm-exporter needs for it.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "gpu": named("GPU"),
                            "what": named("what"),
                            "Value #A": named("value", unit=COUNT),
                        },
                        f"{card_faults()} or {switch_faults()} {NOTHING}",
                        span=20,
                        height=7,
                        sort="Value #A",
                    ),
                ],
            ),
            (
                "Machines",
                [
                    rows(
                        "Cards of each machine",
                        "Cards by disposition, machine by machine.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "gpu_model": named("model"),
                            **{f"Value #{chr(65 + n)}": named(word) for n, (word, _) in enumerate(words)},
                        },
                        *(
                            f'sum by (node, gpu_model) (meterbridge_node_gpus{{disposition="{word}"}})'
                            for word, _ in words
                        ),
                        span=14,
                        height=12,
                    ),
                    rows(
                        "Slurm and Kubernetes disagree",
                        "Machines that one scheduler offered work while another did not, in the time shown "
                        "(meterbridge_node_scheduler_up), and for how much of it.",
                        {
                            "node": named("machine", **to("fabric", "fabric", node="node")),
                            "Value #A": named("part of the time", unit="percentunit"),
                        },
                        "avg_over_time((max by (node) (meterbridge_node_scheduler_up)"
                        " - min by (node) (meterbridge_node_scheduler_up))[$__range:$__interval]) > 0",
                        span=10,
                        height=12,
                        sort="Value #A",
                    ),
                ],
            ),
        ],
    )
