"""What all boards are made of: queries, panels and variables with the same habits.

Every panel says what it shows and where the number comes from, has a unit, and leaves a hole where nothing was
measured: a line is never drawn over missing data. Colours say the same thing everywhere: each disposition has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
"""The Prometheus that the reader chose."""

WIDTH = 24
"""Columns of Grafana's grid."""

COLOURS = {
    "charged": "green",
    "reserved": "blue",
    "idle": "yellow",
    "down": "red",
    "disputed": "purple",
    "unknown": "#8e8e8e",
}
"""Grafana's named colours suit the light and the dark theme alike."""

Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value on (None = from the beginning) which colour."""

Properties = Mapping[str, Any]
"""Settings of one column of a table, by Grafana's own names: unit, links, displayName, ..."""


COUNT = "locale"
"""Cards, hours of use, money and counts: whole numbers with separators. Grafana scales its unit ``h`` to years (72,970 h
would read 8.33 years) and ``short`` to thousands (8,000 cards would read 8 K); titles say what is counted."""

JOB = "scheduler, cluster, job_id"
"""The labels that name a job."""


def by_name(selector: str = 'cluster=~"$cluster"') -> str:
    """Multiply by this to see jobs' names: the job's info of the time shown, one of each job whatever changed."""
    names = "group_left(project, display_id, name, user, kind)"
    latest = f"last_over_time(meterbridge_job_info{{{selector}}}[$__range])"
    return f"on ({JOB}) {names} topk by ({JOB}) (1, {latest})"


def query(expr: str, legend: str = "", *, ref: str = "A", instant: bool = False) -> prometheus.Dataquery:
    """One query; ``legend`` is Grafana's template, ``instant`` asks for the value at the end of the range only."""
    found = prometheus.Dataquery().datasource(SOURCE).expr(expr).ref_id(ref).legend_format(legend or "__auto")
    if instant:
        return found.instant().format(PromQueryFormat.TABLE)
    return found.range()


def lines(
    title: str,
    text: str,
    *queries: prometheus.Dataquery,
    unit: str = COUNT,
    span: int = 12,
    height: int = 8,
    stacked: bool = False,
    most: float | None = None,
    steps: Steps = (),
    colours: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Lines over time, or a stack of areas. ``steps`` are drawn as dashed lines."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .targets(list(queries))
        .unit(unit)
        .span(span)
        .height(height)
        .min(0)
        .span_nulls(False)
        .line_width(1)
        .show_points(shapes.VisibilityMode.AUTO)
        .fill_opacity(70 if stacked else 8)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.TABLE)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    )
    if most is not None:
        panel = panel.max(most)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A")).line_width(0)
    if steps:
        panel = panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in (colours or {}).items():
        panel = panel.override_by_name(name, [_fixed(colour)])
    return panel


