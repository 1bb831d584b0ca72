"""The front door: the one command, and the one place where both floors are wired together."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from accounting.bulk.run import Work
from accounting.commands import book, months
from accounting.commands import recovery as recovering
from accounting.commands.cli import COMMANDS
from accounting.commands.exits import EXIT_BREACH, EXIT_USAGE, Refused, config_option, dask_refusals, refusals
from accounting.reconcile.sweep.engines import EngineName
from accounting.service import site_service as office
from alerts.command import rdma
from dashboards.commands import dashboards
from exporters import build
from exporters.config import Config, load
from exporters.http.server import Server, create_app
from exporters.join.shard import Shard, ShardError
from exporters.logs import log_options, set_up_logging, wait_for_signal
from exporters.node.command import node
from exporters.poll import memory
from exporters.poll.registry import Collector
from exporters.series import version
from exporters.shards.merge_command import merge
from exporters.sources.base import SourceError

EPILOG = """\b
Exit codes: 0 done; 1 an invariant does not hold (check), some input was rejected (ingest --strict), or a month is
not settled (settle, close); 2 wrong usage or settings; 3 a source or the ledger could not be read.
"""

log = logging.getLogger("meterbridge")
_ConfigOption = config_option


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version(), prog_name="meterbridge")
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


@main.command()
@_ConfigOption
@click.option("--once", is_flag=True, help="Poll every source once, print the exposition and exit.")
@click.option("--check", "check_only", is_flag=True, help="Check the settings, say what they mean, and exit.")
@click.option("--web.listen-address", "listen", help="Listen here instead of web.listen (HOST:PORT).")
@click.option(
    "--shard", "shard_text", default="0/1", metavar="INDEX/COUNT", help="Join this part of the machines only."
)
def exporter(config_file: Path, once: bool, check_only: bool, listen: str | None, shard_text: str) -> None:
    """Serve per-job and per-project series to Prometheus.

    With `ledger` configured it also records what only the live side can know: pods, and which card each job holds.
    Several exporters share a fleet by --shard 0/4 to 3/4; `merge` serves their sum.
    """
    with refusals():
        config = load(config_file)
        if check_only:
            click.echo(build.describe(config))
            return
        shard = _shard(shard_text)
        recorder = book.recorder(config, shard) if config.ledger else None
        collector = build.collector(config, recorder, shard=shard)
        if once:
            collector.poll_all()
            collector.join()
            page = collector.page()
            sys.stdout.buffer.write(page.body() if page else b"")
            collector.stop()
            failed = [s for s in collector.statuses() if not s.success]
            if failed:
                raise SourceError("; ".join(f"{s.name} {s.cluster}: {s.error}" for s in failed))
            return
        serve_exporter(config, collector, listen or config.web.listen)


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ShardError as error:
        raise click.BadParameter(str(error), param_hint="--shard") from error


def serve_exporter(config: Config, collector: Collector, listen: str) -> None:
    """Run the exporter until it is told to stop."""
    server = Server(
        create_app(collector.page, collector.ready, collector.statuses, targets=collector.targets),
        listen,
        config.web.config_file,
    )
    memory.settle()
    collector.start()
    server.start()
    log.info("serving %s/metrics", server.url)
    wait_for_signal()
    server.stop()
    collector.stop()


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar on a terminal, a plain line every ten seconds otherwise: call it with (done, total, records so far)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def plain(done: int, total: int, records: int) -> None:
            nonlocal last
            if time.monotonic() - last >= 10 or done >= total:
                last = time.monotonic()
                log.info("%s: %d of %d, %d records", what, done, total, records)

        yield plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, _records: bar.update(task, completed=done, total=total)


@main.command()
@_ConfigOption
@click.option("--strict", is_flag=True, help="Exit 1 when a record was rejected.")
def ingest(config_file: Path, strict: bool) -> None:
    """Read the schedulers' history into the ledger, from where the last ingest stopped.

    Running it twice changes nothing. Records that cannot be used are set aside (`meterbridge rejects`), the rest goes
    on.
    """
    with refusals():
        config = load(config_file)
        rejected = 0
        for cluster in config.slurm:
            if cluster.history.enabled:
                with progress(f"sacct {cluster.cluster}") as tick:
                    report = book.ingest(config, cluster, int(time.time()), tick)
                click.echo(book.ingested(report))
                rejected += report.rejected
        for kube in config.kubernetes:
            if kube.history is not None:
                recovery = recovering.recover(config, kube, int(time.time()))
                click.echo(recovering.recovered(recovery))
                rejected += recovery.rejected
    if strict and rejected:
        raise Refused(f"{rejected} records were rejected; see meterbridge rejects", EXIT_BREACH)


@main.command()
@_ConfigOption
@click.option("--period", help="A billing month, 2026-10. Default: every open month.")
@click.option(
    "--engine",
    type=click.Choice(["one", "pool", "dask"]),
    help="Where it is done: one process, a pool of one per processor, or a Dask cluster (needs the extra `dask`). "
    "The books are the same to the byte.  [default: a pool where there is much to do]",
)
@click.option("--scheduler", metavar="ADDRESS", default="", help="The Dask scheduler, tcp://HOST:8786.")
def reconcile(config_file: Path, period: str | None, engine: EngineName | None, scheduler: str) -> None:
    """Divide every node-day's capacity among its owners and post it.

    Only node-days whose records changed are posted again: a reversal and a new transaction, never an update.
    """
    if (engine == "dask") != bool(scheduler):
        raise Refused("--engine dask and --scheduler ADDRESS go together", EXIT_USAGE)
    with refusals():
        config, work = load(config_file), Work(engine or "", scheduler=scheduler)
        with progress("node-days") as tick, dask_refusals(scheduler):
            report = book.reconcile_period(config, period, int(time.time()), tick, work=work)
        click.echo(book.reconciled(report))


@main.command()
@click.argument("period")
@_ConfigOption
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the files.")
def statement(period: str, config_file: Path, out: Path) -> None:
    """Write the chargeback of a month: chargeback-PERIOD.csv, its summary and its notes."""
    with refusals():
        for path in book.write_statement(load(config_file), period, out):
            click.echo(path)


@main.command()
@click.argument("line_id")
@_ConfigOption
@click.option("--period", help="The month of the line; default: look in every month.")
def explain(line_id: str, config_file: Path, period: str | None) -> None:
    """Print the evidence behind a line: postings, node-days, claims, and the raw records as read."""
    with refusals():
        click.echo(book.explain(load(config_file), line_id, period, escape=sys.stdout.isatty()), nl=False)


@main.command()
@_ConfigOption
def check(config_file: Path) -> None:
    """Prove the ledger's invariants, and name every breach. Exits 1 when there is one."""
    with refusals():
        config = load(config_file)
        breaches = book.check(config, int(time.time()))
        breaches += months.recheck(config)
    for breach in breaches:
        click.echo(str(breach))
    if breaches:
        raise Refused(f"{len(breaches)} invariants do not hold", EXIT_BREACH)
    click.echo("every invariant holds")


