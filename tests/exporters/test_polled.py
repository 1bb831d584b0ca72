"""What one source's polls say in the log: a problem that stays is said once, and again when it comes back."""

from __future__ import annotations

import logging
import threading

import pytest

from exporters.model import Snapshot
from exporters.poll.poller import Polled
from exporters.sources.base import Source

AWAY, BLIND = "n1: the device plugin is away", "owners of pods may not be read"


class Troubled(Source):
    """A source whose polls tell the problems that they are given."""

    name, cluster, scheduler, interval = "pods", "kube", None, 15.0

    def __init__(self, *polls: tuple[str, ...]) -> None:
        self.polls = list(polls)

    def poll(self, now: float) -> Snapshot:
        return Snapshot(at=now, problems=self.polls.pop(0))


def test_a_problem_is_said_once_and_again_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    polled = Polled(Troubled((AWAY,), (AWAY,), (BLIND, AWAY), (BLIND,), (AWAY, BLIND), ()), threading.Lock())
    said = []
    for moment in range(6):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "exporters"):
            assert polled.poll(float(moment))
        said.append([record.getMessage() for record in caplog.records])

    head = "source=pods cluster=kube "
    assert [[head + AWAY], [], [head + BLIND], [], [head + AWAY], []] == said
