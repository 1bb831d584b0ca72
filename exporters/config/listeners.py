"""Settings of what listens: the exporter's and the accounting service's pages."""

from __future__ import annotations

from pathlib import Path

from exporters.config.section import Section
from exporters.config.values import Duration


class Web(Section):
    """Where `/metrics` is served. TLS and basic auth come in Prometheus' own web-config file."""

    listen: str = "127.0.0.1:9810"
    config_file: Path | None = None


class Service(Section):
    """The accounting service: its listener, its tokens, and how often it ingests and reconciles."""

    listen: str = "127.0.0.1:9811"
    config_file: Path | None = None
    tokens_file: Path | None = None
    interval: Duration = 900.0
    check_interval: Duration = 86_400.0
