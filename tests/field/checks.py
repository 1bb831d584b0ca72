"""What must hold of a case when its steps are done: hours, capacity, series, exit codes, words."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.field.case import Case

_BOUNDS = ("is", "at_least", "at_most", "within", "of", "absent")
_FILES = {"notes": "out/*-notes.txt", "csv": "out/chargeback-????-??.csv", "log": "*.log"}


def wrong(case: Case, check: Mapping[str, Any]) -> str:
    """What does not hold, in words; empty where all does."""
    ((kind, told),) = check.items()
    if kind == "any_of":
        ways = ["; ".join(filter(None, (wrong(case, c) for c in way))) for way in told]
        return "" if "" in ways else " / or: ".join(ways)
    if kind == "exit":
        code = case.codes.get(told["of"])
        allowed = told["is"] if isinstance(told["is"], list) else [told["is"]]
        good = code not in (0, None) if told["is"] == "nonzero" else code in allowed
        return "" if good else f"{told['of']} exits {code}, not {told['is']}"
    if kind == "says":
        return _says(case, told)
    return _number(case, kind, told if isinstance(told, dict) else {"is": 0, "within": 0.0001})


def _says(case: Case, told: Mapping[str, Any]) -> str:
    texts = []
    for where in told["in"]:
        if where in _FILES:
            texts += [path.read_text() for path in sorted(case.here.glob(_FILES[where]))]
        else:
            texts.append(case.page if where == "page" else case.said.get(where, ""))
    text = "\n".join(texts)

    def has(pattern: str) -> bool:
        return re.search(case.render(pattern), text, re.IGNORECASE | re.DOTALL) is not None

    faults = [f"/{p}/ is not in {told['in']}" for p in told.get("all", ()) if not has(p)]
    faults += [f"/{p}/ is in {told['in']}" for p in told.get("none", ()) if has(p)]
    if told.get("any") and not any(map(has, told["any"])):
        faults.append(f"none of {told['any']} is in {told['in']}")
    return "; ".join(faults)


def _number(case: Case, kind: str, told: Mapping[str, Any]) -> str:
    """A sum of hours, of capacity, of what is missing between both, or of samples, and its bounds."""
    names = {k: v if isinstance(v, list) else [v] for k, v in told.items() if k not in _BOUNDS}
    capacity = sum(float(r["gpu_hours"]) for r in _rows(case, "-summary") if r["disposition"] == "capacity")
    if kind == "hours":
        column = told.get("of", "gpu_hours")
        rows = [r for r in _rows(case, "") if r["disposition"] or "disposition" in names]
        got = sum(float(r[column] or 0) for r in rows if _fits(case, r, names))
    elif kind == "capacity":
        got = capacity
    elif kind == "conserved":
        rows = [r for r in _rows(case, "") if r["disposition"]]
        own = {"charged": "charged_gpu_hours"}
        got = sum(float(r[own.get(r["disposition"], "gpu_hours")]) for r in rows) - capacity
    else:
        found = [value for labels, value in _samples(case.page) if _fits(case, labels, names)]
        if told.get("absent"):
            return f"{names} is on the page" if found else ""
        if not found and told.get("is", told.get("at_least", 0)) != 0:
            return f"{names} is not on the page"
        got = sum(found)
    slack = told.get("within", 0.02)
    low = told.get("is", told.get("at_least", float("-inf"))) - slack
    high = told.get("is", told.get("at_most", float("inf"))) + slack
    bounds = {k: told[k] for k in ("is", "at_least", "at_most") if k in told}
    return "" if low <= got <= high else f"{kind} {names} is {got:.6g}, not {bounds}"


def _rows(case: Case, what: str) -> Iterator[dict[str, str]]:
    for path in sorted(case.here.glob(f"out/chargeback-????-??{what}.csv")):
        with path.open(newline="") as file:
            yield from csv.DictReader(file)


def _samples(page: str) -> Iterator[tuple[dict[str, str], float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            yield {"name": sample.name, **sample.labels}, sample.value


def _fits(case: Case, row: Mapping[str, str], names: Mapping[str, list[Any]]) -> bool:
    return all(any(fnmatchcase(row.get(k, ""), case.render(str(p))) for p in v) for k, v in names.items())
