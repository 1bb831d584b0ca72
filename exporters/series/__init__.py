"""The metric table: one row = one family. `docs/metrics.md` is generated from it, and a test holds the two together.

To add a metric, add a row: name, type, unit, help that says where it comes from, labels, and a function of
`exporters.series.view` that finds its rows. No label is ever called job, instance, pod or namespace: Prometheus puts
those on the target, and a collision renames ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporters.exposition.family import Columns, Family, Row
from exporters.meters.roster import fold
from exporters.series import card_families, fabric_families, fleet_families, job_families, own_families
from exporters.series import view as v
from exporters.series.row import SeriesRow

__all__ = ["TABLE", "SeriesRow", "families", "markdown"]

TABLE: tuple[SeriesRow, ...] = (
    *job_families.ROWS,
    *fleet_families.ROWS,
    *card_families.ROWS,
    *fabric_families.ROWS,
    *own_families.ROWS,
)


def families(view: v.View) -> list[Family]:
    """Every family of the table with its rows in a stable order."""
    return [Family(r.name, r.help, r.type, r.labels, in_order(_rows(r, view))) for r in TABLE]


def _rows(row: SeriesRow, view: v.View) -> Iterable[Row]:
    rows = row.rows(view)
    return fold(rows, row.labels, row.fold, view.folded) if view.folded else rows


def in_order(rows: Iterable[Row]) -> Sequence[Row]:
    """Rows sorted, unless they came so."""
    return rows if isinstance(rows, Columns) else sorted(rows)


def markdown() -> str:
    """docs/metrics.md: the table, for people."""
    lines = [
        "# Metrics",
        "",
        "Generated from `exporters/series/` by `make docs`; do not edit. Units are Prometheus base units; cards are",
        "whole GPUs, so half a card reads 0.5. A family marked experimental may still change its name or labels.",
        "",
        "| family | type | labels | meaning | stability |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| `{r.name}` | {r.type} | {', '.join(f'`{x}`' for x in r.labels) or '-'} | {r.help} | {r.stability} |"
        for r in TABLE
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
