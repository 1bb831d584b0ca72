"""What a reader chooses on the boards."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from dashboards.parts import SOURCE


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
) -> build.QueryVariable:
    """A choice among what Prometheus has; with ``several``, of many or all. ``newest`` puts the last in order first,
    ``ordered`` keeps the order of the query.
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
        found = found.all_value(".*").current(everything)
    return found.regex(regex) if regex else found


def cluster() -> build.QueryVariable:
    """Which of the site's clusters, of either scheduler."""
    return choice(
        "cluster", "Cluster", "label_values(meterbridge_source_success, cluster)", "clusters of either scheduler"
    )
