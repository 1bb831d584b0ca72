"""The front door: the one command, its verbs, and the one place where both floors are wired together."""

from __future__ import annotations

import errno
import importlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from exporters.errors import EXIT_UNREADABLE, OperatorError
from exporters.logs import log_options, set_up_logging
from exporters.version import version

if TYPE_CHECKING:
    from exporters.config import Config
    from exporters.join.shard import Shard
    from exporters.recorder import Recorder

VERBS = {
    "check": "accounting.commands.check:check",
    "close": "accounting.commands.periods:close_period",
    "dashboards": "dashboards.commands:dashboards",
    "demo": "demo.command:demo",
    "disputes": "accounting.commands.disputes:disputes",
    "doctor": "accounting.commands.doctor:doctor",
    "explain": "accounting.commands.explain:explain",
    "export": "accounting.commands.export:export",
    "exporter": "exporters.commands.exporter:exporter",
    "ingest": "accounting.commands.ingest:ingest",
    "init": "accounting.commands.doctor:init",
    "job": "accounting.commands.explain:job",
    "job-mail": "accounting.commands.explain:job_mail",
    "ledger": "accounting.commands.export:ledger",
    "merge": "exporters.commands.merge:merge",
    "node": "exporters.commands.node:node",
    "periods": "accounting.commands.periods:periods",
    "rates": "accounting.commands.rates:rates",
    "rdma": "alerts.command:rdma",
    "reconcile": "accounting.commands.reconcile:reconcile",
    "rejects": "accounting.commands.rejects:rejects",
    "rule": "accounting.commands.disputes:rule",
    "seal": "accounting.commands.periods:seal_period",
    "serve": "accounting.commands.serve:serve",
    "settle": "accounting.commands.periods:settle",
    "statement": "accounting.commands.statement:statement",
    "usage": "accounting.commands.statement:usage",
}
"""What is typed, and where it is written: module, colon, command. Only the module of what is typed is loaded."""

EPILOG = """\b
Exit codes: 0 done; 1 an invariant does not hold (check), something is wrong (doctor), some input was rejected
(ingest --strict), or a month is not ready (settle, close, seal); 2 wrong usage or settings, or no such line;
3 a source, the ledger or a file could not be read or written.
"""


MACHINE = {getattr(errno, name) for name in "ENOSPC EDQUOT EFBIG EROFS EACCES EPERM ENOENT ENOTDIR EISDIR EIO".split()}
"""What a machine refuses, and an operator mends: a full disk, a folder that is missing or may not be written, ..."""

log = logging.getLogger(__name__)


class Verbs(Mapping[str, click.Command]):
    """The commands of a table like `VERBS`, each loaded when it is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = self._places[name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class FrontDoor(click.Group):
    """A group that tells the errors that an operator can mend as a sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb. Any other error is a fault of ours, and shows its traceback."""
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            raise Refused(str(error), error.exit_code) from error
        except OSError as error:
            if error.errno not in MACHINE:
                raise
            log.debug("told in a sentence:", exc_info=error)
            raise Refused(f"{error.filename or 'a file'}: {error.strerror}", EXIT_UNREADABLE) from error


class Refused(click.ClickException):
    """An error for the operator: one sentence, no traceback, and the documented exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click has one for each class


def record_in_ledger(config: Config, shard: Shard) -> Recorder:
    """The upper floor's recorder, for the ground floor's exporter, which does not know of it."""
    from accounting.site.book import recorder  # noqa: PLC0415 - only an exporter with a ledger loads the upper floor

    return recorder(config, shard)


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"meterbridge, version {version()}")
        context.exit()


@click.group(
    "meterbridge",
    cls=FrontDoor,
    commands=Verbs(VERBS),
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "obj": record_in_ledger},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@log_options
def main(log_level: str, log_format: str) -> None:
    """One meter across Slurm and Kubernetes.

    `exporter` serves what is true now to Prometheus. `ingest`, `reconcile` and `statement` turn the schedulers' records
    into a chargeback in which every GPU-second of the fleet appears exactly once; `settle`, `close` and `seal` make a
    month final, and `disputes` and `rule` decide what the records alone cannot. `node` runs on every machine and says
    what only that knows. `demo` shows all of it on a recorded site, with nothing to set up.
    """
    set_up_logging(log_level, log_format)
    logging.getLogger("alembic").setLevel("WARNING")


if __name__ == "__main__":
    main()
