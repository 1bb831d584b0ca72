"""What `make` does on a bare machine: the parts that can be tried without one."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.lab import install, servers

ROOT = Path(__file__).parent.parent


class Machine:
    """A machine that has ``programs``, and whose apt knows ``archive``."""

    def __init__(self, programs: set[str], archive: dict[str, set[str]]) -> None:
        self.programs, self.archive = programs, archive
        self.asked: list[list[str]] = []

    def install(self, packages: list[str]) -> bool:
        self.asked.append(packages)
        for package in packages:
            self.programs |= self.archive.get(package, set())
        return all(package in self.archive for package in packages)

    def lacking(self, name: str) -> list[str]:
        return [p for p in servers.SERVERS[name].programs if p not in self.programs]


def test_what_is_there_is_not_installed_again() -> None:
    machine = Machine({"prometheus", "promtool"}, {})

    assert [] == install.provide(["prometheus"], machine.install, machine.lacking)
    assert [] == machine.asked


def test_a_program_that_moved_to_a_package_of_its_own_is_found() -> None:
    machine = Machine(set(), {"prometheus": {"prometheus"}, "promtool": {"promtool"}})

    assert [] == install.provide(["prometheus"], machine.install, machine.lacking)
    assert [["prometheus"], ["promtool"]] == machine.asked


def test_a_server_that_cannot_be_had_is_named_and_the_others_are_installed() -> None:
    machine = Machine(set(), {"chromium": {"chromium"}})

    (problem,) = install.provide(["alertmanager", "chromium"], machine.install, machine.lacking)

    assert (
        "alertmanager cannot be had here: no prometheus-alertmanager, amtool. "
        "Get it: apt-get install prometheus-alertmanager. "
        "Or run without it: METERBRIDGE_TEST_WITHOUT=alertmanager make test"
    ) == problem
    assert {"chromium"} == machine.programs


def test_what_only_a_newer_debian_has_is_fetched_from_there_and_else_named() -> None:
    machine = Machine(set(), {})
    asked: list[tuple[str, str]] = []

    def fetch(package: str, suite: str) -> bool:
        asked.append((package, suite))
        return False

    (problem,) = install.provide(["node_exporter"], machine.install, machine.lacking, fetch)

    assert ([("prometheus-node-exporter", "forky")], []) == (asked, machine.asked)
    assert "Get it: python -m tests.lab.newer prometheus-node-exporter/forky. Or run without it:" in problem


def test_a_name_that_is_no_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERBRIDGE_TEST_WITHOUT", "slurm,slrum")

    with pytest.raises(ValueError, match="names slrum; known: slurm, mariadb"):
        servers.without()


def test_an_interpreter_that_does_not_suit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    ran = subprocess.run(
        [ROOT / "tests/lab/venv.sh", tmp_path / "venv"],
        env=os.environ | {"METERBRIDGE_PYTHON": str(old)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ran.returncode
    assert "no Python 3.11, 3.12 or 3.13 here" in ran.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-runtime.lock"])
def test_a_lock_means_the_same_on_every_python_we_run_on(lock: str) -> None:
    """A package that only some of them need may be missing on others, and is never there in another version."""
    pinned = re.findall(r"^[a-z][^\\\n]*", (ROOT / lock).read_text(), re.MULTILINE)
    found: dict[str, set[str]] = {}
    for python in ("3.11", "3.12", "3.13"):
        here = {"python_version": python, "python_full_version": f"{python}.0"}
        for requirement in map(Requirement, pinned):
            if requirement.marker is None or requirement.marker.evaluate(here):
                found.setdefault(requirement.name, set()).add(str(requirement.specifier))

    assert {"numpy", "sqlalchemy"} < set(found)
    assert {} == {name: versions for name, versions in found.items() if len(versions) > 1}


def packaged() -> tuple[list[str], list[Path]]:
    """What goes into the wheel besides Python: patterns, and the files of the packages."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = [Path(p.removesuffix("*")) for p in settings["packages"]["find"]["include"]]
    files = [path for name in packages for path in (ROOT / name).rglob("*") if path.is_file()]
    return settings["package-data"]["*"], [path for path in files if "__pycache__" not in path.parts]


def test_every_file_beside_the_code_is_in_the_wheel() -> None:
    patterns, files = packaged()

    left_out = [p for p in files if p.suffix != ".py" and not any(fnmatch(p.name, pattern) for pattern in patterns)]
    assert [] == left_out


def test_every_folder_of_code_is_a_package() -> None:
    _, files = packaged()

    folders = {path.parent for path in files if path.suffix == ".py"}
    assert [] == sorted(folder for folder in folders if not (folder / "__init__.py").exists())


def test_continuous_integration_looks_for_vulnerabilities_and_runs_all_tests_and_the_matrix() -> None:
    script = ROOT / ".ci/run"

    assert script.stat().st_mode & stat.S_IXUSR
    assert "set -euo pipefail" in script.read_text()
    assert 'for target in audit test test-matrix; do\n    begun=$SECONDS\n    make "$target"\n' in script.read_text()
