"""docs/alerts.md: the tables that are made from the rules, between marks that people write around."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alerts.generate import GROUPS, levels, source
from alerts.thresholds import Settings


def alert_table() -> str:
    """Every alert: its file, what it is about, its severities."""
    rows = ["| alert | file | about | severity |", "|---|---|---|---|"]
    for group in GROUPS:
        for row in source(group):
            if "alert" in row:
                severities = ", ".join(levels(row))
                name = row["alert"]
                about = "the site" if row["about"] == "nothing" else row["about"]
                rows.append(f"| [{name}](runbooks/{name}.md) | `{group}` | {about} | {severities} |")
    return "\n".join(rows)


def threshold_table(settings: Settings) -> str:
    """Every threshold with its value, what it means and who says so."""
    rows = ["| threshold | value | what | source |", "|---|---|---|---|"]
    rows += [f"| `{t.name}` | {t.text} | {t.what} | {t.source} |" for t in settings.thresholds.values()]
    return "\n".join(rows)


def replace_region(page: str, name: str, text: str) -> str:
    """The page with what stands between ``<!-- name -->`` and ``<!-- /name -->`` replaced. Raises ValueError."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    changed, count = pattern.subn(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page)
    if count != 1:
        raise ValueError(f"the page has {count} regions {name}, not one")
    return changed


def region(page: str, name: str) -> str:
    """What stands between the marks, without empty lines around it."""
    (found,) = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", page, re.DOTALL)
    return str(found).strip()


def table_rows(table: str) -> Iterator[list[str]]:
    """The cells of each row of a table, without its head."""
    for line in table.splitlines()[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]
