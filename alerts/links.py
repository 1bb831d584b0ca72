"""Where an alert leads: its runbook page, and the dashboard that shows what it is about."""

from __future__ import annotations

from alerts.thresholds import Settings

_JOB = ("scheduler", "cluster", "job_id")
_BOARDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "port": ("fabric", ("node", "device", "port")),
    "node": ("fabric", ("node",)),
    "card": ("job", ()),
    "job": ("job", _JOB),
    "fleet": ("fleet", ()),
    "chargeback": ("chargeback", ()),
    "self": ("self", ()),
}
"""For what an alert is about: the dashboard's name, and the labels that its variables take."""


def links(alert: str, board: str, settings: Settings, *, with_job: bool) -> dict[str, str]:
    """The annotations ``runbook_url`` and ``dashboard_url``. A board is ``meterbridge-<name>``."""
    name, labels = _BOARDS[board]
    if with_job and board != "job":
        labels = (*labels, *_JOB)
    if board == "card" and not with_job:
        name = "fleet"
    variables = "&".join(f"var-{label}={{{{ $labels.{label} | urlquery }}}}" for label in labels)
    url = f"{settings.site['dashboard_base']}/d/meterbridge-{name}"
    return {
        "runbook_url": f"{settings.site['runbook_base']}/{alert}.md",
        "dashboard_url": f"{url}?{variables}" if variables else url,
    }
