"""prometheus-client as the judge: what it reads, and what it writes for the same families."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, UnknownMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporters.exposition.family import Family

Flat = tuple[str, tuple[tuple[str, str], ...], str, str]


def flat(name: str, labels: Mapping[str, str], value: float, time: float | None) -> Flat:
    """A sample in a form that compares: NaN equals NaN, and the order of labels does not matter."""
    try:
        number = float(value)
    except OverflowError:  # the reference reads long integers as such
        number = math.copysign(math.inf, value)
    return name, tuple(sorted(labels.items())), repr(number), repr(time if time is None else float(time))


def read(text: str) -> list[Flat]:
    """What the reference reads, with the names as served (it adds ``_total`` to counters that lack it).

    Raises ValueError also where the reference takes a lone word (``NaN``) for a series, which is an accident of it.
    """
    if any(re.fullmatch(r"[^ \t}#]+", line.strip()) for line in text.split("\n")):
        raise ValueError("a name without a value")
    found = []
    for metric in text_string_to_metric_families(text):
        for sample in metric.samples:
            name = sample.name
            if metric.type == "counter" and f"# TYPE {metric.name}_total" not in text:
                name = name.removesuffix("_total")
            found.append(flat(name, sample.labels, sample.value, sample.timestamp))
    return found


class Collector:
    """The families as a prometheus-client collector serves them."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return map(_metric, self._families)


def _metric(family: Family) -> Metric:
    if family.type == "counter":
        metric: Metric = CounterMetricFamily(family.name, family.help, labels=family.labels)
    elif family.type == "gauge":
        metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    elif family.type == "info":
        metric = InfoMetricFamily(family.base, family.help)
    else:
        metric = UnknownMetricFamily(family.name, family.help, labels=family.labels)
    metric.samples = [
        Sample(family.name, dict(zip(family.labels, values, strict=True)), value) for values, value in family.rows
    ]
    return metric


def _registry(families: Sequence[Family]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(families))
    return registry


def text(families: Sequence[Family]) -> bytes:
    """The page as the reference writes it in Prometheus text."""
    return generate_latest(_registry(families))


def openmetrics(families: Sequence[Family]) -> bytes:
    """The page as the reference writes it in OpenMetrics."""
    return generate_openmetrics(_registry(families))


_VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**63), 2**63),
    st.sampled_from([0.0, -0.0, 999999.0, 1e6, 1234567.0, 9999999999999998.0, 1e16, 1e-7, -1e7, 100000.5, 1e6 + 0.1]),
)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", "\\", '"', "\n", "\\n", 'a"b\\', "}", "{", 'x="1",', "# HELP", " ", "é", "\U0001f600", "\r", "\u2028", "%s"]
)
_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
_LABEL_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,6}", fullmatch=True)
_SUFFIX = {"counter": "_total", "info": "_info", "gauge": "", "unknown": ""}


@st.composite
def _family(draw: st.DrawFn, base: str) -> Family:
    kind = draw(st.sampled_from(["counter", "info", "gauge", "unknown"]))
    labels = tuple(draw(st.lists(_LABEL_NAMES, unique=True, max_size=4)))
    rows = draw(st.lists(st.tuples(st.tuples(*[_TEXT] * len(labels)), _VALUES), max_size=5))
    return Family(base + _SUFFIX[kind], draw(_TEXT), kind, labels, rows)


def pages() -> st.SearchStrategy[list[Family]]:
    """Lists of families with different names, hostile label values and help texts, and every kind of value."""
    # A name that ends in a suffix of another type would be two families in one.
    bases = _NAMES.filter(lambda n: not n.endswith(("_total", "_info", "_created", "_gsum", "_gcount")))
    return st.lists(bases, unique=True, max_size=4).flatmap(lambda names: st.tuples(*map(_family, names)).map(list))
