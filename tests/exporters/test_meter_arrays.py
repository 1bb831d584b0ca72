"""The meter in arrays gives what the meter in plain loops gives, whatever happens to cards, jobs and readings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.machines import machines_of
from exporters.join.site_picture import CardUse, Devices, Held, Picture
from exporters.meters.meter import Meter
from exporters.meters.use import NUMBERS
from exporters.model import Claim, Disposition, Field, Sample
from exporters.sources.devices.field_table import COLUMN, FIELDS, Values, table
from tests.exporters import world as w
from tests.exporters.plain_meter import PlainMeter

JOBS = [w.slurm_job(n) for n in range(3)]
PROJECTS = {job.key: f"p{n % 2}" for n, job in enumerate(JOBS)}
TOLD = (Field.ENGINE_ACTIVE, Field.UTILIZATION, Field.TENSOR_ACTIVE, Field.ENERGY, Field.POWER, Field.MEMORY_USED)

values = st.dictionaries(st.sampled_from(TOLD), st.floats(0, 1000, width=32), max_size=5)


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    profile = draw(st.sampled_from(["", "", "1g.10gb", "shared"]))
    return [
        Claim(job.key, job.key.id, w.slurm_node("gn01").key, 1000, draw(st.integers(900, 1100)), None, profile=profile)
        for job in JOBS
        if draw(st.booleans())
    ]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """A machine of three devices at some moment: who holds what, and what was read, now or before."""
    held = draw(claims())
    at = draw(st.integers(1000, 1300))
    cards = []
    for n in draw(st.permutations(range(3))):
        read = float(draw(st.integers(at - 60, at)))
        sample = Sample("gn01", f"GPU-{n // 2}", n, "h100", draw(values), read, mig_instance="1" if n == 1 else "")
        owners = draw(st.lists(st.sampled_from(held), unique_by=lambda c: c.job, max_size=2)) if held else []
        if draw(st.booleans()):
            cards.append(CardUse("gn01", sample, tuple((c, draw(st.integers(1, 1000))) for c in owners)))
    parts = [Held("gn01", "h100", c, draw(st.sampled_from(Disposition)), 1000) for c in held]
    machines = machines_of([], [])
    names = tuple((c.machine, c.sample.uuid, c.sample.mig_instance, c.sample.index) for c in cards)
    return Picture(float(at), {}, tuple(parts), (), {}, {}, tuple(cards), (), {}, (), machines, devices=Devices(names))


@given(st.lists(pictures(), min_size=1, max_size=6))
def test_the_arrays_say_what_plain_loops_say(rounds: list[Picture]) -> None:
    plain, arrays = PlainMeter(gap=45, linger=100), Meter(gap=45, linger=100)
    for picture in rounds:
        plain.step(picture, PROJECTS)
        arrays.step(picture, PROJECTS)

        assert plain.jobs.keys() == arrays.jobs.keys()
        for key, use in plain.jobs.items():
            assert use.measured == arrays.jobs[key].measured
            for name in NUMBERS:
                assert pytest.approx(getattr(use, name), abs=1e-6) == getattr(arrays.jobs[key], name), name
        assert plain.projects.keys() == arrays.projects.keys()
        assert pytest.approx(plain.memory) == arrays.memory


def test_rows_of_one_page_are_a_view_of_its_matrix() -> None:
    matrix = np.full((2, len(FIELDS)), np.nan)
    matrix[0, COLUMN[Field.POWER]], matrix[1, COLUMN[Field.ENERGY]] = 300.0, 7.0
    samples = [Sample("gn01", f"GPU-{n}", n, "h100", Values(matrix, n), 1000.0 + n) for n in (1, 0)]
    loose = Sample("gn02", "GPU-9", 0, "h100", {Field.POWER: 50.0}, 990.0)

    found = table([samples[0], loose, samples[1]])

    assert [{Field.ENERGY: 7.0}, {Field.POWER: 300.0}] == [s.values for s in samples]
    assert [990.0, 1000.0, 1001.0] == sorted(found.at.tolist())
    assert [50.0, 300.0] == [x for x in found.column(Field.POWER).tolist() if x == x]
