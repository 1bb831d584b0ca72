"""Which alerts recorded counters would have fired, and when: the rules themselves, on Prometheus' own engine.

Every alert's expression is asked at every evaluation over the whole recording, with recorded series (which a replay
does not record) as the expressions that they stand for; ``for`` and ``keep_firing_for`` are applied as Prometheus
applies them.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alerts.durations import milliseconds
from alerts.engine import engine
from alerts.firing import Episode, episodes
from alerts.generate import groups
from alerts.recording import load_recording
from alerts.thresholds import Settings

FILES = ("fabric", "fabric-ecn", "fabric-ordered", "gpu")
"""The rule files that a recording of counters can say something about."""

LONGEST_LOOKBACK = 300.0
"""Prometheus' own: for how long a sample stays current."""

Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay found: from when to when it looked (epoch seconds), how often, and each alert's episodes."""

    start: float
    end: float
    evaluation: float
    episodes: tuple[Episode, ...]


def replay(
    file: Path,
    settings: Settings,
    *,
    evaluation: float = 0.0,
    files: Sequence[str] = FILES,
    lossless: tuple[int, ...] = (3,),
    tick: Tick = lambda _done, _all: None,
) -> Replayed:
    """Replay a recording (`alerts.recording` has its forms) under these thresholds.

    ``evaluation`` is seconds between evaluations; 0 = as far apart as the recording's rounds. Raises `RulesError`.
    """
    with tempfile.TemporaryDirectory(prefix="meterbridge-replay-") as name:
        folder = Path(name)
        recording = load_recording(file, folder, lossless)
        gap = evaluation or recording.interval
        steps = _steps(recording.start, recording.end, gap)
        rules = expanded(groups(settings), files)
        found: list[Episode] = []
        with engine(recording.openmetrics, folder, min(LONGEST_LOOKBACK, math.ceil(3 * recording.interval))) as running:
            for done, rule in enumerate(rules):
                tick(done, len(rules))
                lasting, kept = (milliseconds(rule.get(key, "0s")) / 1000 for key in ("for", "keep_firing_for"))
                found += episodes(rule, running.held(rule["expr"], steps).items(), steps, lasting, kept)
        tick(len(rules), len(rules))
    return Replayed(steps[0], steps[-1], gap, tuple(sorted(found, key=lambda e: (e.since, e.alert, e.labels))))


def expanded(all_rules: Mapping[str, Mapping[str, Any]], files: Sequence[str]) -> list[dict[str, Any]]:
    """The alerts of some files, with the expressions of recorded series in the place of their names.

    >>> rec = {"groups": [{"rules": [{"record": "a:b:c", "expr": "x + y"}]}]}
    >>> own = {"groups": [{"rules": [{"alert": "A", "expr": "a:b:c > 1"}]}]}
    >>> expanded({"recording": rec, "own": own}, ["own"])[0]["expr"]
    '(x + y) > 1'
    """
    recorded = {r["record"]: r["expr"] for r in all_rules["recording"]["groups"][0]["rules"]}
    names = re.compile("|".join(sorted(map(re.escape, recorded), key=len, reverse=True)))

    def expand(expr: str) -> str:
        while names.search(expr):
            expr = names.sub(lambda m: f"({recorded[m[0]]})", expr)
        return expr

    return [{**r, "expr": expand(r["expr"])} for name in files for r in all_rules[name]["groups"][0]["rules"]]


def rows(replayed: Replayed, *, pending: bool = False) -> list[tuple[str, ...]]:
    """The table: alert, severity, labels, pending since, firing from, to. ``pending``: also what never fired."""
    return [
        (
            e.alert,
            e.severity,
            ", ".join(f"{k}={v}" for k, v in e.labels),
            _moment(e.since),
            _moment(e.fired) if e.fired is not None else "-",
            _moment(e.ended)
            if e.ended is not None and e.fired is not None
            else ("-" if e.fired is None else "the end"),
        )
        for e in replayed.episodes
        if pending or e.fired is not None
    ]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _steps(start: float, end: float, gap: float) -> list[float]:
    """Evaluations at whole multiples of ``gap`` from the recording's first, so that steps have no rounding drift."""
    count = int((end - start) // gap) + 1
    return [start + n * gap for n in range(count)]
