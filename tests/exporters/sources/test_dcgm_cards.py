from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.exposition.reader import Reader
from exporters.model import Field, Sample
from exporters.sources.devices.dcgm_cards import merge, plan
from exporters.sources.devices.dcgm_fields import FIELDS, READ, blanks
from exporters.sources.devices.dcgm_fleet import Fleet, OutOfRange, Told
from tests.conftest import TESTDATA

CARD_0, CARD_1 = "GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e52", "GPU-1f1c2d3e-0001-4a5b-8c9d-000000000001"
MEBI = 1 << 20


def page(name: str) -> str:
    return (TESTDATA / "dcgm" / f"{name}.prom").read_text()


def read(text: str, at: float = 100.0) -> tuple[list[Sample], list[OutOfRange]]:
    reading = Reader(FIELDS, strict=False).read(text.encode())
    return Fleet().samples([Told(plan(reading.layout, "from-url"), reading.layout, reading.values)], at)


def test_a_page_is_one_sample_per_card_in_base_units() -> None:
    found, impossible = read(page("classic"))
    expected = Sample(
        host="gn01",
        uuid=CARD_0,
        index=0,
        model="NVIDIA H100 80GB HBM3",
        values={
            Field.TEMPERATURE: 61.0,
            Field.POWER: 641.382,
            Field.ENERGY: 1234567890.123,
            Field.UTILIZATION: 0.97,
            Field.XID: 0.0,
            Field.MEMORY_USED: 64695.0 * MEBI,
            Field.ENGINE_ACTIVE: 0.963,
            Field.TENSOR_ACTIVE: 0.412,
            Field.MEMORY_ACTIVE: 0.53,
            Field.NVLINK_TX_RATE: 178e9,
            Field.NVLINK_RX_RATE: 176.5e9,
            Field.NVLINK_TX: 123456789012.0,
            Field.NVLINK_RX: 120000000000.0,
        },
        at=100.0,
        pods=(("vision", "bert-worker-0", ""),),
    )

    assert not impossible
    assert [CARD_0, CARD_1] == [sample.uuid for sample in found]
    assert expected == found[0]
    assert found[1].values[Field.XID] == 79.0
    assert found[1].pods == ()


def test_old_and_new_spellings_give_the_same_samples() -> None:
    assert read(page("classic")) == read(page("renamed"))


def test_a_utilization_called_ratio_is_still_percent() -> None:
    found, _ = read('DCGM_FI_DEV_GPU_UTIL_RATIO{gpu="0",UUID="GPU-a"} 1\n')

    assert found[0].values == {Field.UTILIZATION: 0.01}


def test_a_mig_instance_has_its_own_readings_and_the_card_has_the_cards_once() -> None:
    found, _ = read(page("mig"))
    by_device = {(s.index, s.mig_instance): s for s in found}

    assert {(0, ""), (0, "1"), (0, "9"), (1, "")} == by_device.keys()
    assert by_device[0, "1"].values == {Field.MEMORY_USED: 9000.0 * MEBI, Field.ENGINE_ACTIVE: 0.8}
    assert by_device[0, "1"].mig_profile == "3g.20gb"
    assert by_device[0, "1"].pods == (("serving", "llm-0", "7d1f0000-0000-4000-8000-000000000001"),)
    assert by_device[0, "9"].hpc_jobs == ("4711",)
    # Both instance lines repeat the card's 251 W: they are the card's, and counted once.
    assert by_device[0, ""].values == {Field.POWER: 251.0, Field.ENERGY: 5000.0}
    assert (by_device[0, ""].pods, by_device[0, ""].hpc_jobs, by_device[0, ""].mig_profile) == ((), (), "")
    assert sum(s.values.get(Field.POWER, 0.0) for s in found) == 251.0 + 60.0


def test_a_card_shared_by_pods_and_jobs_is_one_sample_that_names_them_all() -> None:
    (card,), _ = read(page("shared"))

    assert card.pods == (("dev", "note-a", "uid-note-a"), ("dev", "note-b", "uid-note-b"))
    assert card.hpc_jobs == ("71", "72")
    assert card.values[Field.POWER] == 300.0
    assert card.values[Field.ENERGY] == 123.456


def test_a_shared_cards_own_reading_is_the_total_and_not_one_pods_part() -> None:
    (card,), _ = read(page("shared"))

    assert card.values[Field.UTILIZATION] == 0.8
    assert card.values[Field.MEMORY_USED] == 3000.0 * MEBI


