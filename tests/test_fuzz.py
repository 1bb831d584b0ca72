"""Each parser takes its corpus and some hostile relatives of it as it documents; `make fuzz` tries a million."""

from __future__ import annotations

import json

import pytest

from tests.fuzz import run
from tests.fuzz.run import CORPUS, fuzz, seeds, text, tried
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_parser_takes_hostile_bytes_as_it_documents(target: str) -> None:
    fault = fuzz(target, 100, 20261130)

    assert fault is None, str(fault)


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(TARGETS) == sorted(path.stem for path in CORPUS.glob("*.json"))
    assert all(seeds(target) for target in TARGETS)


def test_a_fault_is_found_and_told_as_the_corpus_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(data: bytes) -> None:
        if b"\xff" in data:
            raise KeyError("a fault of ours")

    monkeypatch.setitem(TARGETS, "spool", Target(picky, (ValueError,)))
    fault = fuzz("spool", 2000, 1)

    assert fault is not None
    assert "a fault of ours" in fault.what
    told = json.loads(str(fault).rpartition("spool.json: ")[2])
    assert fault.data == told.encode("latin-1")
    assert text(fault.data) == told


def test_what_is_documented_is_no_fault_and_what_takes_long_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: bytes) -> None:
        raise ValueError("a documented refusal")

    monkeypatch.setitem(TARGETS, "spool", Target(refuses, (ValueError,)))
    documented = tried("spool", b"")
    monkeypatch.setattr(run, "SECONDS", -1.0)
    slow = tried("spool", b"")

    assert documented is None
    assert slow is not None
    assert "it took" in slow.what
