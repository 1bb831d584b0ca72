"""What is shipped is listed, with its licence, and looked up among known vulnerabilities."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def script(name: str) -> types.ModuleType:
    """A script of packaging/, which is no package: the name is that of a library."""
    spec = importlib.util.spec_from_file_location(f"meterbridge_{name}", ROOT / "packaging" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


licences, audit = script("licences"), script("audit")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([{"license": {"id": "MIT"}}], "MIT"),
        ([{"expression": "Apache-2.0 OR BSD-2-Clause"}], "Apache-2.0 OR BSD-2-Clause"),
        (
            [{"license": {"name": "License :: OSI Approved :: BSD License"}}, {"license": {"id": "MIT"}}],
            "BSD License, MIT",
        ),
        ([{"license": {"name": "declared license file: LICENSE", "text": {"content": "BSD\nAll rights"}}}], ""),
        ([{"license": {"name": "declared license of 'partd'", "text": {"content": "BSD"}}}], "BSD"),
        ([], ""),
    ],
)
def test_a_licence_is_what_the_package_calls_it(given: list[dict[str, object]], expected: str) -> None:
    assert expected == licences.licence({"licenses": given})


def test_a_package_without_a_licence_and_an_empty_bill_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bill, out = tmp_path / "bill.json", tmp_path / "licences.tsv"
    bill.write_text(json.dumps({"components": [{"name": "Nameless", "version": "1"}]}))

    assert 1 == licences.main(bill, out)
    assert "no licence named by: nameless" in capsys.readouterr().err

    bill.write_text("{}")
    assert 1 == licences.main(bill, out)


def test_a_known_vulnerability_fails_the_audit_and_says_what_mends_it() -> None:
    report = {
        "dependencies": [
            {"name": "good", "version": "1", "vulns": []},
            {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]},
            {"name": "odd", "skip_reason": "not on the index"},
        ]
    }

    assert (
        1,
        [
            "bad 2: PYSEC-1, mended in 2.1",
            "odd: not looked at: not on the index",
            "2 packages looked up, 1 known vulnerabilities",
        ],
    ) == audit.verdict(report, "")


def test_a_database_that_cannot_be_reached_is_said_and_fails_nothing() -> None:
    code, (line,) = audit.verdict(None, "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed")

    assert (0, True) == (code, line.startswith("NOT AUDITED"))


def test_an_index_that_knows_none_of_the_packages_proves_nothing() -> None:
    report = {"dependencies": [{"name": "odd", "skip_reason": "not found on PyPI"}]}

    assert (0, ["NOT AUDITED: none of 1 packages could be looked up: not found on PyPI"]) == audit.verdict(report, "")


def test_an_audit_that_failed_otherwise_is_no_success() -> None:
    assert (2, ["the audit failed: ERROR: invalid requirements input"]) == audit.verdict(
        None, "ERROR: invalid requirements input"
    )


def test_pip_audit_says_of_an_unreachable_database_what_is_looked_for(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(f"click==8.1.0 --hash=sha256:{'0' * 64}\n")
    ran = subprocess.run(
        [sys.executable, str(ROOT / "packaging/audit.py"), str(lock)],
        env={"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (ran.returncode, ran.stderr)
    assert "NOT AUDITED" in ran.stdout


@pytest.mark.slow
def test_the_bill_lists_what_the_runtime_lock_pins_and_each_has_a_licence(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["make", "-s", "sbom", f"SBOM={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert 0 == ran.returncode, ran.stderr

    bill = json.loads((tmp_path / "sbom.cdx.json").read_text())
    rows = (tmp_path / "licences.tsv").read_text().splitlines()[1:]
    listed = {f"{c['name'].lower()}=={c['version']}" for c in bill["components"]}
    pinned = set(re.findall(r"^([a-z0-9._-]+==[^ ]+)", (ROOT / "requirements-runtime.lock").read_text(), re.MULTILINE))

    assert ("CycloneDX", "meterbridge") == (bill["bomFormat"], bill["metadata"]["component"]["name"])
    assert {name.replace("_", "-") for name in listed} <= {name.replace("_", "-") for name in pinned}
    assert "sqlalchemy" in {name.split("==")[0] for name in listed}
    assert len(listed) == len(rows) > 40
