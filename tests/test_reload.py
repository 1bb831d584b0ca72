"""SIGHUP as an operator sends it after an edit: what is right is taken, what is wrong changes nothing and is said."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from exporters.commands.running import serve_until_told
from exporters.errors import OperatorError
from exporters.logs import KINDS, WINDOW, QuietHandler
from tests.lab.daemons import Daemon, wait_for
from tests.lab.ports import free

ROOT = Path(__file__).parents[1]

SITE = """
site: {site}
web: {{listen: "127.0.0.1:{port}"}}
service: {{listen: "127.0.0.1:{port}"}}
dcgm: {{targets: ["http://127.0.0.1:1/metrics"]}}
ledger: {{url: "sqlite:///{folder}/ledger.db"}}
"""


class Running:
    """A verb that serves, as a process of its own, with settings that change."""

    def __init__(self, verb: str, folder: Path) -> None:
        self.settings, self.log, (self.port,) = folder / "meterbridge.yaml", folder / "log", free()
        self._folder = folder
        self.write("before")
        command = [sys.executable, str(ROOT / "meterbridge.py"), verb, "--config", str(self.settings)]
        self.daemon = Daemon(verb, command, self.log, {"PYTHONPATH": str(ROOT)})
        self.daemon.ready(lambda: self.log.read_text().count("serving http") == 1, 60)

    def write(self, site: str, more: str = "") -> None:
        self.settings.write_text(SITE.format(site=site, port=self.port, folder=self._folder) + more)

    def hang_up(self, says: str) -> str:
        """Send SIGHUP, and wait until the log ``says`` so; the log."""
        os.kill(self.daemon.process.pid, signal.SIGHUP)
        wait_for(lambda: says in self.log.read_text(), 60, says)
        return self.log.read_text()

    def healthy(self) -> bool:
        return httpx2.get(f"http://127.0.0.1:{self.port}/-/healthy").status_code == 200


@pytest.fixture(params=["exporter", "serve"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    running = Running(request.param, tmp_path)
    yield running
    running.daemon.stop(20)
    assert running.daemon.process.returncode == 0


def test_settings_are_read_again_by_the_same_process(process: Running) -> None:
    process.write("after", "nonsense: 1\n")
    wrong = process.hang_up("the settings stay as they are")
    still = process.healthy()
    process.write("after")
    right = process.hang_up("the settings were read again")
    wait_for(lambda: process.log.read_text().count("serving http") == 2, 60, "its listener again")

    assert "nonsense" in wrong
    assert wrong.count("serving http") == right.count("serving http") == 1 or right.count("serving http") == 2
    assert still
    assert process.healthy()
    assert process.daemon.process.poll() is None


def test_a_ledger_that_somebody_holds_delays_no_end(process: Running) -> None:
    ledger = process.settings.with_name("ledger.db")
    with contextlib.closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process.hang_up("the settings were read again")  # so that something is written at once
        wait_for(lambda: process.log.read_text().count("serving http") == 2, 60, "its listener again")
        time.sleep(1)
        begun = time.monotonic()
        process.daemon.terminate()
        process.daemon.process.wait(30)

    assert time.monotonic() - begun < 10


class Part:
    def __init__(self, done: list[str], name: str) -> None:
        self.done, self.name = done, name

    def start(self) -> None:
        self.done.append(f"start {self.name}")
        os.kill(os.getpid(), signal.SIGHUP if self.name == "1" else signal.SIGTERM)

    def stop(self) -> None:
        self.done.append(f"stop {self.name}")


def handlers() -> dict[int, object]:
    return {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)}


@pytest.fixture
def kept_handlers() -> Iterator[None]:
    before = handlers()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)  # type: ignore[arg-type]


@pytest.mark.usefixtures("kept_handlers")
@pytest.mark.parametrize("wrong", [False, True])
def test_the_old_parts_end_before_the_new_ones_begin_and_no_signal_is_lost(wrong: bool) -> None:
    done: list[str] = []

    def check() -> None:
        if wrong:
            os.kill(os.getpid(), signal.SIGTERM)
            raise OperatorError("nonsense")

    serve_until_told(check, lambda: (Part(done, "2" if done else "1"),))

    assert done == (["start 1", "stop 1"] if wrong else ["start 1", "stop 1", "start 2", "stop 2"])


class Log:
    """A logger whose minutes are ours."""

    def __init__(self, path: Path) -> None:
        self.now, self.path = 0.0, path
        self.file = path.open("w")
        self.handler = QuietHandler(self.file, lambda: self.now)
        self.log = logging.Logger("test")
        self.log.addHandler(self.handler)

    def lines(self) -> list[str]:
        self.file.flush()
        return self.path.read_text().splitlines()


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log")
    yield log
    log.handler.close()
    log.file.close()


def test_a_storm_is_one_line_a_minute_with_a_count(quiet: Log) -> None:
    for _ in range(690):
        quiet.log.warning("cannot accept")
    quiet.log.error("something else")
    quiet.now += WINDOW
    quiet.log.info("a round")

    assert quiet.lines() == [
        "cannot accept",
        "something else",
        "cannot accept (and the like: 689 more in 60 s)",
        "a round",
    ]


def test_one_text_with_many_names_is_bounded_and_others_are_not_hidden(quiet: Log) -> None:
    for n in range(1000):
        quiet.log.warning("pod %d is odd", n)
    quiet.log.warning("node %d is odd", 1)

    assert len(quiet.lines()) == KINDS + 1


def test_what_is_no_trouble_is_written_as_it_comes(quiet: Log) -> None:
    for _ in range(5):
        quiet.log.info("a round")

    assert quiet.lines() == ["a round"] * 5


def test_the_next_minute_begins_anew(quiet: Log) -> None:
    quiet.log.warning("cannot accept")
    quiet.now += WINDOW
    quiet.log.warning("cannot accept")

    assert quiet.lines() == ["cannot accept"] * 2


def test_what_is_left_is_told_at_the_end(quiet: Log) -> None:
    for _ in range(3):
        quiet.log.warning("cannot accept")
    quiet.handler.close()

    assert quiet.lines()[-1] == "cannot accept (and the like: 2 more in 60 s)"
