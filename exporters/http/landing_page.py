"""The page a person sees who opens the exporter in a browser: where things are, and how the sources do. Pure.

Names and errors come from other systems: everything is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see exporters.http.server
    from exporters.status import SourceStatus

_SHOWN_PROBLEMS = 10

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;vertical-align:top}"
    "tr{border-bottom:1px solid #ddd}.bad{color:#b00020}.part{color:#8a5a00}code{overflow-wrap:anywhere}"
)
LINKS = (
    ("/metrics", "the series"),
    ("/targets", "every endpoint that is read, and how it does"),
    ("/-/healthy", "is the process alive"),
    ("/-/ready", "was every source read and joined"),
)


def landing_page(
    statuses: Sequence[SourceStatus],
    ready: bool,
    now: float,
    links: Iterable[tuple[str, str]] = LINKS,
    files: Mapping[str, str] | None = None,
) -> str:
    """HTML with the endpoints, one row per source, and ``files`` on the exporter's machine with what they are."""
    items = "".join(f'<li><a href="{escape(path)}">{escape(path)}</a>: {escape(what)}</li>' for path, what in links)
    rows = "".join(_row(status, now) for status in statuses)
    table = f"<table><tr><th>source<th>cluster<th>state<th>last read<th>says</tr>{rows}</table>" if rows else ""
    listed = "".join(f"<li><code>{escape(path)}</code>: {escape(what)}</li>" for path, what in (files or {}).items())
    found = f"<h2>Files on the exporter's machine</h2><ul>{listed}</ul>" if listed else ""
    state = "ready" if ready else "not ready yet: some source was never read, so a missing job proves nothing"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>meterbridge exporter</title>'
        f"<style>{STYLE}</style></head><body><h1>meterbridge exporter</h1><p>{state}</p><ul>{items}</ul>{table}{found}"
        f"</body></html>\n"
    )


def _row(status: SourceStatus, now: float) -> str:
    name, mark = _state(status)
    read = f"{max(0.0, now - status.last_success):.0f} s ago" if status.last_success else "never"
    says = [status.error, *status.problems] if status.error else list(status.problems)
    more = [f"and {len(says) - _SHOWN_PROBLEMS} more"] if len(says) > _SHOWN_PROBLEMS else []
    text = "<br>".join(f"<code>{escape(line)}</code>" for line in (*says[:_SHOWN_PROBLEMS], *more))
    return (
        f'<tr><td>{escape(status.name)}<td>{escape(status.cluster)}<td class="{mark}">{name}<td>{read}<td>{text}</tr>'
    )


def _state(status: SourceStatus) -> tuple[str, str]:
    if not status.success:
        return "failing" if status.polls else "not read yet", "bad"
    return ("ok", "ok") if status.complete else ("partly read", "part")
