"""The page of endpoints: which are read, which are not and why. Pure; every name and error is escaped.

Health by endpoint is here and not in /metrics, where thousands of endpoints would be thousands of series.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from exporters.http.landing_page import STYLE

if TYPE_CHECKING:  # see exporters.http.server
    from exporters.status import Target


def targets_page(sources: Iterable[tuple[str, Sequence[Target]]], now: float) -> str:
    """HTML with a table for each source; the endpoints that fail come first."""
    parts = [_table(name, targets, now) for name, targets in sources]
    body = "".join(parts) or "<p>No source reads endpoints.</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>meterbridge targets</title>'
        f"<style>{STYLE}</style></head><body><h1>Targets</h1>{body}</body></html>\n"
    )


def _table(name: str, targets: Sequence[Target], now: float) -> str:
    bad = sum(1 for t in targets if t.error)
    rows = "".join(_row(t, now) for t in sorted(targets, key=lambda t: (not t.error, t.url)))
    head = "<tr><th>endpoint<th>found<th>last read<th>took<th>bytes<th>says</tr>"
    return f"<h2>{escape(name)}</h2><p>{len(targets) - bad} read, {bad} not.</p><table>{head}{rows}</table>"


def _row(target: Target, now: float) -> str:
    read = f"{max(0.0, now - target.last_success):.0f} s ago" if target.last_success else "never"
    mark = "bad" if target.error else "ok"
    return (
        f"<tr><td><code>{escape(target.url)}</code><td>{escape(target.found)}<td>{read}"
        f"<td>{target.seconds * 1000:.0f} ms<td>{target.size}"
        f'<td class="{mark}">{escape(target.error) or "ok"}</tr>'
    )
