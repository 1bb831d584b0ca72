"""The command as an operator meets it: settings that are wrong, systems that are away, and the exit codes."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meterbridge import VERBS, main
from tests.lab.modules import foreign, modules_of

GOOD = """
site: here
slurm:
  - cluster: lab
    live: {{squeue: {squeue}, scontrol: {squeue}}}
    history: {{sacct: {sacct}, since: 2026-11-01}}
ledger: {{url: "sqlite:///{folder}/ledger.db"}}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings of a site whose Slurm commands do not exist."""
    path = tmp_path / "meterbridge.yaml"
    away = tmp_path / "no-such-command"
    path.write_text(GOOD.format(folder=tmp_path, squeue=away, sacct=away))
    return path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_help_names_every_command_and_the_exit_codes() -> None:
    shown = run("--help").output

    for word in ("exporter", "ingest", "reconcile", "statement", "explain", "check", "serve", "demo", "rejects"):
        assert f"\n  {word} " in shown
    assert "Exit codes: 0 done; 1 an invariant" in shown


@pytest.mark.parametrize("words", [("--version",), ("--help",), *((verb, "--help") for verb in VERBS)], ids=" ".join)
def test_what_only_tells_loads_click_alone(words: tuple[str, ...]) -> None:
    assert {"click"} == foreign(modules_of(*words))


def test_a_verb_loads_no_other() -> None:
    loaded = {name for name in modules_of("merge", "--help") if ".commands." in name}

    assert {"exporters.commands.merge", "exporters.commands.running"} == loaded


def test_what_is_no_verb_is_refused_with_the_nearest() -> None:
    result = run("statment")

    assert 2 == result.exit_code
    assert "No such command 'statment'" in result.output
    assert "statement" in result.output


def test_the_version_is_the_package_s() -> None:
    assert f"meterbridge, version {metadata.version('meterbridge')}\n" == run("--version").output


def test_an_unknown_key_is_refused_with_the_nearest_valid_one(tmp_path: Path) -> None:
    path = tmp_path / "meterbridge.yaml"
    path.write_text("slurn: []\n")

    result = run("exporter", "--config", path, "--check")

    assert 2 == result.exit_code
    assert "slurn: unknown key; did you mean slurm?" in result.output


def test_a_missing_settings_file_is_one_sentence(tmp_path: Path) -> None:
    result = run("check", "--config", tmp_path / "absent.yaml")

    assert 2 == result.exit_code
    assert "cannot be read" in result.output
    assert "Traceback" not in result.output


def test_check_of_settings_says_what_they_mean_and_reads_nothing(settings: Path) -> None:
    result = run("exporter", "--config", settings, "--check")

    assert 0 == result.exit_code
    assert "Slurm lab: live and history" in result.output
    assert not (settings.parent / "ledger.db").exists()


def test_once_prints_the_page_also_when_a_source_is_away_and_says_which(settings: Path) -> None:
    result = run("exporter", "--config", settings, "--once")

    assert 3 == result.exit_code
    assert 'meterbridge_source_success{cluster="lab",source="slurmctld"} 0.0' in result.output
    assert "no-such-command" in result.output


def test_once_without_anything_to_read_is_refused_and_begins_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "meterbridge.yaml"
    path.write_text(f'ledger: {{url: "sqlite:///{tmp_path}/ledger.db"}}\n')

    result = run("exporter", "--config", path, "--once")

    assert 2 == result.exit_code
    assert "names nothing to read: add slurm, kubernetes, dcgm or rdma" in result.output
    assert ["meterbridge.yaml"] == [file.name for file in tmp_path.iterdir()]


def test_a_day_that_is_none_is_told_how_to_write_one(settings: Path) -> None:
    result = run("ingest", "--since", "yesterday", "--config", settings)

    assert 2 == result.exit_code
    assert "'yesterday' is not a day; write it like 2026-10-31" in result.output


def test_a_missing_sacct_is_named_and_the_ledger_stays_whole(settings: Path) -> None:
    result = run("ingest", "--config", settings)

    assert 3 == result.exit_code
    assert "no-such-command" in result.output
    assert "every invariant holds" in run("check", "--config", settings).output


def test_a_ledger_is_needed_to_account(tmp_path: Path) -> None:
    path = tmp_path / "meterbridge.yaml"
    path.write_text("site: here\n")

    result = run("statement", "2026-10", "--config", path)

    assert 3 == result.exit_code
    assert "no ledger is configured" in result.output


def test_a_month_is_written_like_one(settings: Path) -> None:
    result = run("statement", "October", "--config", settings)

    assert 2 == result.exit_code
    assert "write it like 2026-10" in result.output


def test_an_unknown_line_is_said_to_be_unknown(settings: Path) -> None:
    run("ingest", "--config", settings)

    result = run("explain", "L123", "--config", settings)

    assert 2 == result.exit_code
    assert "no line L123" in result.output


def test_the_log_may_be_json(settings: Path) -> None:
    result = CliRunner().invoke(main, ["--log-format", "json", "exporter", "--config", str(settings), "--once"])

    lines = [x for x in result.stderr.splitlines() if x.startswith("{")]
    assert ["warning"] == sorted({json.loads(x)["level"] for x in lines})
