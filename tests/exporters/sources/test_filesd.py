"""Endpoints from file_sd files: what they say, when they change, and when they are broken."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from exporters.sources.devices.filesd import MAX_FILE, FileSdError, FileTargets, urls


def write(path: Path, text: str, at: int) -> Path:
    """A file with a time of its own: two writes within one tick of the clock are two versions."""
    path.write_text(text)
    os.utime(path, ns=(at, at))
    return path


def test_json_and_yaml_files_of_a_pattern_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a.json", json.dumps([{"targets": ["gn01:9400", "gn02:9400"]}]), 1)
    write(tmp_path / "b.yml", "- targets: [gn03:9400]\n  labels: {__scheme__: https, __metrics_path__: /x}\n", 1)

    assert ["http://gn01:9400/metrics", "http://gn02:9400/metrics", "https://gn03:9400/x"] == FileTargets(
        [str(tmp_path / "*.json"), str(tmp_path / "*.yml")]
    )()


def test_a_changed_file_is_read_again_and_a_file_that_goes_takes_its_endpoints_along(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", '[{"targets": ["a:1"]}]', 1)
    targets = FileTargets([str(tmp_path / "*.json")])
    first = targets()
    write(file, '[{"targets": ["b:1"]}]', 2)
    second = targets()
    file.unlink()

    assert (["http://a:1/metrics"], ["http://b:1/metrics"], []) == (first, second, targets())


@pytest.mark.parametrize("broken", ["[{", '{"targets": []}', '[{"targets": ["a:1"], "x": 1}]', "\x00"])
def test_a_broken_file_keeps_its_last_good_endpoints_and_says_so(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path / "a.json", '[{"targets": ["a:1"]}]', 1)
    targets = FileTargets([str(file)])
    targets()
    write(file, broken, 2)

    assert ["http://a:1/metrics"] == targets()
    assert "keeping 1 endpoints of it" in caplog.text
    write(file, '[{"targets": ["b:1"]}]', 3)

    assert ["http://b:1/metrics"] == targets()


def test_a_file_too_large_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MAX_FILE + 1)

    assert [] == FileTargets([str(tmp_path / "a.json")])()
    assert f"more than {MAX_FILE}" in caplog.text


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({}, "a list of groups"),
        ([1], "group 1 must have targets"),
        ([{"targets": ["a:1"]}, {"targets": "b:1"}], "group 2: targets must be a list"),
        ([{"targets": ["http://a:1/metrics"]}], "is not HOST:PORT"),
        ([{"targets": [7]}], "7 is not HOST:PORT"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(groups: object, told: str) -> None:
    with pytest.raises(FileSdError, match=told):
        urls(groups)