def test_sentinels_and_nan_are_dropped_and_what_cannot_be_is_counted() -> None:
    found, impossible = read(page("blanks"))

    assert [(CARD_0, {Field.ENERGY: 5.0})] == [(s.uuid, s.values) for s in found if s.index == 0]
    assert {(i.series, i.value) for i in impossible} == {
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", -1.0),
        ("DCGM_FI_DEV_GPU_UTIL", 117.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 37.5),
    }


def test_a_ratio_a_little_over_one_is_one() -> None:
    found, _ = read(page("blanks"))

    assert found[1].values[Field.TENSOR_ACTIVE] == 1.0


def test_lines_of_links_switches_and_cpus_are_no_cards() -> None:
    reading = Reader(FIELDS).read(page("other-entities").encode())
    worked_out = plan(reading.layout)
    found, _ = Fleet().samples([Told(worked_out, reading.layout, reading.values)], 0.0)

    assert [(CARD_0, {Field.POWER: 100.0})] == [(s.uuid, s.values) for s in found]
    assert worked_out.nameless == 2


def test_a_line_without_a_host_is_of_the_endpoints_host() -> None:
    found, _ = read('DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a"} 1\n')

    assert found[0].host == "from-url"


@pytest.mark.parametrize(
    ("labels", "pods"),
    [
        ('pod="p",namespace="n",container="c"', (("n", "p", ""),)),
        ('pod="p",namespace="n",pod_uid="u"', (("n", "p", "u"),)),
        ('pod_name="p",pod_namespace="n"', (("n", "p", ""),)),
        ('pod="dcgm-exporter-x",namespace="gpu-operator",exported_pod="p",exported_namespace="n"', (("n", "p", ""),)),
        ('pod="",namespace="",container=""', ()),
        ('pod="p"', ()),
    ],
)
def test_every_spelling_of_the_pod_is_read(labels: str, pods: tuple[tuple[str, str, str], ...]) -> None:
    found, _ = read(f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a",{labels}}} 1\n')

    assert pods == found[0].pods


@pytest.mark.parametrize(
    ("name", "told"), [("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 7000.0), ("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", 7.0)]
)
def test_energy_is_in_joules_by_either_field(name: str, told: float) -> None:
    found, _ = read(f'{name}{{gpu="0",UUID="GPU-a",Hostname="gn01"}} {told}\n')

    assert 7.0 == found[0].values[Field.ENERGY]


def test_bandwidth_totals_of_nvlink_are_not_taken_for_bytes() -> None:
    assert not [name for name in FIELDS if "BANDWIDTH" in name or "THROUGHPUT" in name]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_blank_is_a_plausible_ratio(value: float) -> None:
    assert not (blanks(np.array([value])).any() and 0 <= value <= 100)


@pytest.mark.parametrize(
    ("name", "value", "usable"),
    [
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.01, True),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1.0101, False),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", -0.0001, False),
        ("DCGM_FI_DEV_GPU_UTIL", 101.0, True),
        ("DCGM_FI_DEV_GPU_UTIL", 102.0, False),
        ("DCGM_FI_DEV_GPU_TEMP", -273.15, True),
        ("DCGM_FI_DEV_GPU_TEMP", -274.0, False),
        *(("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 140737488355328.0 + n, n == 4) for n in range(5)),
        *(("DCGM_FI_DEV_FB_USED", 2147483632.0 + n, n == 4) for n in range(5)),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 9223372036854775792.0, False),
        ("DCGM_FI_DEV_POWER_USAGE", math.nan, False),
    ],
)
def test_a_value_is_used_where_it_is_one_and_possible(name: str, value: float, usable: bool) -> None:
    assert usable is FIELDS[name].usable(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 9223372036854775794.0, 2147483635.0, 140737488355331.0])
def test_blanks_are_blank(value: float) -> None:
    assert blanks(np.array([value])).all()


@pytest.mark.parametrize("value", [0.0, -1.0, 2147483631.0, 2147483636.0, 140737488355332.0, 9e18])
def test_numbers_beside_the_blanks_are_numbers(value: float) -> None:
    assert not blanks(np.array([value])).any()


@given(st.sampled_from(sorted(FIELDS)), st.floats() | st.sampled_from([1.01, 101.0, 101.5, 9e18, 2147483635.0]))
def test_a_page_tells_something_when_a_sample_comes_of_it(name: str, value: float) -> None:
    reading = Reader(FIELDS).read(f'{name}{{gpu="0",UUID="GPU-a"}} {value!r}\n'.encode())
    worked_out = plan(reading.layout)
    found, _ = Fleet().samples([Told(worked_out, reading.layout, reading.values)], 0.0)

    assert worked_out.tells(reading.values) == bool(found)


def test_all_pages_of_a_round_give_what_each_gives_alone_round_after_round() -> None:
    fleet, readers, plans = Fleet(), [Reader(FIELDS, strict=False) for _ in range(3)], {}
    rounds = [("classic", "mig", "blanks"), ("classic", "mig", "blanks"), ("mig", "classic", "shared"), ("classic",)]
    for names in rounds:
        told, expected, wrong = [], [], []
        for reader, name in zip(readers, names, strict=False):
            reading = reader.read(page(name).encode())
            known = plans.setdefault(reading.layout, plan(reading.layout, "from-url"))
            told.append(Told(known, reading.layout, reading.values))
            alone = read(page(name))
            expected += alone[0]
            wrong += alone[1]

        assert (expected, wrong) == fleet.samples(told, 100.0)


def test_two_exporters_of_one_card_make_one_sample_with_what_both_know() -> None:
    line = 'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a",Hostname="{}",{}}} {}\n'
    first, _ = read(line.format("gn01", 'hpc_job="7"', 100))
    second, _ = read(
        line.format("gn01.example.org", 'pod="p",namespace="n"', 90) + 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 40\n'
    )
    (card,), problems = merge([*first, *second])

    assert card.values == {Field.POWER: 100.0, Field.TEMPERATURE: 40.0}
    assert (card.host, card.hpc_jobs, card.pods) == ("gn01", ("7",), (("n", "p", ""),))
    assert problems == ()


def test_a_card_that_two_hosts_claim_is_kept_once_and_said() -> None:
    pages = [read(f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a",Hostname="{h}"}} 1\n')[0] for h in ("gn01", "gn02")]
    found, problems = merge([sample for page in pages for sample in page])

    assert [s.host for s in found] == ["gn01"]
    assert problems == ("card GPU-a is served as of gn01 and of gn02: kept as gn01",)


@pytest.mark.parametrize(
    "names",
    [
        (
            "DCGM_FI_DEV_ROW_REMAP_FAILURE",
            "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
            "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS",
        ),
        (
            "DCGM_FI_DEV_ROW_REMAP_FAILED",
            "DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL",
            "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        ),
    ],
    ids=["DCGM 3", "DCGM 4.6"],
)
def test_the_health_of_a_card_is_read_under_both_names(names: tuple[str, str, str]) -> None:
    always = ("DCGM_FI_DEV_ROW_REMAP_PENDING", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "DCGM_FI_DEV_THERMAL_VIOLATION")
    values = (1, 2, 0x40, 1, 3, 2_500_000_000)
    lines = [f'{n}{{gpu="0",UUID="GPU-1",hostname="gn01"}} {v}\n' for n, v in zip(names + always, values, strict=True)]
    (found,), _ = read("".join(lines))

    assert {
        Field.ROW_REMAP_FAILURE: 1.0,
        Field.REMAPPED_ROWS: 2.0,
        Field.CLOCK_EVENT_REASONS: 64.0,
        Field.ROW_REMAP_PENDING: 1.0,
        Field.DOUBLE_BIT_ERRORS: 3.0,
        Field.THERMAL_THROTTLE: 2.5,  # told in nanoseconds
    } == found.values


def test_what_a_switch_of_the_machine_and_health_checks_tell_stands_with_its_cards() -> None:
    card = f'gpu="0",UUID="{CARD_0}",modelName="NVIDIA H100",Hostname="gn01"'
    text = (
        f"DCGM_FI_DEV_GPU_TEMP{{{card}}} 60\n"
        'DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS{nvswitch="nvswitch0",Hostname="gn01"} 0\n'
        'DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS{nvswitch="nvswitch1",Hostname="gn01"} 20034\n'
        f'DCGM_EXP_GPU_HEALTH_STATUS{{{card},health_watch="NVLINK",health_error_code="DCGM_FR_NVLINK_DOWN"}} 20\n'
        f'DCGM_EXP_GPU_HEALTH_STATUS{{{card},health_watch="PCIE",health_error_code=""}} 10\n'
    )
    reading = Reader(READ, strict=False).read(text.encode())
    worked_out = plan(reading.layout)
    ((found,), impossible) = Fleet().samples([Told(worked_out, reading.layout, reading.values)], 100.0)

    assert {Field.TEMPERATURE: 60.0, Field.SXID_FATAL: 20034.0, Field.NVLINK_HEALTH: 20.0} == dict(found.values)
    assert ([], 0) == (impossible, worked_out.nameless)
