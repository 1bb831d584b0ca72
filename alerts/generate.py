"""The rule files: each group of `groups/` with its thresholds filled in, its joins to jobs, its labels and its links.

An alert's source says what it looks for in one expression; what all alerts have alike is added here:

- ``about: port`` (labels node, device, port) and ``about: card`` (node, gpu) become two rules, one with the jobs that
  the condition hurts in its labels, one for ports and cards without a job, a severity lower and marked ``jobs="none"``.
- ``about: job`` (scheduler, cluster, job_id) is given the job's project and the name that people know.
- ``levels`` (severity: name of a threshold) becomes one rule per severity, and so does a ``when`` by severity.
- ``{xid:hardware}`` in a condition is "the card's last XID is one of these", by the table `xids.yaml`.
- ``{port}``, ``{card}``, ``{job}``, ``{value}`` and ``{percent}`` in the texts become Prometheus' own templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from alerts.links import links
from alerts.thresholds import Open, RulesError, Settings

GROUPS = (
    "recording",
    "fabric",
    "fabric-ecn",
    "fabric-ordered",
    "gpu",
    "scheduler",
    "accounting",
    "exporter",
    "shards",
)
"""The rule files, in the order in which Prometheus should load them. Any but the first may be left out."""

LOWER = {"critical": "warning", "warning": "info", "info": "info"}
"""The severity of a port or card without a job."""

JOB_KEY = "scheduler, cluster, job_id"
PLACES = {
    "port": ("node, device, port", "meterbridge_port:jobs:info"),
    "card": ("node, gpu", "meterbridge_card:jobs:info"),
}
"""What a place is called by, and the recorded series that joins it to its jobs."""

_NAME = "{{ or $labels.display_id $labels.job_id }}"
_WORDS = {
    "port": "{{ $labels.node }} {{ $labels.device }}/{{ $labels.port }}",
    "card": "GPU {{ $labels.gpu }} of {{ $labels.node }}",
    "job": f"job {_NAME} of project {{{{ $labels.project }}}}",
    "value": "{{ $value | humanize }}",
    "percent": "{{ $value | humanizePercentage }}",
}
_HURT = (
    f" Job {_NAME} ({{{{ $labels.job_id }}}}, {{{{ $labels.scheduler }}}} {{{{ $labels.cluster }}}}) of project "
    "{{ $labels.project }} is on it"
)
_SHARED = '{{ if eq $labels.shared "true" }}, with other jobs{{ end }}'
_OWNER = f"{_NAME} ({{{{ $labels.job_id }}}}, {{{{ $labels.scheduler }}}} {{{{ $labels.cluster }}}})"
_KEYS = {
    "alert",
    "about",
    "when",
    "unless_job",
    "for",
    "keep_firing_for",
    "levels",
    "severity",
    "board",
    "summary",
    "description",
}


def groups(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every rule file by name, as the object that Prometheus reads. Raises `RulesError` when a source is wrong."""
    return {name: {"groups": [_group(name, settings)]} for name in GROUPS}


