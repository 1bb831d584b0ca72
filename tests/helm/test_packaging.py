"""What a site without the chart installs: an image from a Containerfile, systemd units, and the locks behind them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from configparser import RawConfigParser
from pathlib import Path

import click
import pytest

from meterbridge import main

UNITS = sorted(Path("packaging/systemd").glob("*.service"))
UNIT_TEXTS = {file.stem: file.read_text() for file in UNITS}
INSTALL = Path("docs/install.md").read_text()
CONTAINERFILE = Path("Containerfile").read_text()


def pinned(lock: str) -> dict[str, str]:
    """Each package of a lock with its version."""
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", Path(lock).read_text(), re.MULTILINE))


def unit(file: Path) -> RawConfigParser:
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(file.read_text())
    return parser


def test_the_image_holds_every_package_of_the_project() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    packages = {p.rstrip("*") for p in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = set(re.findall(r"^COPY (\w+) \1$", CONTAINERFILE, re.MULTILINE))

    assert packages == copied
    for name in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        assert all(Path(f).exists() for f in name.split()), name


def test_the_image_runs_as_a_numbered_user_and_by_hash_only() -> None:
    assert re.search(r"^USER 65532:65532$", CONTAINERFILE, re.MULTILINE)
    assert {"requirements.lock", "requirements-runtime.lock"} == set(
        re.findall(r"--require-hashes --requirement (\S+)", CONTAINERFILE)
    )


def test_the_image_has_the_versions_that_are_tested_and_no_tools_of_development() -> None:
    tested, runtime = pinned("requirements.lock"), pinned("requirements-runtime.lock")

    assert set() == runtime.items() - tested.items()
    assert {"aiohttp", "sqlalchemy", "kubernetes", "pandas", "psycopg", "dask"} <= set(runtime)
    assert set() == {"pytest", "mypy", "ruff", "hypothesis", "duckdb", "helm-python-sdk"} & set(runtime)


@pytest.mark.parametrize("file", UNITS, ids=lambda f: f.stem)
def test_a_unit_starts_a_command_that_there_is(file: Path) -> None:
    words = [word for word in shlex.split(unit(file)["Service"]["ExecStart"]) if word != "$OPTIONS"]  # empty at first
    command = main.commands[words[1]]
    context = click.Context(main, **main.context_settings)  # as click makes it: a command remembers its first one
    command.make_context(words[1], words[2:], parent=context, resilient_parsing=False)

    assert "/opt/meterbridge/.venv/bin/meterbridge" == words[0]


@pytest.mark.parametrize("file", UNITS, ids=lambda f: f.stem)
def test_a_unit_always_comes_back_reloads_and_has_descriptors(file: Path) -> None:
    service = unit(file)["Service"]

    assert ("always", "/bin/kill -HUP $MAINPID") == (service["Restart"], service["ExecReload"])
    assert int(service["LimitNOFILE"]) >= 1024


def test_what_a_unit_listens_on_is_loopback_and_the_way_to_open_it_asks_for_a_password() -> None:
    (written,) = re.findall(r"^echo 'OPTIONS=(.+)' >/etc/default/meterbridge-node$", INSTALL, re.MULTILINE)
    node = main.commands["node"]
    context = node.make_context("node", shlex.split(written), parent=click.Context(main, **main.context_settings))

    assert "/etc/default/meterbridge-node" in UNIT_TEXTS["meterbridge-node"]
    assert context.params["config_file"] is not None
    assert "127.0.0.1:9812" == next(p.default for p in node.params if p.name == "listen")
    assert not any("0.0.0.0" in text for text in UNIT_TEXTS.values())


@pytest.mark.parametrize("file", UNITS, ids=lambda f: f.stem)
def test_a_unit_has_no_capability_and_may_write_nothing_but_its_state(file: Path) -> None:
    service = unit(file)["Service"]

    assert ("", "strict", "yes") == (
        service["CapabilityBoundingSet"],
        service["ProtectSystem"],
        service["NoNewPrivileges"],
    )


@pytest.mark.parametrize("file", UNITS, ids=lambda f: f.stem)
def test_systemd_itself_knows_every_setting(file: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:  # a container image without systemd: the other tests have read the unit
        return
    said = subprocess.run(
        [analyze, "verify", str(file)], capture_output=True, text=True, check=False, timeout=60
    ).stderr

    assert [] == [line for line in said.splitlines() if file.name in line and "not executable" not in line]