def number(
    title: str,
    text: str,
    expr: str,
    *,
    unit: str = COUNT,
    span: int = 3,
    height: int = 4,
    steps: Steps = ((None, "text"),),
    decimals: float | None = None,
    legend: str = "",
    words: bool = False,
) -> stat.Panel:
    """One number now, large, with its course behind it; or, with ``words``, the legend. "no data" is said, never 0."""
    panel = (
        stat.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .targets([query(expr, legend)])
        .unit(unit)
        .span(span)
        .height(height)
        .no_value("no data")
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(thresholds(steps))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.text_mode(shapes.BigValueTextMode.NAME) if words else panel


def bars(
    title: str,
    text: str,
    expr: str,
    legend: str,
    *,
    unit: str = COUNT,
    span: int = 8,
    height: int = 8,
    most: float | None = None,
    steps: Steps = ((None, "blue"),),
    decimals: float | None = None,
) -> bargauge.Panel:
    """One bar for each series, now."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .targets([query(expr, legend)])
        .unit(unit)
        .span(span)
        .height(height)
        .min(0)
        .no_value("no data")
        .orientation(shapes.VizOrientation.HORIZONTAL)
        .display_mode(shapes.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(thresholds(steps))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel if most is None else panel.max(most)


def rows(
    title: str,
    text: str,
    columns: Mapping[str, Properties],
    *exprs: str,
    span: int = 12,
    height: int = 9,
    sort: str = "",
) -> table.Panel:
    """A table of one instant. ``exprs`` are joined on their labels; the value of the first is ``Value #A``, and so on.

    ``columns`` are the columns shown, in order, with their settings; the others are hidden.
    """
    targets: list[Any] = [query(e, ref=chr(ord("A") + n), instant=True) for n, e in enumerate(exprs)]
    single = len(exprs) == 1
    shown = {("Value" if single and c == "Value #A" else c): p for c, p in columns.items()}
    panel = (
        table.Panel()
        .title(title)
        .description(text)
        .datasource(SOURCE)
        .targets(targets)
        .span(span)
        .height(height)
        .unit(COUNT)
        .no_value("-")
        .filterable(True)
        .cell_height(shapes.TableCellHeight.SM)
    )
    if not single:
        panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "includeByName": dict.fromkeys(shown, True),
                "indexByName": {name: n for n, name in enumerate(shown)},
                "renameByName": {},
                "excludeByName": {},
            },
        )
    )
    for name, properties in shown.items():
        if properties:
            panel = panel.override_by_name(
                name, [model.DynamicConfigValue(id_val=k, value=v) for k, v in properties.items()]
            )
    if sort:
        column = "Value" if single and sort == "Value #A" else sort
        title_of = shown[column].get("displayName", column)
        panel = panel.sort_by([common.TableSortByFieldState().display_name(title_of).desc(True)])
    return panel


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Absolute thresholds."""
    return (
        build.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=colour) for value, colour in steps])
    )


def _fixed(colour: str) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def named(text: str, **more: Any) -> dict[str, Any]:
    """The settings of a column that is headed ``text``."""
    return {"displayName": text, **more}


def to(board: str, text: str, **variables: str) -> dict[str, Any]:
    """A link in a cell to another board, which takes the selection along: variable -> column of this row."""
    picks = "".join(f"&var-{name}=${{__data.fields.{column}}}" for name, column in variables.items())
    url = f"/d/meterbridge-{board}?${{datasource:queryparam}}{picks}&${{__url_time_range}}"
    return {"links": [{"title": text, "url": url}]}


def datasource() -> build.DatasourceVariable:
    """Which Prometheus."""
    return (
        build.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .description("the Prometheus that scrapes meterbridge")
    )


def choice(
    name: str,
    label: str,
    query: str,
    text: str,
    *,
    several: bool = True,
    regex: str = "",
    newest: bool = False,
    ordered: bool = False,
    hidden: bool = False,
) -> build.QueryVariable:
    """A choice among what Prometheus has; with ``several``, of many or all. ``newest`` puts the last in order first,
    ``ordered`` keeps the order of the query. ``hidden`` is what a board finds out for itself: always all there is, by name.
    """
    order = model.VariableSort.ALPHABETICAL_DESC if newest else model.VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC
    if ordered:
        order = model.VariableSort.DISABLED
    found = (
        build.QueryVariable(name)
        .label(label)
        .description(text)
        .datasource(SOURCE)
        .query({"query": query, "refId": name, "qryType": 5})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(order)
        .multi(several)
        .include_all(several)
    )
    if several:
        everything = model.VariableOption(text="All", value="$__all", selected=True)
        found = found.current(everything)
        found = found.hide(model.VariableHide.HIDE_VARIABLE) if hidden else found.all_value(".*")
    return found.regex(regex) if regex else found


def cluster() -> build.QueryVariable:
    """Which of the site's clusters, of either scheduler."""
    return choice(
        "cluster", "Cluster", "label_values(meterbridge_source_success, cluster)", "clusters of either scheduler"
    )
