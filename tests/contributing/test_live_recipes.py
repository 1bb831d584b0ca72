"""CONTRIBUTING's recipes about what is true now, followed on a copy of the repository: a source, a metric."""

from __future__ import annotations

from tests.contributing.tree import Tree

SOURCE = '''"""The machine's load: a source for the test of a recipe."""

from __future__ import annotations

from pathlib import Path

from exporters.model import Scheduler, Snapshot
from exporters.sources.base import Source, SourceError


def load_of(text: str) -> float:
    """The load of the last minute out of ``/proc/loadavg``.

    >>> load_of("0.25 0.10 0.05 1/100 4711")
    0.25
    """
    return float(text.split()[0])


class Load(Source):
    """One machine's load, told as a problem: a snapshot has no place for it."""

    name, cluster = "load", ""

    def __init__(self, file: Path, interval: float) -> None:
        self._file, self.interval = file, interval
        self.scheduler: Scheduler | None = None

    def poll(self, now: float) -> Snapshot:
        """Read the file. Raises `SourceError` when it is not there."""
        try:
            text = self._file.read_text()
        except OSError as e:
            raise SourceError(f"{self._file} cannot be read: {e.strerror}") from e
        return Snapshot(at=now, problems=(f"load {load_of(text)}",))
'''
SECTION = '''class Load(Section):
    """The machine's load."""

    file: Path
    interval: Duration = 15.0


'''
WIRING = '''

def load(config: Config, _clock: Callable[[], float]) -> list[Source]:
    """The machine's load, where the settings ask for it."""
    return [Load(config.load.file, config.load.interval)] if config.load else []


def describe_load(config: Config) -> list[str]:
    """Which file it is read from."""
    return [f"load: {config.load.file}"] if config.load else []
'''
PAGE = """
## The machine's load: `load`

| key | default | meaning |
|---|---|---|
| `load.file` | required | where the kernel tells it |
| `load.interval` | `15s` | how often it is read |
"""
HELD_BY = (
    "tests/test_rooms.py",
    "tests/exporters/sources/test_registered.py",
    "tests/test_docs.py::test_every_setting_is_documented",
    "tests/test_docs.py::test_every_documented_setting_is_there",
)


def test_add_a_source(tree: Tree) -> None:
    tree.write("exporters/sources/devices/load.py", SOURCE)
    tree.insert("exporters/config/whole.py", SECTION, before="class Config(")
    tree.insert("exporters/config/whole.py", "    load: Load | None = None\n", before="    machines: MachineRules")
    tree.insert("exporters/config/whole.py", "from pathlib import Path\n", before="from zoneinfo import")

    forgotten = tree.failing(*HELD_BY)
    tree.insert("exporters/wiring/devices.py", WIRING)
    tree.insert(
        "exporters/wiring/devices.py",
        "from exporters.sources.devices.load import Load\n",
        before="from exporters.sources.kubernetes",
    )
    tree.insert(
        "exporters/wiring/registered.py",
        '    Registered("load", devices.load, devices.describe_load),\n',
        after='    Registered("rdma", fabric.live, fabric.describe),\n',
    )
    tree.insert("docs/configure.md", PAGE)
    examples = "tests/exporters/sources/test_registered.py"
    tree.insert(examples, "load: {file: /proc/loadavg}\n", before='"""\n\n\ndef sections')
    tree.replace(examples, '"rdma": 1', '"rdma": 1, "load": 1')
    settings = tree.root / "meterbridge.yaml"
    settings.write_text("load: {file: /proc/loadavg}\n")
    told = tree.meterbridge("exporter", "--config", str(settings), "--check")
    once = tree.meterbridge("exporter", "--config", str(settings), "--once")
    settings.write_text("load: {file: /no/such/file}\n")
    away = tree.meterbridge("exporter", "--config", str(settings), "--once")

    assert {
        "test_a_section_of_the_settings_is_built_or_is_about_no_source",
        "test_every_kind_of_source_is_built_by_some_settings",
        "test_every_setting_is_documented",
    } == forgotten
    assert "load: /proc/loadavg" in told.stdout
    assert 'meterbridge_source_success{cluster="",source="load"} 1.0' in once.stdout
    assert 'meterbridge_source_polls_total{cluster="",source="load"} 1.0' in once.stdout
    assert (3, True) == (away.returncode, "/no/such/file cannot be read: No such file" in away.stderr)
    assert set() == tree.failing(*HELD_BY, "tests/test_docs.py::test_examples_in_docstrings_are_true")


ROW = """    SeriesRow(
        "meterbridge_fleet_idle_gpus",
        "gauge",
        "",
        "Cards that nobody asked for.",
        ("gpu_model",),
        v.fleet_idle,
    ),
"""
FINDS = '''

def fleet_idle(view: View) -> Iterable[Row]:
    """Cards that nobody asked for, by model."""
    return [((model,), cards) for (model, word), cards in fleet(view) if word == "idle"]
'''


SUM = """- record: meterbridge_shards:fleet_idle_gpus:sum
  expr: sum by (gpu_model) (meterbridge_fleet_idle_gpus)
"""
TABLES = (
    "tests/exporters/test_series.py",
    "tests/test_docs.py::test_a_page_made_from_the_code_is_what_the_code_makes[metrics.md]",
    "tests/alerts/test_shard_rules.py::test_every_family_that_shards_divide_has_its_sum",
)


def test_add_a_metric(tree: Tree) -> None:
    forbidden = ROW.replace('("gpu_model",)', '("gpu_model", "instance")')
    tree.insert("exporters/series/fleet_families.py", forbidden, after="ROWS: tuple[SeriesRow, ...] = (\n")
    tree.insert("exporters/series/view.py", FINDS)

    forgotten = tree.failing(*TABLES)
    tree.replace("exporters/series/fleet_families.py", forbidden, ROW)
    tree.insert("alerts/groups/shards.yaml", SUM)
    tree.make("docs")
    settings = tree.root / "meterbridge.yaml"
    settings.write_text("dcgm: {targets: ['http://127.0.0.1:9/metrics']}\n")  # nobody answers there
    page = tree.meterbridge("exporter", "--config", str(settings), "--once").stdout

    assert {
        "test_a_family_is_named_as_prometheus_names_things",
        "test_the_page_of_documentation_is_the_table",
        "test_a_page_made_from_the_code_is_what_the_code_makes",
        "test_every_family_that_shards_divide_has_its_sum",
    } == forgotten
    assert "# HELP meterbridge_fleet_idle_gpus Cards that nobody asked for.\n" in page
    line = "| `meterbridge_fleet_idle_gpus` | gauge | `gpu_model` | Cards that nobody asked for. | experimental |"
    assert line in tree.text("docs/metrics.md")
    tree.make("alerts")
    assert "meterbridge_shards:fleet_idle_gpus:sum" in tree.text("alerts/rules/shards.yaml")
    assert set() == tree.failing(*TABLES)
