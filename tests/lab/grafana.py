"""What Grafana does with a board's queries, as far as a test needs it: variables, intervals, and the calls it makes.

Grafana itself is in no package. Its own documentation says how variables and ``$__rate_interval`` are put in; the data
come from a real Prometheus.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2

Series = tuple[dict[str, str], list[tuple[float, float]]]
"""Labels, and points of time and value."""

PIXELS = 600
"""Points across a panel: what decides the step of a query."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time shown, in epoch seconds, and how often the data source is scraped."""

    start: float
    end: float
    scrape: float

    @property
    def step(self) -> float:
        """Grafana's interval: never finer than a scrape."""
        return max(self.scrape, (self.end - self.start) / PIXELS)

    def texts(self) -> dict[str, str]:
        """The built-in variables."""
        return {
            "__range": f"{self.end - self.start:.0f}s",
            "__interval": f"{self.step:.0f}s",
            "__rate_interval": f"{max(self.step + self.scrape, 4 * self.scrape):.0f}s",
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave, and how long Prometheus took."""

    expr: str
    series: list[Series]
    seconds: float


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who looks at a board on a Prometheus."""

    prometheus: str
    span: Span
    client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30))

    def choices(self, board: Mapping[str, Any]) -> dict[str, list[str]]:
        """The values that each variable offers; later variables see the first choice of the earlier ones."""
        offered: dict[str, list[str]] = {}
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            found = self._offers(variable, self.defaults(board, offered))
            offered[variable["name"]] = found
        return offered

    def defaults(self, board: Mapping[str, Any], offered: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """What is chosen when a board is opened: everything where that is offered, else the first."""
        chosen = {}
        for variable in board["templating"]["list"]:
            values = offered.get(variable["name"])
            if variable.get("includeAll"):
                listed = "|".join(map(re.escape, values or ()))
                chosen[variable["name"]] = variable.get("allValue") or f"({listed})".replace("\\", "\\\\")
            elif values:
                chosen[variable["name"]] = values[0]
        return chosen

    def _offers(self, variable: Mapping[str, Any], chosen: Mapping[str, str]) -> list[str]:
        query = self.filled(variable["query"]["query"], chosen)
        listed = re.fullmatch(r"label_values\((?:(.+), *)?(\w+)\)", query)
        span = {"start": self.span.start, "end": self.span.end}
        if listed:
            metric, label = listed.groups()
            found = set(self._get(f"label/{label}/values", {"match[]": metric, **span}))
        else:
            result = re.fullmatch(r"query_result\((.+)\)", query)
            assert result, query
            texts = [
                _text(s["metric"]) for s in self._get("query", {"query": result[1], "time": self.span.end})["result"]
            ]
            pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
            values = dict.fromkeys(m["value"] for m in map(pattern.search, texts) if m)
            if variable["sort"] == 0:  # as the query has them
                return list(values)
            found = set(values)
        return sorted(found, reverse=variable["sort"] % 2 == 0 and variable["sort"] > 0)

    def filled(self, expr: str, chosen: Mapping[str, str]) -> str:
        """A query with its variables put in."""
        texts = {**self.span.texts(), **chosen}
        for name in sorted(texts, key=len, reverse=True):
            expr = re.sub(rf"\$\{{{name}\}}|\${name}\b", lambda _, name=name: texts[name], expr)  # type: ignore[misc]
        assert not re.search(r"\$(?!\d)", expr), f"a variable that nobody has: {expr}"  # $1 is of label_replace
        return expr

    def ask(self, target: Mapping[str, Any], chosen: Mapping[str, str]) -> Answer:
        """Ask a panel's query as Grafana would: at the end of the time shown, or over all of it."""
        expr = self.filled(target["expr"], chosen)
        began = time.perf_counter()
        if target.get("instant"):
            result = self._get("query", {"query": expr, "time": self.span.end})["result"]
            points = [(s["metric"], [s["value"]]) for s in result]
        else:
            span = {"start": self.span.start, "end": self.span.end, "step": self.span.step}
            points = [(s["metric"], s["values"]) for s in self._get("query_range", {"query": expr, **span})["result"]]
        series = [(labels, [(float(t), float(v)) for t, v in values]) for labels, values in points]
        return Answer(expr, series, time.perf_counter() - began)

    def _get(self, path: str, parameters: Mapping[str, Any]) -> Any:
        answer = (
            self.client.post(
                f"{self.prometheus}/api/v1/{path}",
                content=urlencode(parameters),
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
            if not path.startswith("label/")
            else self.client.get(f"{self.prometheus}/api/v1/{path}", params=dict(parameters))
        )
        told = answer.json()
        if told["status"] != "success":
            raise RuntimeError(f"{parameters}: {told['error']}")
        return told["data"]


def panels(board: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The panels of a board that ask something."""
    return (p for p in board["panels"] if p["type"] != "row")


def _text(labels: Mapping[str, str]) -> str:
    """A series as Grafana writes it for a variable's pattern: labels in alphabetical order."""
    rest = ",".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in sorted(labels.items()) if k != "__name__")
    return f"{labels.get('__name__', '')}{{{rest}}}"
