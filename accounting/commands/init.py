"""``meterbridge init``: the first settings."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from exporters.errors import EXIT_USAGE, OperatorError

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
