"""Whether a Prometheus scrapes us and has our rules, and a Grafana our boards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

from accounting.doctor.finding import Finding, look, unseen, well, wrong
from exporters.masking import masked

GROUPS = frozenset({"meterbridge-exporter", "meterbridge-gpu", "meterbridge-scheduler"})
"""Groups of rules that every site has; those of fabrics and shards depend on what there is."""

_TIMEOUT = 20.0
_MOST = 64 << 20
_SKEW = 30.0


class AskError(Exception):
    """What was asked gave no usable answer."""


def prometheus(url: str, token: Path | None) -> Iterator[Finding]:
    """Ask a Prometheus by its HTTP API about itself and us."""
    about = f"Prometheus {masked(url)}"
    if not url:
        yield unseen("Prometheus", "nobody said where it is", "meterbridge doctor --prometheus http://HOST:9090")
        return
    try:
        up = _query(url, token, "max by (job, instance) (meterbridge_build_info)")
        fresh = _query(url, token, "max(meterbridge_source_last_success_timestamp_seconds)")
        clock = _query(url, token, "vector(time())")
        asked = time.time()
        groups = {group["name"] for group in _get(url, token, "/api/v1/rules")["data"]["groups"]}
    except AskError as error:
        yield wrong(about, str(error), "no board and no alert has data", "is it up, and may we ask it?")
        return
    except (KeyError, TypeError):
        yield wrong(about, "its answer is none of Prometheus' API", "we cannot tell", "is the URL its root?")
        return
    if up:
        named = ", ".join(sorted(f"{m.get('job', '')} {m.get('instance', '')}".strip() for m, _ in up)[:5])
        yield well(about, f"it scrapes {named}")
    else:
        yield wrong(
            about,
            "it has no series meterbridge_build_info",
            "boards are empty and no alert can fire",
            "a scrape_config or ServiceMonitor for /metrics (docs/install.md); its /targets page says what fails",
        )
    if fresh and time.time() - fresh[0][1] > 600:
        yield wrong(
            about, "the newest success of any source is over ten minutes old", "figures stand still", "/-/ready"
        )
    if clock and abs(clock[0][1] - asked) > _SKEW:
        yield wrong(
            about, f"its clock is {clock[0][1] - asked:+.0f} s from ours", "rates and alerts are late", "chrony"
        )
    missing = sorted(GROUPS - groups)
    if missing:
        yield wrong(
            about,
            f"it has not our rules {', '.join(missing)}",
            "nobody is paged",
            "rule_files: [alerts/rules/*.yaml], or the chart's PrometheusRule",
        )
    else:
        yield well(about, f"{sum(name.startswith('meterbridge-') for name in groups)} groups of our rules are loaded")


def grafana(url: str, token: str) -> Iterator[Finding]:
    """Ask a Grafana for our boards. ``token`` is a service account's."""
    about = f"Grafana {masked(url)}"
    if not url:
        yield unseen("Grafana", "nobody said where it is", "meterbridge doctor --grafana http://HOST:3000")
        return
    try:
        found = _answer(url, "/api/search?tag=meterbridge&type=dash-db", f"Bearer {token}" if token else "")
    except AskError as error:
        yield wrong(about, str(error), "we cannot tell whether it has our boards", "GRAFANA_TOKEN, and is it up?")
        return
    if isinstance(found, list) and found:
        yield well(about, f"it has {len(found)} of our boards")
    else:
        yield look(about, "it has none of our boards", "people see nothing", "meterbridge dashboards push")


def _query(url: str, token: Path | None, query: str) -> list[tuple[Mapping[str, str], float]]:
    told = _get(url, token, f"/api/v1/query?{urlencode({'query': query})}")
    return [(row["metric"], float(row["value"][1])) for row in told["data"]["result"]]


def _get(url: str, token: Path | None, path: str) -> Any:
    try:
        bearer = f"Bearer {token.read_text('utf-8').strip()}" if token is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise AskError(f"its token cannot be read: {error}") from error
    return _answer(url, path, bearer)


def _answer(url: str, path: str, bearer: str) -> Any:
    headers = {"User-Agent": "meterbridge", **({"Authorization": bearer} if bearer else {})}
    with urllib3.PoolManager(retries=False, timeout=_TIMEOUT) as pool:
        try:
            response = pool.request("GET", url.rstrip("/") + path, headers=headers, preload_content=False)
            body = response.read(_MOST + 1)
        except urllib3.exceptions.HTTPError as error:
            raise AskError(f"it cannot be read: {error}") from error
    if response.status != 200:
        raise AskError(f"it answered {response.status}")
    try:
        return json.loads(body)
    except ValueError as error:
        raise AskError("its answer is no JSON") from error