@main.command()
@_ConfigOption
@click.option("--limit", default=100, show_default=True, help="How many to print, newest first.")
def rejects(config_file: Path, limit: int) -> None:
    """List the records that were set aside, each with its reason."""
    with refusals():
        table = Table("seen", "source", "reason", "record", title="rejects")
        for row in book.rejects(load(config_file), limit):
            table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200).print(table)


@main.group()
def export() -> None:
    """Write the books in other programs' forms."""


@export.command("beancount")
@click.argument("period")
@_ConfigOption
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the file.")
def export_beancount(period: str, config_file: Path, out: Path) -> None:
    """Write a month's transactions as PERIOD.beancount, with our balances as assertions: bean-check proves them."""
    with refusals():
        path = out / f"{period}.beancount"
        book.export_beancount(load(config_file), period, path)
        click.echo(path)


@main.command()
@_ConfigOption
def serve(config_file: Path) -> None:
    """Run the accounting service: ingest and reconcile on a clock, an HTTP API, and its own /metrics."""
    with refusals():
        config = load(config_file)
        service = office.service(config)
        service.start()
        log.info("serving %s", service.url)
        wait_for_signal()
        service.stop()


@main.command()
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
    from demo import run  # noqa: PLC0415 - the recorded site is loaded only when it is shown

    with refusals():
        run.run(out, serve=serve_pages, console=Console(width=None if sys.stdout.isatty() else 120))


for command in (*COMMANDS, rdma):
    main.add_command(command)
main.add_command(dashboards)
main.add_command(node)
main.add_command(merge)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
