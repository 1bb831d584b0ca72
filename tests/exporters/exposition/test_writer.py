from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.exposition.family import Family
from exporters.exposition.number import format_values
from exporters.exposition.writer import OPENMETRICS_END, Block, Writer, as_openmetrics, as_text
from tests.exporters.exposition import reference

JOBS = Family(
    "meterbridge_job_gpu_seconds_total",
    "GPU-seconds held.",
    "counter",
    ("scheduler", "cluster", "job_id"),
    [(("slurm", "hpc", "18"), 7200.0), (("slurm", "hpc", "19"), 2_500_000.0)],
)


@given(reference.pages())
def test_the_page_is_what_prometheus_client_writes(families: list[Family]) -> None:
    blocks = Writer().render(families)

    assert reference.text(families) == as_text(blocks)
    assert reference.openmetrics(families) == as_openmetrics(blocks) + OPENMETRICS_END


@given(
    st.lists(
        st.one_of(
            st.floats(),
            st.integers(-(2**60), 2**60),
            st.integers(-(10**8), 10**10).map(lambda n: n / 1000),
            st.sampled_from([0.0, -0.0, 1e6, 999999.5, 999999.9995, 1e16, 123456789.5]),
        )
    )
)
def test_many_values_are_written_as_few_are(values: list[float]) -> None:
    few = [text for value in values for text in format_values([value])]
    many = format_values([*values, *[0.5] * 1000])
    different = format_values([*values, *(n + 0.5 for n in range(300))])

    assert few == many[: len(values)] == different[: len(values)]


@pytest.mark.parametrize(
    "values", [[1.0] * 3, [0.0, -0.0], [-0.0, -0.0], [math.nan] * 2, [math.inf] * 2, [1e6] * 300, [2, 2.0], [1.5]]
)
def test_a_family_whose_values_are_all_the_same_is_written_as_any_other(values: list[float]) -> None:
    family = Family("m", "h", "gauge", ("i",), [((str(n),), value) for n, value in enumerate(values)])

    assert reference.text([family]) == as_text(Writer().render([family]))


def test_every_thousandth_is_written_as_python_writes_it() -> None:
    values = [n / 1000 for n in range(0, 1_000_000_000, 9973)]

    assert list(map(repr, values)) == format_values(values)


@given(reference.pages(), reference.pages())
def test_a_writer_that_remembers_an_earlier_round_writes_the_same(first: list[Family], second: list[Family]) -> None:
    writer = Writer()
    writer.render(first)
    again = [*second, *(f for f in first if f.name not in {s.name for s in second})]

    assert reference.text(again) == as_text(writer.render(again))


def test_rows_that_move_take_their_labels_with_them() -> None:
    writer = Writer()
    writer.render([JOBS])
    moved = Family(JOBS.name, JOBS.help, JOBS.type, JOBS.labels, JOBS.rows[::-1])

    assert reference.text([moved]) == as_text(writer.render([moved]))


def test_a_family_that_changes_its_labels_is_written_with_the_new_ones() -> None:
    writer = Writer()
    writer.render([JOBS])
    changed = Family(JOBS.name, JOBS.help, "counter", ("scheduler", "job_id", "cluster"), JOBS.rows)

    assert reference.text([changed]) == as_text(writer.render([changed]))


def test_families_with_the_same_rows_share_their_labels_and_keep_what_has_not_changed() -> None:
    writer = Writer()
    rows = [((str(n),), float(n)) for n in range(5)]

    def render(value: float) -> tuple[Block, ...]:
        return writer.render(
            [Family("a", "h", "gauge", ("i",), rows), Family("b", "h", "gauge", ("i",), [(("0",), value)])]
        )

    first, zero, negative = render(1.0), render(0.0), render(-0.0)

    assert first[0] is zero[0] is negative[0]
    assert [b'b{i="0"} 1.0\n', b'b{i="0"} 0.0\n', b'b{i="0"} -0.0\n'] == [r[1].samples for r in (first, zero, negative)]


def test_a_help_that_changes_is_written() -> None:
    writer = Writer()
    blocks = [writer.render([Family("a", text, "gauge", (), [((), 1.0)])])[0] for text in ("one", "two")]

    assert [b"# HELP a one\n# TYPE a gauge\n", b"# HELP a two\n# TYPE a gauge\n"] == [b.text_header for b in blocks]


def test_series_that_left_are_forgotten() -> None:
    writer = Writer()
    for round_ in range(50):
        rows = [((str(1000 * round_ + i),), 1.0) for i in range(100)]
        writer.render([Family("m", "h", "gauge", ("job_id",), rows)])

    remembered = len(writer._labels["job_id",]._known)

    assert remembered <= 2 * 100 + 100


@given(st.lists(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=8), max_size=9))
def test_rows_that_come_back_made_anew_or_as_they_were_are_written_right(
    rounds: list[list[tuple[str, int, bool]]],
) -> None:
    writer, kept = Writer(), [(str(n), f'"{n}') for n in range(10)]
    for rows in rounds:
        labels = {n: kept[n] if same else (str(n), f'"{n}') for _, n, same in rows}
        families = [
            Family(name, "h", "gauge", ("i", "a"), [(labels[n], 1.0) for which, n, _ in rows if which == name])
            for name in ("a", "b")
        ]

        assert as_text(Writer().render(families)) == as_text(writer.render(families))


def test_what_utf8_cannot_say_is_replaced_and_the_rest_of_the_page_is_whole() -> None:
    family = Family("m", "h", "gauge", ("name",), [(("bad\udcff\udce9",), 1.0), (("good é",), 2.0)])

    page = as_text(Writer().render([family])).decode()

    assert page == '# HELP m h\n# TYPE m gauge\nm{name="bad\ufffd\ufffd"} 1.0\nm{name="good é"} 2.0\n'


def test_values_that_are_not_finite_are_spelt_as_prometheus_spells_them() -> None:
    expected = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}
    rows = [((str(i),), v) for i, v in enumerate(expected.values())]

    page = as_text(Writer().render([Family("m", "h", "gauge", ("i",), rows)])).decode()

    assert list(expected) == [line.rpartition(" ")[2] for line in page.splitlines()[2:]]


def test_a_family_without_rows_keeps_its_headers() -> None:
    empty = Family("m", "h", "gauge", ("a",), [])

    assert as_text(Writer().render([empty])) == b"# HELP m h\n# TYPE m gauge\n"


def test_a_row_that_does_not_fit_its_family_is_refused() -> None:
    with pytest.raises(ValueError, match="family m has labels"):
        Writer().render([Family("m", "h", "gauge", ("a", "b"), [(("only one",), 1.0)])])


def test_a_family_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Writer().render([JOBS, JOBS])


@pytest.mark.parametrize(
    ("name", "kind", "labels", "says"),
    [
        ("2fast", "gauge", (), "not a metric name"),
        ("m\n", "gauge", (), "not a metric name"),
        ("m", "counter", (), "ends in _total"),
        ("_total", "counter", (), "ends in _total"),
        ("m", "info", (), "ends in _info"),
        ("m", "summary", (), "unknown type"),
        ("m", "gauge", ("__name__",), "not a label name"),
        ("m", "gauge", ("a-b",), "not a label name"),
        ("m", "gauge", ("a", "a"), "appears twice"),
    ],
)
def test_a_family_that_prometheus_would_refuse_is_refused_when_it_is_made(
    name: str, kind: str, labels: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        Family(name, "h", kind, labels, [])
