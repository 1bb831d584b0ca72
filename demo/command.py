"""``meterbridge demo``: all of it on a recorded site."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-out"),
    show_default=True,
    help="Folder for what it writes.",
)
@click.option("--serve/--no-serve", "serve_pages", default=sys.stdout.isatty(), help="Keep /metrics up at the end.")
def demo(out: Path, serve_pages: bool) -> None:
    """Show everything on a recorded site: a month of 17 machines, three projects, both schedulers.

    The code is the production code; only Slurm, Kubernetes and the GPUs are replayed, and say so.
    """
    from rich.console import Console

    from demo import run

    run.run(out, serve=serve_pages, console=Console(width=None if sys.stdout.isatty() else 120))
