"""The option that says where the settings are, the same for every verb of both floors."""

from __future__ import annotations

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("meterbridge.yaml"),
    envvar="METERBRIDGE_CONFIG",
    show_default=True,
    show_envvar=True,
    help="Settings file (docs/configure.md).",
)
