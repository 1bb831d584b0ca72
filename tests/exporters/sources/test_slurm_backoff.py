"""A busy controller is left alone, longer each time, and the source says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.sources.base import SourceError
from exporters.sources.slurm.live.backoff import Backoff, BusyError, is_busy
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.lab.fake_slurm import script

BUSY = "slurm_load_jobs error: Socket timed out on send/recv operation"


def ask(backoff: Backoff, now: float, said: str = "") -> bool:
    """Whether the controller was asked."""
    asked = False
    try:
        with backoff.asking(now):
            asked = True
            fail(said)
    except SourceError:
        return asked
    return asked


def fail(said: str) -> None:
    if said:
        raise SourceError(said)


def test_pauses_double_up_to_the_longest_and_end_with_an_answer() -> None:
    backoff, now, pauses = Backoff(15.0, most=100.0), 0.0, []
    for _ in range(5):
        assert ask(backoff, now, BUSY)

        pause = next(second for second in range(1, 200) if _would_ask(backoff, now + second))
        pauses.append(pause)
        now += pause

    assert [15, 30, 60, 100, 100] == pauses
    assert ask(backoff, now)
    assert ask(backoff, now + 1, BUSY)
    assert not ask(backoff, now + 15)
    assert ask(backoff, now + 16)


def _would_ask(backoff: Backoff, now: float) -> bool:
    try:
        backoff.wait(now)
    except BusyError:
        return False
    return True


def test_what_costs_the_controller_nothing_is_tried_at_every_poll() -> None:
    backoff = Backoff(15.0)

    assert [True] * 3 == [ask(backoff, float(n), "cannot run 'squeue' (No such file)") for n in range(3)]


@pytest.mark.parametrize(
    "said",
    [
        BUSY,
        "'squeue -a --json' did not finish within 30 s and was killed",
        "slurmrestd http://r did not answer /slurm/v0.0.45/jobs/ within 30 s",
        "slurm_load_jobs error: RPC rate limit exceeded",
        "slurmrestd http://r answered /x with status 503: busy",
        "Resource temporarily unavailable",
    ],
)
def test_signs_of_overload(said: str) -> None:
    assert is_busy(said)


@pytest.mark.parametrize("said", ["Invalid user id", "no field SLUID", "exit code 1 and said: Unknown option"])
def test_other_troubles_are_no_signs(said: str) -> None:
    assert not is_busy(said)


def test_a_busy_slurmctld_is_asked_once_and_its_status_says_until_when(tmp_path: Path) -> None:
    squeue = script(tmp_path / "squeue", f"echo x >> {tmp_path}/asked; echo '{BUSY}' >&2; exit 1")
    source = Slurmctld("c", scontrol=("false",), squeue=(squeue,), interval=15.0)
    said = []
    for now in (0.0, 5.0, 14.0, 15.0):
        with pytest.raises(BusyError) as caught:
            source.poll(now)

        said.append(str(caught.value))

    assert "looks busy, and is left alone for 15 s" in said[0]
    assert "left alone for another 10 s" in said[1]
    assert BUSY in said[1]
    assert "left alone for 30 s" in said[3]
    assert ["x", "x"] == (tmp_path / "asked").read_text().split()
