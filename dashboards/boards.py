"""All boards, as the JSON that Grafana imports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.chargeback import chargeback
from dashboards.fabric import fabric
from dashboards.fleet import fleet
from dashboards.itself import itself
from dashboards.job import job
from dashboards.project import project

BOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "fleet": fleet,
    "project": project,
    "job": job,
    "fabric": fabric,
    "chargeback": chargeback,
    "self": itself,
}
"""Each board by the last part of its uid."""


def texts() -> dict[str, str]:
    """Each board's JSON by its name."""
    return {
        name: json.dumps(make().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, make in BOARDS.items()
    }
