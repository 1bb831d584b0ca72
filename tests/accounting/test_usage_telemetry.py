from __future__ import annotations

import pytest
from sqlalchemy import Engine

from accounting.intake.live.live_recorder import LedgerRecorder
from exporters.model import Disposition
from exporters.recorder import Round, Telemetry
from tests.accounting.plain_usage import usage
from tests.accounting.posting import post_many
from tests.accounting.site import DAY, T0, run
from tests.accounting.test_ledger import booked, charged


def measured(number: int, machine: str, joules: float, start: int = T0 + 100) -> Telemetry:
    return Telemetry(run(number), run(number).id, machine, start, start + 10, 10.0, 5.0, 1.0, joules, 0.0, 0.0, 10, 20)


def record(engine: Engine, *pieces: Telemetry) -> None:
    recorder = LedgerRecorder(engine)
    recorder.record(Round(T0 + 2 * DAY, (), (), pieces))
    recorder.close()


def test_telemetry_decorates_the_jobs_line(engine: Engine) -> None:
    record(engine, measured(1, "gn01", 70.0), measured(1, "gn02", 30.0), measured(1, "gn01", 5.0, T0 + DAY))
    post_many(engine, [booked(charged(1)), booked(charged(1), machine="gn02")], now=T0 + 2 * DAY)
    [line] = [u for u in usage(engine, T0, T0 + DAY) if u.job]

    assert (100.0, 20.0, 10.0, 20, 40) == (
        line.energy_joules, line.observed_gpu_seconds, line.active_seconds, line.samples_seen, line.samples_expected
    )  # fmt: skip


def test_a_job_with_several_lines_shares_its_telemetry_by_what_each_held_there(engine: Engine) -> None:
    record(engine, measured(1, "gn01", 90.0), measured(1, "gn02", 7.0))
    post_many(
        engine,
        [booked(charged(1, 2), charged(1, 1, account="disputed"), cards=4), booked(charged(1), machine="gn02")],
        now=T0 + 2 * DAY,
    )
    lines = {u.disposition: u for u in usage(engine, T0, T0 + DAY) if u.job}

    assert pytest.approx(67.0) == lines[Disposition.CHARGED].energy_joules
    assert pytest.approx(30.0) == lines[Disposition.DISPUTED].energy_joules
    assert 20 == sum(u.samples_seen for u in lines.values())
