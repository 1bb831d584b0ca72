"""A real Prometheus that has scraped the demo site all through its month.

The demo's month passes in seconds, so nothing can scrape it while it does: every page that a scrape would have got is
kept with its time, and promtool makes blocks of them. The accounting service is started on the demo's ledger, and its
pages are the last scrapes of the month. Site time runs in steps of hours, so this Prometheus looks back for hours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import httpx2

from accounting.service import site_service
from accounting.site import book
from demo.site import EVERY, DemoSite
from exporters import build
from exporters.config import parse
from tests.lab.daemons import wait_for
from tests.lab.demo_hosts import host_pages
from tests.lab.grafana import Span
from tests.lab.prometheus import Prometheus, promtool

TOKEN = "d" * 40
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)$")


@contextmanager
def scraped_demo(root: Path, every: int = EVERY) -> Iterator[tuple[Prometheus, Span]]:
    """The Prometheus, and the time it has seen: the month, and the day after it. ``root`` takes everything;
    ``every`` is `demo.site.DemoSite`'s."""
    text = root / "month.om"
    with text.open("w", encoding="utf-8") as file:
        span = _month(root, file, every)
        file.write("# EOF\n")
    data = root / "data"
    done = promtool(
        "tsdb", "create-blocks-from", "openmetrics", "-q", "--max-block-duration=1000h", str(text), str(data)
    )
    if done.returncode != 0:
        raise RuntimeError(f"promtool: {done.stdout}{done.stderr}")
    options = (f"--query.lookback-delta={span.scrape * 1.5:.0f}s", "--storage.tsdb.retention.time=20y")
    with Prometheus(root, options=options) as prometheus:
        yield prometheus, span


def _month(root: Path, file: TextIO, every: int) -> Span:
    """Write what every scrape of the month would have got."""
    with DemoSite(root / "site", every) as site:
        (root / "tokens.yaml").write_text(
            f"tokens: [{{name: prometheus, role: admin, sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}}}]\n"
        )
        settings = site.config_text() + f"service: {{listen: '127.0.0.1:0', tokens_file: {root / 'tokens.yaml'}}}\n"
        config = parse(settings, "demo")
        collector = build.collector(config, book.recorder(config), site.clock)
        scrape = config.join_interval
        try:
            moments = list(site.moments())
            for moment in moments:
                site.advance(moment)
                site.kubernetes.settle()
                collector.poll_all()
                collector.join()
                page = collector.page()
                if page:
                    text = page.body().decode()
                    _write(file, text, "meterbridge", moment)
                    for job, instance, hosts in host_pages(text, moment):
                        _write(file, hosts, job, moment, instance)
            end = site.now
            for cluster in config.slurm:
                book.ingest(config, cluster, int(site.now))
            book.reconcile_period(config, site.period, int(site.now))
        finally:
            collector.stop()
        service = site_service.service(config, site.clock)
        service.start()
        try:
            for back in (2 * scrape, scrape, 0.0):
                for page_ in _service_pages(service.url):
                    _write(file, page_, "meterbridge-accounting", int(end - back))
        finally:
            service.stop()
    return Span(site.start_of_month, end, scrape)


def _service_pages(url: str) -> list[str]:
    """Both pages of the accounting service, once its tasks have run."""

    def get(path: str) -> str:
        return httpx2.get(url + path, headers={"Authorization": f"Bearer {TOKEN}"}).text

    def ready() -> bool:
        page = get("/metrics")
        checked = re.search(r"^meterbridge_ledger_checked_timestamp_seconds \d", page, re.MULTILINE)
        return checked is not None and "meterbridge_ledger_period_info{" in page

    wait_for(ready, 120, "the accounting service's tasks")
    return [get("/metrics"), get("/api/v1/metrics")]


def _write(file: TextIO, page: str, job: str, at: int, instance: str = "") -> None:
    """A page as OpenMetrics samples with a time, and with the labels that Prometheus gives a target."""
    target = f'instance="{instance or f"{job}.example:9810"}",job="{job}"'
    for line in page.splitlines():
        found = _SAMPLE.match(line)
        if found:
            name, labels, value = found.groups()
            inside = f"{labels[1:-1]},{target}" if labels and labels != "{}" else target
            file.write(f"{name}{{{inside}}} {value} {at}\n")
