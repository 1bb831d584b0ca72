"""``meterbridge doctor``: why does it show no data?"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@contextmanager
def quiet(log: logging.Logger) -> Iterator[None]:
    """Let a logger say nothing for a while."""
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@click.command()
@config_option
@click.option("--prometheus", "prometheus_url", default="", metavar="URL", help="The Prometheus that should scrape us.")
@click.option(
    "--prometheus-token-file",
    "prometheus_token",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A bearer token for it.",
)
@click.option(
    "--grafana", "grafana_url", default="", metavar="URL", help="The Grafana with our boards (token: GRAFANA_TOKEN)."
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of findings for programs.")
def doctor(
    config_file: Path, prometheus_url: str, prometheus_token: Path | None, grafana_url: str, as_json: bool
) -> None:
    """Find out why it shows no data, or wrong data: each thing that is not well, with the line that mends it.

    Asks every source once as the exporter does, reads how far the ledger is, and changes nothing. Exits 1 when
    something is wrong; what is only worth a look does not count.
    """
    from accounting.doctor import finding
    from accounting.doctor.examine import examine
    from exporters.config import load

    with quiet(logging.getLogger("exporters")):  # what it would say is among the findings
        found = examine(
            load(config_file),
            prometheus_url=prometheus_url,
            prometheus_token=prometheus_token,
            grafana_url=grafana_url,
            grafana_token=os.environ.get("GRAFANA_TOKEN", ""),
        )
    click.echo(finding.as_json(found) if as_json else finding.as_text(found))
    wrong = sum(f.level is finding.Level.WRONG for f in found)
    if wrong:
        raise OperatorError(f"{wrong} {'things are' if wrong > 1 else 'thing is'} wrong", EXIT_BREACH)
