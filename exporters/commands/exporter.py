"""``meterbridge exporter``: what is true now, for Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporters.commands.options import config_option
from exporters.commands.running import Part, serve_until_told
from exporters.errors import EXIT_USAGE, OperatorError

if TYPE_CHECKING:
    from exporters.config import Config
    from exporters.join.shard import Shard
    from exporters.poll.registry import Collector
    from exporters.recorder import Recorder

    MakeRecorder = Callable[[Config, Shard], Recorder]
    """The upper floor's recorder, by the settings and the part of the fleet: the front door hands it in."""


def _shard(_context: click.Context, _option: click.Parameter, text: str) -> Shard:
    from exporters.join.shard import Shard, ShardError

    try:
        return Shard.parse(text)
    except ShardError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Poll every source once, print the exposition and exit.")
@click.option("--check", "check_only", is_flag=True, help="Check the settings, say what they mean, and exit.")
@click.option("--web.listen-address", "listen", help="Listen here instead of web.listen (HOST:PORT).")
@click.option(
    "--shard", default="0/1", metavar="INDEX/COUNT", callback=_shard, help="Join this part of the machines only."
)
@click.pass_obj
def exporter(
    make_recorder: MakeRecorder, config_file: Path, once: bool, check_only: bool, listen: str | None, shard: Shard
) -> None:
    """Serve per-job and per-project series to Prometheus.

    With `ledger` configured it also records what only the live side can know: pods, and which card each job holds.
    Several exporters share a fleet by --shard 0/4 to 3/4; `merge` serves their sum.
    """
    from exporters import build
    from exporters.config import load
    from exporters.poll.steady import SteadyClock

    config = load(config_file)
    if check_only:
        click.echo(build.describe(config))
        return

    def parts() -> tuple[Part, Part]:
        now = load(config_file)
        return _parts(now, _collector(now), listen or now.web.listen)

    def _collector(now: Config) -> Collector:
        recorder = make_recorder(now, shard) if now.ledger else None
        return build.collector(now, recorder, SteadyClock(), shard)

    if once:
        if not build.sources(config):
            told = f"{config_file} names nothing to read: add slurm, kubernetes, dcgm or rdma (docs/configure.md)"
            raise OperatorError(told, EXIT_USAGE)
        print_once(_collector(config))
    else:
        serve_until_told(lambda: _check(load(config_file), shard), parts)


def print_once(collector: Collector) -> None:
    """Print one round's page. Raises `SourceError` that names every source that was not read, after the page."""
    from exporters.sources.base import SourceError

    collector.poll_all()
    collector.join()
    page = collector.page()
    sys.stdout.buffer.write(page.body() if page else b"")
    collector.stop()
    failed = [s for s in collector.statuses() if not s.success]
    if failed:
        raise SourceError("; ".join(f"{s.name} {s.cluster}: {s.error}" for s in failed))


def _parts(config: Config, collector: Collector, listen: str) -> tuple[Part, Part]:
    from exporters.http.server import Server, create_app
    from exporters.poll import memory

    server = Server(
        create_app(collector.page, collector.ready, collector.statuses, targets=collector.targets),
        listen,
        config.web.config_file,
    )
    memory.settle()
    return collector, server


def _check(config: Config, shard: Shard) -> None:
    """Raise `OperatorError` where these settings cannot be served; the ledger is left alone."""
    from exporters import build
    from exporters.http.web_guard import WebGuard
    from exporters.poll.steady import SteadyClock

    WebGuard(config.web.config_file)
    build.collector(config, None, SteadyClock(), shard).stop()
