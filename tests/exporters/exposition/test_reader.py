from __future__ import annotations

import json
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.exposition.family import Family
from exporters.exposition.reader import ExpositionError, Limits, Reader, Reading
from tests.conftest import TESTDATA
from tests.exporters.exposition import reference

CARD = 'gpu="{0}",UUID="GPU-{0}",pod="a b",modelName="NVIDIA H100 80GB HBM3"'
FIELDS = ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_SM_CLOCK", "DCGM_FI_DEV_FB_USED")
PAGE = "".join(
    f"# HELP {name} Says (in %).\n# TYPE {name} gauge\n"
    + "".join(f"{name}{{{CARD.format(card)}}} {card}.5\n" for card in range(4))
    for name in FIELDS
)


def flat(reading: Reading) -> list[reference.Flat]:
    return [reference.flat(*sample) for sample in reading.samples()]


def read(text: str, reader: Reader | None = None) -> list[reference.Flat]:
    return flat((reader or Reader()).read(text.encode()))


@given(reference.pages())
def test_what_prometheus_client_writes_is_read_as_it_reads_it(families: list[Family]) -> None:
    text = reference.text(families).decode()

    assert reference.read(text) == read(text)


# Legal but unusual, or nearly legal: what hand-written pages, old exporters and pushed files hold.
ODD: list[str] = json.loads((TESTDATA / "exposition" / "odd-lines.json").read_text())


@pytest.mark.parametrize("line", ODD)
def test_each_odd_line_is_taken_or_refused_as_prometheus_client_does(line: str) -> None:
    for text in (line, f"{line}\n", f'before{{a="b"}} 1\n{line}\nafter{{a="b"}} 2\n'):
        try:
            expected = reference.read(text)
        except (ValueError, IndexError):
            with pytest.raises(ExpositionError):
                read(text)
        else:
            assert expected == read(text)


_PIECES = [
    *"m{}=\"',\\ \t#_-+.1e\n\u00a0",
    "a",
    'a="b"',
    "NaN",
    "# HELP ",
    "# TYPE ",
    " gauge",
    "__name__",
    "é",
    " 1 ",
    '{"',
]


@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join), st.sampled_from(["1", "2.5", "NaN", "1_0", "1 2"]))
def test_any_text_is_taken_or_refused_as_prometheus_client_does(text: str, later: str) -> None:
    reader = Reader()
    # The second body differs in its values only, where it has any: the remembered left sides must not mislead.
    for body in (text, re.sub(r"(?m)^([^#\n]* )1$", rf"\g<1>{later}", text), text):
        try:
            expected = reference.read(body)
        except (ValueError, IndexError):
            with pytest.raises(ExpositionError):
                read(body, reader)
        else:
            assert expected == read(body, reader)


@given(st.lists(st.lists(st.sampled_from([*PAGE.splitlines()[2:6], "", "# x", "other 1", "other 1 5"]), max_size=6)))
def test_bodies_that_change_from_round_to_round_are_read_exactly(bodies: list[list[str]]) -> None:
    reader = Reader()
    for lines in bodies:
        text = "\n".join(lines)

        assert reference.read(text) == read(text, reader)


@pytest.mark.parametrize(
    "bodies",
    [
        ["m 1\n", "m 1_0\n"],  # Python reads it as ten
        ["m 1\nx 1\n", "x 1\nm 1_0\n"],
        ['m{a="b"} 1 \n', 'm{a="b"} 1 2\n'],  # a trailing blank, and then a timestamp in its place
        ['  m{a="b"} 1\n', 'x m{a="b"} 2\n'],
        ["m 1\n", "m 1 1700000000000\n", "m 2\n"],
        ["m 1\n\n", "m 1\nn 2\n"],
    ],
)
def test_what_is_remembered_never_stands_for_something_else(bodies: list[str]) -> None:
    reader = Reader()
    for body in bodies:
        try:
            expected = reference.read(body)
        except ValueError:
            with pytest.raises(ExpositionError):
                read(body, reader)
        else:
            assert expected == read(body, reader)


def test_a_body_in_the_same_order_is_read_by_position() -> None:
    reader = Reader()
    first = reader.read(PAGE.encode())
    second = reader.read(PAGE.replace(".5\n", ".75\n").encode())

    assert first.layout is second.layout
    assert [v + 0.25 for v in first.values] == list(second.values)


def test_lines_that_change_their_order_in_mid_flight_keep_their_values() -> None:
    reader = Reader()
    lines = [line for line in PAGE.splitlines() if not line.startswith("#")]
    for seed in range(5):
        random.Random(seed).shuffle(lines)
        text = "\n".join(lines) + "\n"

        assert reference.read(text) == read(text, reader)


