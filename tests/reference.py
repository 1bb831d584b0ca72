"""The reference pages of docs/ that are made from the code: ``python -m tests.reference`` (``make docs``) writes them.

docs/metrics.md is the exporter's metric table, docs/service-metrics.md what the accounting service says about itself,
docs/cli.md every command's ``--help``, and two tables of docs/alerts.md. tests/test_docs.py holds all
of them to the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from prometheus_client import CollectorRegistry

from accounting.service import metrics
from accounting.service.loop import Loop
from accounting.service.middleware import RequestMetrics
from alerts.page import alert_table, replace_region, threshold_table
from alerts.thresholds import load as load_thresholds
from exporters import series
from meterbridge import main

DOCS = Path(__file__).parent.parent / "docs"
WIDTH = 100


def commands(group: click.Group = main, words: str = "") -> dict[str, click.Command]:
    """Every command of the front door, by what is typed; those of a group after it."""
    found: dict[str, click.Command] = {}
    for name in sorted(group.commands):
        command = group.commands[name]
        found[f"{words}{name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{words}{name} ")
    return found


def cli_page() -> str:
    """docs/cli.md."""
    parts = [
        "# Command line\n\nGenerated from `meterbridge.py` by `make docs`; do not edit.\n",
        _help("meterbridge", main, None),
    ]
    top = click.Context(main, info_name="meterbridge", **main.context_settings)
    parts += [_help(f"meterbridge {words}", command, _above(words, top)) for words, command in commands().items()]
    return "\n".join(parts)


def _above(words: str, top: click.Context) -> click.Context:
    """The context of the groups that a command is in, so that its usage line says what to type."""
    *above, _ = words.split()
    for depth, name in enumerate(above, 1):
        top = click.Context(commands()[" ".join(above[:depth])], info_name=name, parent=top)
    return top


def _help(title: str, command: click.Command, parent: click.Context | None) -> str:
    name = title.rpartition(" ")[2]
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=main.context_settings["help_option_names"],  # click remembers whoever asked first
    )
    return f"## `{title}`\n\n```\n{command.get_help(context)}\n```\n"


def service_metrics_page() -> str:
    """docs/service-metrics.md."""
    registry = CollectorRegistry()
    Loop([], registry)
    RequestMetrics(registry)
    own = sorted(
        (_name(c), c._type, tuple(c._labelnames), c._documentation)  # type: ignore[attr-defined]
        for c in registry._collector_to_names
    )
    head = [
        "# Metrics of the accounting service",
        "",
        "Generated from `loop.py`, `middleware.py` and `metrics.py` of `accounting/service/` by `make docs`; do not",
        "edit. `task` is what runs on a clock (`ingest-<cluster>`, `reconcile`, `standing`, `check`); `route` is a",
        "path of the API as its description writes it.",
        "",
        "## `/metrics`: open, names no project",
        "",
        *_table([*own, *map(_gauge, metrics.OPEN_FAMILIES)]),
        "",
        "## `/api/v1/metrics`: with a token, one's own projects",
        "",
        *_table(map(_gauge, metrics.PROJECT_FAMILIES)),
    ]
    return "\n".join(head) + "\n"


Described = tuple[str, str, tuple[str, ...], str]
"""Name, type, labels and help of a family."""


def _gauge(family: metrics.Gauge) -> Described:
    return (family.name, "gauge", family.labels, family.help)


def _table(families: Iterable[Described]) -> list[str]:
    rows = [f"| `{n}` | {t} | {', '.join(f'`{x}`' for x in labels) or '-'} | {h}. |" for n, t, labels, h in families]
    return ["| family | type | labels | meaning |", "|---|---|---|---|", *rows]


def _name(collector: object) -> str:
    name, kind = collector._name, collector._type  # type: ignore[attr-defined]
    return f"{name}_total" if kind == "counter" else name


def alerts_page() -> str:
    """docs/alerts.md: its tables of alerts and thresholds anew, the rest as people wrote it."""
    text = replace_region((DOCS / "alerts.md").read_text(), "alerts", alert_table())
    return replace_region(text, "thresholds", threshold_table(load_thresholds()))


PAGES = {
    "metrics.md": series.markdown,
    "service-metrics.md": service_metrics_page,
    "cli.md": cli_page,
    "alerts.md": alerts_page,
}
"""Each page that is made, and how."""


if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
        print(DOCS / page)