def unfilled(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every rule file with its ``${name}`` left in place, for the mixin and the chart."""
    return groups(Open(settings.thresholds, settings.site))


def words(settings: Settings) -> dict[str, str]:
    """What each ``${name}`` stands for as shipped: thresholds, and what differs from site to site."""
    return {name: t.text for name, t in settings.thresholds.items()} | dict(settings.site)


def source(name: str) -> list[dict[str, Any]]:
    """What is written in one file of `groups/`."""
    rows = yaml.safe_load((files("alerts") / "groups" / f"{name}.yaml").read_text("utf-8"))
    return list(rows)


def _group(name: str, settings: Settings) -> dict[str, Any]:
    rules: list[dict[str, Any]] = []
    for row in source(name):
        if "record" in row:
            rules.append({"record": row["record"], "expr": fill(row["expr"], settings)})
        else:
            rules += _alert(row, name, settings)
    return {"name": f"meterbridge-{name}", "rules": rules}


def _alert(row: Mapping[str, Any], group: str, settings: Settings) -> Iterator[dict[str, Any]]:
    if unknown := set(row) - _KEYS:
        raise RulesError(f"alert {row['alert']}: unknown keys {sorted(unknown)}")
    for severity, threshold in levels(row).items():
        named = {"level": settings.word(threshold)} if threshold else {}
        condition = fill(row["when"][severity] if isinstance(row["when"], dict) else row["when"], settings, named)
        own = fill(row["unless_job"], settings, named) if "unless_job" in row else ""
        for expr, lowered, joined in _joined(row["about"], condition, own):
            rule = {"alert": row["alert"], "expr": expr}
            for key in ("for", "keep_firing_for"):
                if key in row:
                    rule[key] = fill(row[key], settings)
            rule["labels"] = {"severity": LOWER[severity] if lowered else severity, "area": group.partition("-")[0]}
            if lowered:  # without it the lowered page and the warning would be one alert to Prometheus
                rule["labels"]["jobs"] = "none"
            rule["annotations"] = {
                **{key: _text(row, key, joined, settings, named) for key in ("summary", "description")},
                **links(row["alert"], row.get("board") or row["about"], settings, with_job=joined),
            }
            yield rule


def levels(row: Mapping[str, Any]) -> Mapping[str, str]:
    """The severities of an alert, and the threshold of each; empty where none is named."""
    if isinstance(row["when"], dict):
        return dict.fromkeys(row["when"], "")
    return row.get("levels") or {row["severity"]: ""}


def _joined(about: str, condition: str, own: str) -> Iterator[tuple[str, bool, bool]]:
    """Each expression of an alert, whether its severity is lowered, and whether its labels name a job."""
    if about in PLACES:
        labels, jobs = PLACES[about]
        with_jobs = f"({condition})\n  * on ({labels}) group_right ()\n    {jobs}"
        if own:
            with_jobs = f"{with_jobs}\n  unless on ({JOB_KEY})\n    ({own})"
        yield with_jobs, False, True
        yield f"({condition})\n  unless on ({labels})\n    {jobs}", True, False
    elif about == "job":
        names = "meterbridge_job:names:info"
        yield f"({condition})\n  * on ({JOB_KEY}) group_left (project, display_id)\n    {names}", False, True
    elif about in ("node", "nothing"):
        yield condition, False, False
    else:
        raise RulesError(f"about {about} is not port, card, job, node or nothing")


def _text(row: Mapping[str, Any], key: str, joined: bool, settings: Settings, named: Mapping[str, str]) -> str:
    text = fill(str(row[key]).strip(), settings, named)
    text = re.sub(r"(?<![{$])\{(\w+)\}(?!\})", lambda m: _WORDS[m[1]], text)
    about = row["about"]
    if key == "summary":
        return f"{text} (job {_NAME}, project {{{{ $labels.project }}}})" if about in PLACES and joined else text
    if about == "port":
        return f"{text}{_HURT}{_SHARED}." if joined else f"{text} No job is on it now, or it is no compute port."
    if about == "card":
        return f"{text}{_HURT}." if joined else f"{text} No job holds it now."
    return f"{text} It is {_OWNER}." if about == "job" else text


def fill(text: str, settings: Settings, named: Mapping[str, str] | None = None) -> str:
    """Put thresholds in the place of ``${name}``; ``${name:seconds}`` is a duration as a number of seconds."""

    def word(found: re.Match[str]) -> str:
        name, form = found[1], found[2]
        value = (named or {}).get(name) or settings.word(name)
        return settings.seconds(value) if form else value

    return re.sub(r"\{xid:(\w+)\}", lambda found: _any_of(found[1]), re.sub(r"\$\{(\w+)(:seconds)?\}", word, text))


def _any_of(kind: str) -> str:
    """The condition that a card's last XID is one of a kind of `xids.yaml`."""
    codes = xids()
    if kind not in codes:
        raise RulesError(f"no kind {kind} of XIDs in xids.yaml: {', '.join(codes)}")
    return "\n      or ".join(f"max by (node, gpu) (meterbridge_card_xid_error_code) == {code}" for code in codes[kind])


@cache
def xids() -> dict[str, list[int]]:
    """Who has to act on an XID: the codes of each kind, as NVIDIA's catalogue sorts them. No code is of two kinds."""
    found: dict[str, list[int]] = yaml.safe_load((files("alerts") / "xids.yaml").read_text("utf-8"))
    return found
