"""``meterbridge init`` and ``meterbridge doctor``: the first settings, and why it shows no data."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, EXIT_USAGE, OperatorError


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


_STATE = Path("/var/lib/meterbridge")


@click.command()
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("meterbridge.yaml"),
    show_default=True,
    help="The file to write.",
)
@click.option("--site", default="", help="The site's name (default: this machine's domain or name).")
@click.option("--print", "to_terminal", is_flag=True, help="Print the settings, and write nothing.")
def init(config_file: Path, site: str, to_terminal: bool) -> None:
    """Look at this machine and write a first settings file, with a comment at every line.

    It asks Slurm's commands, the kubeconfig and what listens on this machine, and changes nothing there. A file that
    exists is never overwritten.
    """
    from accounting.doctor.settings_text import settings_text
    from accounting.doctor.surroundings import look_around
    from exporters.config import parse

    if not to_terminal and config_file.exists():
        raise OperatorError(f"{config_file} exists: move it away, or write another one with --config", EXIT_USAGE)
    around = look_around()
    folder = _STATE if _STATE.is_dir() and os.access(_STATE, os.W_OK) else config_file.absolute().parent
    text = settings_text(around, site or _site(), f"sqlite:///{folder / 'ledger.db'}")
    parse(text)  # what we write, we accept
    for line in around.seen:
        click.echo(line, err=True)
    if to_terminal:
        click.echo(text, nl=False)
        return
    try:
        with config_file.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OperatorError(f"{config_file} cannot be written: {error.strerror or error}") from error
    click.echo(f"wrote {config_file}; next: meterbridge exporter --check, then meterbridge doctor", err=True)


def _site() -> str:
    _, _, domain = socket.getfqdn().partition(".")
    return domain.partition(".")[0] or socket.gethostname().partition(".")[0] or "site"
