"""Where an alert leads: its runbook page, and the dashboard that shows what it is about."""

from __future__ import annotations

from alerts.thresholds import Settings

_JOB = {"cluster": "cluster", "job": "job_id"}
_BOARDS: dict[str, tuple[str, dict[str, str]]] = {
    "port": ("fabric", {"node": "node", "device": "device"}),
    "node": ("fabric", {"node": "node"}),
    "card": ("job", _JOB),
    "job": ("job", _JOB),
    "node_cards": ("fleet", {}),
    "fleet": ("fleet", {}),
    "chargeback": ("chargeback", {}),
    "self": ("self", {}),
}
"""For what an alert is about: the board's name, and which of its variables takes which label."""


def links(alert: str, board: str, settings: Settings, *, with_job: bool) -> dict[str, str]:
    """The annotations ``runbook_url`` and ``dashboard_url``. A board is ``meterbridge-<name>``."""
    name, labels = _BOARDS["fleet"] if board == "card" and not with_job else _BOARDS[board]
    variables = "&".join(f"var-{variable}={{{{ $labels.{label} | urlquery }}}}" for variable, label in labels.items())
    url = f"{settings.word('dashboard_base')}/d/meterbridge-{name}"
    return {
        "runbook_url": f"{settings.word('runbook_base')}/{alert}.md",
        "dashboard_url": f"{url}?{variables}" if variables else url,
    }
