"""The demo: a recorded month passes in front of the production code, and becomes series and a chargeback.

Nothing here meters anything. It moves the site's time, lets a collector read and join as an exporter would, hands the
rounds to the ledger as an exporter would, and then asks the accounting side for what an operator would ask it for.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from accounting.site import book, proof
from accounting.site.statement_pages import every_file
from accounting.statements.usage import reasons
from accounting.store.calendar import period_named
from accounting.store.columns import columns
from accounting.store.database import read
from demo import report
from demo.pages import page_server
from demo.report import Month
from demo.site import EVERY, MACHINES, DemoSite
from exporters import build
from exporters.config import Config, parse
from exporters.http.server import ListenError, Server, create_app
from exporters.poll.registry import Collector

STEP_S = 5.0
"""Seconds between two rounds once the month is over and the pages stay up."""

log = logging.getLogger(__name__)


def run(out: Path, *, serve: bool, console: Console, every: int = EVERY, stop: threading.Event | None = None) -> Month:
    """Show the whole demo. Writes into ``out`` (made if missing) and returns the month.

    With ``serve`` /metrics stays up, and site time runs on, until ``stop`` (default: SIGTERM or SIGINT). Raises what
    production raises, and RuntimeError when the ledger does not hold its own invariants. ``every`` is
    `demo.site.DemoSite`'s.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    folder = out / "site"
    shutil.rmtree(folder, ignore_errors=True)  # an older demo's ledger would already know the whole month
    with _log_to(out / "meterbridge.log"), DemoSite(folder, every) as site:
        settings = out / "meterbridge.yaml"
        settings.write_text(site.config_text(), encoding="utf-8")
        config = parse(site.config_text(), str(settings))
        report.introduce(console, site, len(MACHINES))
        collector = build.collector(config, book.recorder(config), site.clock)
        server = _listen(collector, site, config, out) if serve else None
        try:
            if server:
                console.print(f"Open {server.url} while it runs: what is true now, at the site's time.")
            began = time.monotonic()
            _live_through(site, collector, console)
            month = _account(site, config, out, console)
            page = collector.page()
            (out / "metrics.txt").write_bytes(page.body() if page else b"")
            took = time.monotonic() - began
            if server is None:
                report.conclude(console, month, out, settings, took, [])
                return month
            pages = page_server(out, [out / f"{site.period}.html", *sorted((out / site.period).glob("*.html"))])
            pages.start()
            try:
                report.conclude(console, month, out, settings, took, [server.url, pages.url])
                with _until_told(stop) as told:
                    _go_on(site, collector, told)
            finally:
                pages.stop()
        finally:
            if server:
                server.stop()
            collector.stop()
    return month


def _live_through(site: DemoSite, collector: Collector, console: Console) -> None:
    """The month: advance, read, join, record, round by round."""
    moments = list(site.moments())
    with _progress(console, len(moments)) as tick:
        for moment in moments:
            site.advance(moment)
            site.kubernetes.settle()
            collector.poll_all()
            collector.join()
            tick(moment)


def _account(site: DemoSite, config: Config, out: Path, console: Console) -> Month:
    """History into the ledger, node-days into the books, the books into a statement, and the proof."""
    now = int(site.now)
    for cluster in config.slurm:
        console.print(report.sentence(book.ingested(book.ingest(config, cluster, now))))
    console.print(report.sentence(book.reconciled(book.reconcile_period(config, site.period, now))))
    found = proof.check(config)
    if found.breaches or found.waits:
        raise RuntimeError("the demo's ledger does not hold: " + "; ".join([*map(str, found.breaches), found.waits]))
    console.print("Checked: every invariant of the ledger holds.")
    book.write_statement(config, site.period, out, every_file(config, out, html=True, parquet=False))
    with book.opened(config) as engine:
        period = period_named(site.period, book.zone(config))
        statement = book.statement(config, engine, period)
        with read(engine) as connection, columns(connection) as ledger:
            return Month(statement, report.exemplars(statement, reasons(ledger, period.start, period.end)))


def _listen(collector: Collector, site: DemoSite, config: Config, out: Path) -> Server:
    """The exporter's listener: where the settings say, or on a free port when that one is taken."""
    places = {str(out / name): what for name, what in report.files(site.period).items()}

    def on(listen: str) -> Server:
        app = create_app(collector.page, collector.ready, collector.statuses, site.clock, places, collector.targets)
        server = Server(app, listen)
        server.start()
        return server

    try:
        return on(config.web.listen)
    except ListenError as taken:
        log.warning("%s; taking a free port", taken)
        return on("127.0.0.1:0")


def _go_on(site: DemoSite, collector: Collector, stop: threading.Event) -> None:
    """Keep the pages up and let site time run on as real time does, until told to stop."""
    while not stop.wait(STEP_S):
        site.advance(site.now + STEP_S)
        collector.poll_all()
        collector.join()


@contextmanager
def _until_told(stop: threading.Event | None) -> Iterator[threading.Event]:
    """The event that ends the demo: the caller's, or one that SIGTERM and SIGINT set."""
    if stop is not None:
        yield stop
        return
    told = threading.Event()
    before = {n: signal.signal(n, lambda *_: told.set()) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(console: Console, rounds: int) -> Iterator[report.Tick]:
    """A bar on a terminal, a plain line every few days of the month otherwise; call it with each moment."""
    if not console.is_terminal:
        shown = ""

        def plain(moment: float) -> None:
            nonlocal shown
            day = datetime.fromtimestamp(moment, UTC)
            if day.day % 5 == 1 and f"{day:%B %d}" != shown:
                shown = f"{day:%B %d}"
                console.print(f"... {shown}")

        yield plain
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("the month passes", total=rounds)
        yield lambda moment: bar.update(task, advance=1, description=f"{datetime.fromtimestamp(moment, UTC):%B %d}")


@contextmanager
def _log_to(file: Path) -> Iterator[None]:
    """Send logs into a file: a source that fails is part of the show, and is told at the end."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        handler.close()
