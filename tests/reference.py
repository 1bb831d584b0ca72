"""The reference pages of docs/ that are made from the code: ``python -m tests.reference`` (``make docs``) writes them.

docs/metrics.md is the exporter's metric table, docs/service-metrics.md what the accounting service says about itself,
and docs/cli.md every command's ``--help``. tests/test_docs.py holds the pages to the code.
"""

from __future__ import annotations

from pathlib import Path

import click
from prometheus_client import CollectorRegistry

from accounting.guard import RequestMetrics
from accounting.loop import Loop
from exporters import series
from meterbridge import main

DOCS = Path(__file__).parent.parent / "docs"
WIDTH = 100


def commands(group: click.Group = main) -> dict[str, click.Command]:
    """Every command of the front door, by what is typed."""
    return {name: group.commands[name] for name in sorted(group.commands)}


def cli_page() -> str:
    """docs/cli.md."""
    parts = [
        "# Command line\n\nGenerated from `meterbridge.py` by `make docs`; do not edit.\n",
        _help("meterbridge", main, None),
    ]
    top = click.Context(main, info_name="meterbridge")
    parts += [_help(f"meterbridge {name}", command, top) for name, command in commands().items()]
    return "\n".join(parts)


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
    rows = [
        f"| `{_name(collector)}` | {collector._type} | {', '.join(f'`{x}`' for x in collector._labelnames)} "
        f"| {collector._documentation}. |"
        for collector in sorted(registry._collector_to_names, key=_name)  # type: ignore[arg-type]
    ]
    head = [
        "# Metrics of the accounting service",
        "",
        "Generated from `accounting/loop.py` and `accounting/guard.py` by `make docs`; do not edit. `task` is what",
        "runs on a clock (`ingest-<cluster>`, `reconcile`); `route` is a path of the API as its description writes it.",
        "",
        "| family | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows]) + "\n"


def _name(collector: object) -> str:
    name, kind = collector._name, collector._type  # type: ignore[attr-defined]
    return f"{name}_total" if kind == "counter" else name


PAGES = {"metrics.md": series.markdown, "service-metrics.md": service_metrics_page, "cli.md": cli_page}
"""Each page that is made, and how."""


if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make())
        print(DOCS / page)
