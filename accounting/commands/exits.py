"""What the front door's commands share: where the settings are, and errors as sentences with an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from accounting.rates.rating import RatingError
from accounting.store.database import LedgerError
from exporters.config import ConfigError
from exporters.sources.base import SourceError

EXIT_BREACH = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3

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


class Refused(click.ClickException):
    """An error for the operator: one sentence, no traceback, and the documented exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """What the process exits with."""
        return self.code


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors that name what to mend into messages and exit codes; anything else is a fault of ours."""
    try:
        yield
    except (ConfigError, RatingError) as e:
        raise Refused(str(e), EXIT_USAGE) from e
    except (SourceError, LedgerError) as e:
        raise Refused(str(e), EXIT_UNREADABLE) from e


@contextmanager
def dask_refusals(scheduler: str) -> Iterator[None]:
    """What a Dask cluster may be missing, in words."""
    try:
        yield
    except ModuleNotFoundError as e:
        raise Refused(str(e), EXIT_USAGE) from e
    except OSError as e:
        if not scheduler:
            raise
        raise Refused(f"the Dask scheduler {scheduler} cannot be reached: {e}", EXIT_UNREADABLE) from e
