"""``python -m alerts``: write the rule files, with a site's own thresholds."""

from __future__ import annotations

from pathlib import Path

import click

from alerts.files import SHIPPED, write
from alerts.generate import groups
from alerts.thresholds import RulesError, load


def overrides(_context: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` options as a mapping."""
    wrong = [w for w in words if "=" not in w]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE")
    return dict(w.split("=", 1) for w in words)


threshold_option = click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    callback=overrides,
    help="Another value for a threshold of alerts/thresholds.yaml; may be given several times.",
)


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
    except (RulesError, OSError) as e:
        raise click.ClickException(str(e)) from e


if __name__ == "__main__":
    main()
