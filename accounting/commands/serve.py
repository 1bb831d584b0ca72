"""``meterbridge serve``: the accounting service."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.commands.running import serve_until_told


@click.command()
@config_option
def serve(config_file: Path) -> None:
    """Run the accounting service: ingest and reconcile on a clock, an HTTP API, and its own /metrics."""
    from accounting.service import site_service
    from exporters.config import load

    serve_until_told(lambda: site_service.usable(load(config_file)), lambda: (site_service.service(load(config_file)),))