def test_an_exporter_that_alternates_between_orders_is_read_by_position_in_each() -> None:
    reader = Reader()
    first, second = PAGE, PAGE[PAGE.index("# HELP DCGM_FI_DEV_SM") :] + PAGE[: PAGE.index("# HELP DCGM_FI_DEV_SM")]
    layouts = [reader.read(body.encode()).layout for body in (first, second, first, second)]

    assert layouts[:2] == layouts[2:]


def test_only_wanted_families_are_kept() -> None:
    reader = Reader(wanted={"DCGM_FI_DEV_FB_USED"})
    for _ in range(2):
        names = {series.name for series in reader.read(PAGE.encode()).layout.series}

        assert names == {"DCGM_FI_DEV_FB_USED"}


def test_a_wanted_line_that_takes_an_unwanted_lines_place_is_seen() -> None:
    reader = Reader(wanted={"wanted"})
    reader.read(b'unwanted{a="1"} 1\nunwanted{a="2"} 2\n')

    assert read('wanted{a="1"} 1\nunwanted{a="2"} 2\n', reader) == [("wanted", (("a", "1"),), "1.0", "None")]


def test_a_wanted_family_that_begins_like_an_unwanted_one_is_seen_in_its_place() -> None:
    reader = Reader(wanted={"mm"})
    reader.read(b"m 1\n")

    assert read("mm 2\n", reader) == [("mm", (), "2.0", "None")]


def test_a_family_whose_name_begins_like_a_wanted_one_is_not_wanted() -> None:
    reader = Reader(wanted={"m"})
    for _ in range(2):
        assert read("m 1\nm_more 2\nmm{} 3\n", reader) == [("m", (), "1.0", "None")]


def test_series_of_one_card_share_their_labels() -> None:
    series = Reader().read(PAGE.encode()).layout.series

    assert series[0].labels is series[4].labels is series[8].labels


def test_a_strict_reader_names_the_line_it_cannot_read() -> None:
    with pytest.raises(ExpositionError, match=r"line 2 is not Prometheus text.*this is not a sample"):
        Reader().read(b"m 1\nthis is not a sample\n")


def test_a_lenient_reader_sets_the_bad_line_aside_and_reads_the_rest() -> None:
    reader = Reader(strict=False)
    for _ in range(2):
        reading = reader.read(b'm 1\nm{hpc_job="broken"quote"} 1\nm{a="b"} 2\n')

        assert list(reading.values) == [1.0, 2.0]
        assert [number for number, _ in reading.bad] == [2]


def test_a_failed_body_does_not_spoil_the_next() -> None:
    reader = Reader()
    reader.read(PAGE.encode())
    with pytest.raises(ExpositionError):
        reader.read(PAGE.encode()[:-30] + b'"\n')

    assert reference.read(PAGE) == read(PAGE, reader)


@pytest.mark.parametrize(
    ("body", "limits", "says"),
    [
        (b"m 1\n" * 10, Limits(size=39), "40 bytes, more than the limit of 39"),
        (b"m 1\n" * 10, Limits(lines=9), "more than 9 lines"),
        (b'm{a="12345"} 1\n', Limits(label=4), "longer than the limit of 4"),
        (b'm{,a="12345"} 1\n', Limits(label=4), "longer than the limit of 4"),
        (b"\xff\xfe\x00\x01", Limits(), "not UTF-8"),
        (b"m\t1\n" * 10, Limits(odd=9), "more than 9 unreadable lines"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_the_limit(body: bytes, limits: Limits, says: str) -> None:
    with pytest.raises(ExpositionError, match=says):
        Reader(limits=limits).read(body)


def test_a_long_label_in_a_family_nobody_wants_is_no_problem() -> None:
    reading = Reader({"m"}, Limits(label=4)).read(b'x{a="12345"} 1\nm 1\n')

    assert list(reading.values) == [1.0]


def test_labels_that_come_and_go_do_not_grow_the_memory() -> None:
    reader = Reader()
    for round_ in range(200):
        reader.read("".join(f'm{{job="{round_}",i="{i}"}} 1\n' for i in range(100)).encode())

    assert len(reader._known) <= 2 * 100 + 1000 + 100
    assert len(reader._labels) <= 2 * 100 + 1000 + 100


def test_an_empty_body_has_no_samples() -> None:
    assert [read(text) for text in ("", "\n", "# nothing\n")] == [[], [], []]


def test_a_number_alone_in_the_place_of_a_line_is_not_its_value() -> None:
    reader = Reader({"a"}, strict=False)
    reader.read(b'a{x="1"} 1\na{x="2"} 2\n')
    reading = reader.read(b'a{x="1"} 3\n7\n')

    assert [("a", {"x": "1"}, 3.0, None)] == reading.samples()
    assert [2] == [number for number, _ in reading.bad]
