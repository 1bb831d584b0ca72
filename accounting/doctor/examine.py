"""The whole look at a site: each part by itself, so that what fails in one hides nothing of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from accounting.doctor.books import books, ledger_error
from accounting.doctor.finding import Finding, look, well, wrong
from accounting.doctor.joined import joined
from accounting.doctor.monitoring import grafana, prometheus
from accounting.doctor.slurm_settings import slurm_settings
from accounting.doctor.sources import sources
from accounting.site import book
from accounting.store.database import LedgerError
from exporters import build
from exporters.config import Config
from exporters.poll.registry import Collector


def examine(
    config: Config, *, prometheus_url: str = "", prometheus_token: Path | None = None, grafana_url: str = "",
    grafana_token: str = "",
) -> list[Finding]:  # fmt: skip
    """Look at everything that the settings name, once. Reads only; takes as long as a round of the exporter."""
    found = [well("settings", f"site {config.site}, billing months in {config.time_zone}")]
    found += _listeners(config)
    found += _live(config)
    for cluster in config.slurm:
        found += slurm_settings(cluster)
    found += _ledger(config)
    asked = prometheus_url or next((k.history.prometheus for k in config.kubernetes if k.history), "")
    found += prometheus(asked, prometheus_token)
    found += grafana(grafana_url, grafana_token)
    return found


def _live(config: Config) -> list[Finding]:
    collector = Collector(build.sources(config), build.join_settings(config))
    try:
        collector.poll_all()
        view = collector.join()
    finally:
        collector.stop()
    return [
        *sources(view.sources, collector.targets()),
        *(joined(view, collector.nodes(), config.dcgm is not None) if view.sources else ()),
    ]


def _listeners(config: Config) -> Iterator[Finding]:
    for name, listen, file in (
        ("web", config.web.listen, config.web.config_file),
        ("service", config.service.listen, config.service.config_file),
    ):
        host = listen.rpartition(":")[0]
        if file is None and host not in {"127.0.0.1", "localhost", "[::1]"}:
            yield look(
                f"{name}.listen",
                f"{listen} is open to whoever reaches it, without TLS or a password",
                "job names, users and projects are on its page",
                f"{name}: {{config_file: /etc/meterbridge/web.yml}} (docs/install.md)",
            )


def _ledger(config: Config) -> list[Finding]:
    if config.ledger is None:
        return [
            look(
                "ledger",
                "none is configured",
                "there is no history and no statement: series only",
                "ledger: {url: sqlite:////var/lib/meterbridge/ledger.db}",
            )
        ]
    try:
        engine = book.ledger(config)
        try:
            return list(books(config, engine, int(time.time())))
        finally:
            engine.dispose()
    except LedgerError as error:
        return [ledger_error(error)]
    except DBAPIError as error:
        return [wrong("ledger", f"it failed: {error.orig}", "nothing can be kept or read", "is the database up?")]
