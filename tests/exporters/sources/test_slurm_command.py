"""Running client commands: every way it can go wrong is told, and nothing is left behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from exporters.sources.base import SourceError
from exporters.sources.slurm import run_command
from tests.lab.daemons import wait_for
from tests.lab.fake_slurm import script


def run(*words: str, timeout: float = 10, max_bytes: int = 1 << 20, **environment: str) -> bytes:
    return run_command.run(words, environment=environment, timeout=timeout, max_bytes=max_bytes, mend="Do this")


def test_what_was_printed_is_returned_whole(tmp_path: Path) -> None:
    assert b"\xff a|b\n" == run(script(tmp_path / "ok", 'printf "\\377 %s\\n" "$WORD"; echo noise >&2'), WORD="a|b")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(SourceError, match=r"cannot run 'no-such-sacct'.*in PATH\?\. Do this"):
        run("no-such-sacct", "-X")


def test_a_failure_tells_the_command_its_code_and_its_words(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'.*bad -a' ended with exit code 3 and said: no such host\. Do this"):
        run(script(tmp_path / "bad", "echo half; echo no such host >&2; exit 3"), "-a")


def test_a_command_killed_half_way_is_an_error_not_half_an_answer(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ended with signal 9 and said: nothing"):
        run(script(tmp_path / "dies", "echo half; kill -9 $$"))


def test_a_hanging_command_is_killed_with_what_it_started(tmp_path: Path) -> None:
    trace = tmp_path / "pid"
    hangs = script(tmp_path / "hangs", f"sleep 60 & echo $! > {trace}; wait")
    began = time.monotonic()

    with pytest.raises(SourceError, match=r"did not finish within 1\.5 s and was killed"):
        run(hangs, timeout=1.5)

    assert time.monotonic() - began < 10
    wait_for(lambda: state(trace.read_text().strip()) in {"", "Z"}, 10, "end of the child")


def state(pid: str) -> str:
    """A process' state letter, empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def test_a_command_that_closes_its_output_and_stays_is_killed_too(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did not finish within"):
        run(script(tmp_path / "stays", "exec >&- 2>&-; sleep 60"), timeout=0.5)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(run_command.TooLargeError, match="printed more than 100000 bytes"):
        run(script(tmp_path / "yes", "exec yes"), max_bytes=100_000)


def test_a_flood_of_complaints_does_not_block(tmp_path: Path) -> None:
    talks = script(tmp_path / "talks", "yes complaint | head -c 300000 >&2; echo fine")

    assert b"fine\n" == run(talks)
