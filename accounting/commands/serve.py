"""``meterbridge serve``: the accounting service."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.commands.running import running
from exporters.logs import wait_for_signal

log = logging.getLogger(__name__)


@click.command()
@config_option
def serve(config_file: Path) -> None:
    """Run the accounting service: ingest and reconcile on a clock, an HTTP API, and its own /metrics."""
    from accounting.service import site_service
    from exporters.config import load

    service = site_service.service(load(config_file))
    with running(service):
        log.info("serving %s", service.url)
        wait_for_signal()
