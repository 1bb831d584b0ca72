"""The numbers of the rules: where they come from, and how a site changes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from alerts.__main__ import main
from alerts.durations import duration, milliseconds
from alerts.generate import GROUPS, groups, source
from alerts.thresholds import RulesError, Threshold, load

SHIPPED = load()


@pytest.mark.parametrize("threshold", SHIPPED.thresholds.values(), ids=lambda t: t.name)
def test_a_threshold_says_who_says_so(threshold: Threshold) -> None:
    assert threshold.what
    assert threshold.source.startswith("ours") == threshold.source.endswith("Starting value, calibrate") or any(
        who in threshold.source for who in ("NVIDIA", "SONiC", "lossless")
    )


def test_every_threshold_is_used() -> None:
    used = "".join(str(row) for name in GROUPS for row in source(name))

    unused = [n for n in SHIPPED.thresholds if f"${{{n}" not in used and f": '{n}'" not in used]
    assert [] == unused


def test_another_threshold_changes_the_rules_and_nothing_else() -> None:
    before, after = groups(SHIPPED), groups(SHIPPED.override({"pausing_critical": "0.5"}))

    changed = [
        (old["alert"], new["expr"].splitlines()[0])
        for name in GROUPS
        for old, new in zip(before[name]["groups"][0]["rules"], after[name]["groups"][0]["rules"], strict=True)
        if old != new
    ]
    assert [("RdmaSlowReceiver", "((meterbridge_port:rdma_pausing:ratio > 0.5)")] * 2 == changed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"paused_critica": "1"}, "no threshold paused_critica; did you mean paused_critical?"),
        ({"paused_critical": "much"}, "threshold paused_critical is a number, written like 0.25, not much"),
        ({"paused_critical": "nan"}, "threshold paused_critical is a number, written like 0.25, not nan"),
        ({"brief": "2"}, "threshold brief is a duration, written like 2m, not 2"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(values: dict[str, str], words: str) -> None:
    with pytest.raises(RulesError, match=words.replace("?", r"\?")):
        SHIPPED.override(values)


def test_scaling_shortens_every_duration_and_no_number() -> None:
    scaled = SHIPPED.scale(1 / 60)

    assert {"window": "5s", "brief": "2s", "idle_for": "1m"} == {
        n: scaled.word(n) for n in ("window", "brief", "idle_for")
    }
    assert SHIPPED.word("paused_critical") == scaled.word("paused_critical")


@pytest.mark.parametrize(
    ("text", "length"), [("90s", 90_000), ("1h30m", 5_400_000), ("1500ms", 1500), ("2d", 172_800_000)]
)
def test_a_duration_and_its_length(text: str, length: int) -> None:
    assert length == milliseconds(text)
    assert length == milliseconds(duration(length))


def test_small_numbers_are_written_as_prometheus_reads_them() -> None:
    assert "0.00001" == SHIPPED.word("out_of_sequence_warning")


def test_a_site_has_its_own_links(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("runbook_base: https://wiki.site/\n")

    result = CliRunner().invoke(main, ["--out", str(tmp_path / "rules"), "--site", str(site)])

    assert 0 == result.exit_code, result.output
    assert "runbook_url: https://wiki.site/RdmaPortPaused.md" in (tmp_path / "rules" / "fabric.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [("runbook: x", "unknown key runbook; did you mean runbook_base?"), ("- 1", "must be keys"), ("{", "is not YAML")],
)
def test_a_site_file_that_makes_no_sense_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(text)

    result = CliRunner().invoke(main, ["--out", str(tmp_path), "--site", str(site)])

    assert 1 == result.exit_code
    assert words in result.output
    assert "Traceback" not in result.output
