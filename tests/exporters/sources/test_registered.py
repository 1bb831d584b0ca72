"""Sources are registered in one place, and what the collector asks of one is what `Source` says."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from typing import get_args

import exporters.sources
from exporters import build
from exporters.config import Config, Section, parse
from exporters.join.projects import ProjectMap
from exporters.join.shard import Shard
from exporters.model import Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from exporters.sources.base import Source
from exporters.wiring.registered import SOURCES

NO_SOURCES = {"machines", "devices", "projects", "ledger", "rates", "statements", "web", "service"}
"""The sections of the settings that are about something else. One about a source has no place here."""

EVERY_SOURCE = """
slurm:
  - {cluster: commands}
  - {cluster: rest, live: {via: slurmrestd}, slurmrestd: {url: "http://127.0.0.1:6820"}}
  - {cluster: library, live: {via: pyslurm}}
kubernetes: [{cluster: prod, kubeconfig: /etc/none}]
dcgm: {targets: ["http://gn01:9400/metrics"]}
rdma: {node_exporters: {targets: ["http://gn01:9100/metrics"]}}
"""


def sections() -> Iterator[str]:
    """The keys of the settings that hold sections."""
    for name, field in Config.model_fields.items():
        parts = [field.annotation, *get_args(field.annotation)]
        kinds = [p for p in parts if isinstance(p, type) and not isinstance(p, types.GenericAlias)]
        if any(issubclass(kind, Section) for kind in kinds):
            yield name


def kinds_of_sources() -> set[type]:
    """Every class below exporters/sources/ that can be a source."""
    modules = [
        importlib.import_module(m.name) for m in pkgutil.walk_packages(exporters.sources.__path__, "exporters.sources.")
    ]
    classes = {c for module in modules for c in vars(module).values() if inspect.isclass(c) and issubclass(c, Source)}
    return {c for c in classes if c is not Source and not inspect.isabstract(c)}


def test_a_section_of_the_settings_is_built_or_is_about_no_source() -> None:
    registered = [r.section for r in SOURCES]

    assert {*registered, *NO_SOURCES} == set(sections())
    assert sorted(set(registered)) == sorted(registered)
    assert set() == NO_SOURCES & set(registered)


def test_every_kind_of_source_is_built_by_some_settings() -> None:
    built = build.sources(parse(EVERY_SOURCE))
    for source in built:
        source.close()

    assert kinds_of_sources() == {type(source) for source in built}


def test_a_section_builds_its_own_sources_and_tells_of_them_and_is_silent_where_it_is_absent() -> None:
    given, absent = parse(EVERY_SOURCE), parse("")
    built = {r.section: r.live(given, lambda: 0.0) for r in SOURCES}
    for source in (source for some in built.values() for source in some):
        source.close()

    assert {"slurm": 3, "kubernetes": 1, "dcgm": 1, "rdma": 1} == {name: len(some) for name, some in built.items()}
    assert {"slurm": 3, "kubernetes": 1, "dcgm": 1, "rdma": 1} == {r.section: len(r.describe(given)) for r in SOURCES}
    assert [] == [x for r in SOURCES for x in (*r.live(absent, lambda: 0.0), *r.describe(absent))]


class Smallest(Source):
    """As much as a source must write: a stand-in that reads nothing."""

    name, cluster, scheduler, interval = "smallest", "", None, 15.0

    def poll(self, now: float) -> Snapshot:
        return Snapshot(at=now)


class Keep:
    """A recorder that keeps what it is given."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []

    def record(self, round_: Round) -> None:
        self.rounds.append(round_)

    def close(self) -> None:
        """Nothing is open."""


def test_the_smallest_source_can_be_all_that_the_registry_asks() -> None:
    kept = Keep()
    collector = Collector([Smallest()], JoinSettings(ProjectMap(()), shard=Shard(0, 2)), kept, lambda: 100.0)
    collector.poll_all()
    collector.join()
    collector.stop()

    assert collector.ready()
    assert [["smallest"]] == [[reading.source for reading in r.readings] for r in kept.rounds]
    assert [] == collector.targets()
