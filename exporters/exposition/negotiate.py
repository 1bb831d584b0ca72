"""Which form of a page a scraper asked for. Pure functions of two request headers.

Two forms are served: Prometheus text 0.0.4, which everything reads and which an absent or unknown ``Accept`` gets, and
OpenMetrics 1.0, which Prometheus asks for first. The rule is that of RFC 9110: the highest ``q`` wins, then the first.
"""

from __future__ import annotations

from enum import Enum


class Form(Enum):
    """A format of the page, by its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def choose_form(accept: str | None) -> Form:
    """The form for an ``Accept`` header.

    >>> choose_form("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1").name
    'OPENMETRICS'
    >>> choose_form("*/*").name
    'TEXT'
    """
    best, best_q = Form.TEXT, 0.0
    for part in (accept or "").split(","):
        kind, parameters = _split(part)
        form = _form(kind, parameters.get("version", ""))
        q = _quality(parameters)
        if form is not None and q > best_q:
            best, best_q = form, q
    return best


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an ``Accept-Encoding`` header allows gzip (``gzip;q=0`` forbids it)."""
    parts = (_split(part) for part in (accept_encoding or "").split(","))
    return any(kind == "gzip" and _quality(parameters) > 0 for kind, parameters in parts)


def _form(kind: str, version: str) -> Form | None:
    if kind == "application/openmetrics-text":
        # OpenMetrics 0.0.1 was a draft, and 2.0 is another format.
        return Form.OPENMETRICS if version in {"", "1.0.0"} else None
    return Form.TEXT if kind in {"text/plain", "text/*", "*/*"} else None


def _split(part: str) -> tuple[str, dict[str, str]]:
    kind, *rest = part.split(";")
    pairs = (item.partition("=") for item in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _quality(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
