"""A board: its name, its variables, its rows of panels, and the way to the other boards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from dashboards.parts import SOURCE, cluster, datasource

TAG = "meterbridge"
Panels = Sequence[Any]
"""Builders of panels, of any kind."""


def board(
    name: str,
    title: str,
    text: str,
    chosen: Sequence[Any],
    sections: Sequence[tuple[str, Panels]],
    *,
    since: str = "now-6h",
    refresh: str = "1m",
    marks: Sequence[tuple[str, str, str]] = (),
) -> build.Dashboard:
    """A board with the uid ``meterbridge-<name>``. ``sections`` are headings and the panels below them, ``marks`` the moments
    that are drawn across all of them: name, query and colour.
    """
    links = (
        build.DashboardLink("meterbridge")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    found = (
        build.Dashboard(f"meterbridge / {title}")
        .uid(f"meterbridge-{name}")
        .description(text)
        .tags([TAG])
        .editable()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .link(links)
        .with_variable(datasource())
        .with_variable(cluster())
    )
    for variable in chosen:
        found = found.with_variable(variable)
    for mark, expr, colour in marks:
        found = found.annotation(
            build.AnnotationQuery().name(mark).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)
        )
    number = count(1)  # every panel needs an id of its own, and keeps it while nothing before it changes
    for heading, panels in sections:
        found = found.with_row(build.Row(heading).id(next(number)))
        for panel in panels:
            found = found.with_panel(panel.id(next(number)))
    return found
