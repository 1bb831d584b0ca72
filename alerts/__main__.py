"""``python -m alerts``: write the rule files, with a site's own thresholds."""

from __future__ import annotations

from pathlib import Path

import click

from alerts.files import SHIPPED, write, write_mixin
from alerts.generate import groups
from alerts.options import threshold_option
from alerts.thresholds import RulesError, load


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=SHIPPED, help="Folder for the files.")
@click.option("--site", type=click.Path(path_type=Path, dir_okay=False), help="A file like alerts/site.yaml.")
@threshold_option
@click.option("--scale", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Multiply every duration.")
def main(out: Path, site: Path | None, thresholds: dict[str, str], scale: float) -> None:
    """Write the Prometheus rule files."""
    try:
        settings = load(site).override(thresholds).scale(scale)
        for path in write(out, groups(settings)):
            click.echo(path)
        if out == SHIPPED:
            click.echo(write_mixin(settings))
    except (RulesError, OSError) as e:
        raise click.ClickException(str(e)) from e


if __name__ == "__main__":
    main()
