"""One line of Prometheus text, parsed exactly: the plain form here, every oddity by prometheus-client itself.

Plain is what exporters write: ``name{label="value",…} 1.5 [timestamp]``, one space between the parts. What is legal but
odd (tabs, quoted names, a leading comma) is rare, so it is handed to the reference parser, line by line. That keeps
the two in agreement by construction where the grammar is murky, and the pattern below small enough to be believed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
VALUE = re.compile(r"[-+.0-9a-zA-Z]+")

_TIME = re.compile(r"-?[0-9]{1,18}")
_PAIR = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"'
_LABELS = re.compile(rf"\{{(?:{_PAIR}(?:,{_PAIR})*,?)?\}}", re.DOTALL)
_EACH = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_SEPARATED = re.compile(r"[ \t}]")
_ESCAPE = re.compile(r'\\[\\n"]')
_UNESCAPED = {r"\\": "\\", r"\n": "\n", r"\"": '"'}
_COMMENT = re.compile(
    r"#(?:\Z|\s(?!\s*(?:HELP|TYPE)(?:\s|\Z)))"  # said to nobody
    r"|# HELP [a-zA-Z_:][a-zA-Z0-9_:]*(?: |\Z)"
    r"|# TYPE [a-zA-Z_:][a-zA-Z0-9_:]* (?:counter|gauge|histogram|summary|untyped|unknown|info|stateset)\Z",
    re.ASCII,
)


class Line(NamedTuple):
    """A parsed sample line. ``labels`` is the very mapping that was passed in as known, where the text was the same.

    ``token`` is the value as written (empty when it does not stand alone at the end of the line), ``time`` the
    timestamp in seconds, None when there is none.
    """

    name: str
    labels: Mapping[str, str]
    token: str
    value: float
    time: float | None


def parse_labels(text: str) -> dict[str, str] | None:
    r"""``{a="b",…}`` to a dict; None when the text is not in the plain form (it may still be legal).

    >>> parse_labels('{gpu="0",pod="a\\"b",}')
    {'gpu': '0', 'pod': 'a"b'}
    """
    if not _LABELS.fullmatch(text):
        return None
    pairs = _EACH.findall(text)
    if "\\" in text:
        pairs = [(name, _ESCAPE.sub(lambda m: _UNESCAPED[m.group()], value)) for name, value in pairs]
    labels = dict(pairs)
    # Repeated and reserved names are the reference's to refuse.
    return None if len(labels) != len(pairs) or any(n.startswith("__") for n in labels) else labels


def parse_plain(line: str, known: Mapping[str, Mapping[str, str]]) -> Line | None:
    """A line in the plain form; None when it is not. ``known`` maps label texts to their parsed labels.

    ``known`` is what makes new series cheap: the thirty families of one card differ in their name and value only.
    """
    name = NAME.match(line)
    left, _, token = line.rpartition(" ")
    if name is None or not left:
        return None
    time = None
    labels = _labels_after(name.end(), left, known)
    if labels is None:
        left, _, value = left.rpartition(" ")
        if not _TIME.fullmatch(token) or (labels := _labels_after(name.end(), left, known)) is None:
            return None
        time, token = int(token) / 1000, value
    if not VALUE.fullmatch(token):
        return None
    try:
        return Line(name.group(), labels, token, float(token), time)
    except ValueError:
        return None


def _labels_after(end: int, left: str, known: Mapping[str, Mapping[str, str]]) -> Mapping[str, str] | None:
    if len(left) <= end:
        return {} if len(left) == end else None
    text = left[end:]
    found = known.get(text)
    return found if found is not None else parse_labels(text)


def parse_odd(line: str) -> Line:
    """Any line that prometheus-client accepts as a sample. Raises ValueError as it does.

    One exception: it takes a lone word that spells a number (``NaN``) for a series ``Na``; Prometheus does not.
    """
    if not _SEPARATED.search(line):
        raise ValueError("a name without a value")
    (metric,) = _by_reference(line)
    (sample,) = metric.samples
    try:
        value = float(sample.value)
    except OverflowError:  # the reference keeps long integers; as a float64 that is an infinity
        value = math.copysign(math.inf, sample.value)
    token = line[line.rfind(" ") + 1 :]
    time = None if sample.timestamp is None else float(sample.timestamp)
    return Line(sample.name, sample.labels, token if VALUE.fullmatch(token) else "", value, time)


def check_comment(line: str) -> None:
    """Raise ValueError for a HELP or TYPE line that prometheus-client refuses; any other comment is legal."""
    if not _COMMENT.match(line):
        _by_reference(line)


def _by_reference(line: str) -> list[Metric]:
    """What prometheus-client makes of a line. Raises ValueError for one that it refuses, or trips over."""
    try:
        return list(text_string_to_metric_families(line))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"malformed: {type(error).__name__}: {error}") from error
