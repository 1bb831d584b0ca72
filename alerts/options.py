"""The option ``--threshold NAME=VALUE`` of every command about alerts."""

from __future__ import annotations

import click


def overrides(_context: click.Context, _option: click.Parameter, words: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` words as a mapping."""
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
