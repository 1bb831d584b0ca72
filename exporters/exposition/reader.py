r"""The fast reader of Prometheus text: what was parsed once is not parsed again.

An exporter serves the same series round after round; only the values change. So each series' left side
(``name{labels} ``) is parsed when it is first met and remembered, and a body whose lines stand where they stood in an
earlier round is read by position: one comparison per line, one float per wanted series. When the order changed,
or anything is new, the exact path takes over for that body. Both paths give what prometheus-client's parser gives for
any input it accepts. (Comments are checked on the exact path only: they say nothing that is kept.)

>>> reader = Reader(wanted={"up"})
>>> reader.read(b'up{node="a"} 1\nbuild_info{version="2"} 1\n').samples()
[('up', {'node': 'a'}, 1.0, None)]
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from sys import intern

from exporters.exposition.line import NAME, Line, check_comment, parse_odd, parse_plain

_REMEMBERED_LAYOUTS = 4  # dcgm-exporter writes its groups of fields (cards, switches, links, CPUs) in random order


class ExpositionError(ValueError):
    """A body is not Prometheus text, or is beyond a limit. The message says which line, or which limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one body may cost. Beyond ``size`` (bytes), ``lines`` or ``label`` it is refused (the label: its line).

    ``label`` is the most characters in one label value; ``odd`` the most lines that only the slow reference parser
    understands, or nobody does, in one body; ``series`` the most wanted series in one body.
    """

    size: int = 16 << 20
    lines: int = 1_000_000
    label: int = 4096
    odd: int = 10_000
    series: int = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Name and labels of one series. Series with the same label text share one ``labels`` mapping object."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Layout:
    """Which wanted series a body holds, in its order. The same object for as long as the body keeps its form.

    A consumer works out once per layout what each position means, and keeps that under the layout.
    """

    series: tuple[Series, ...]
    form: Form | None = field(default=None, repr=False)  # None: this body cannot be read by position


Pick = Callable[[Sequence[str]], Sequence[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What the lines of a body begin with: ``wanted`` picks those with a value to keep, ``other`` the others.

    ``size`` is the sum of the lengths of ``prefixes``, which are all of a wanted line but its value.
    """

    lines: int
    wanted: Pick
    prefixes: tuple[str, ...]
    size: int
    other: Pick
    beginnings: tuple[str, ...]

    def values(self, lines: Sequence[str]) -> list[float] | None:
        """The values of a body whose lines begin so; None for any other body, and where a value is no lone number."""
        if len(lines) != self.lines or not all(map(str.startswith, self.other(lines), self.beginnings)):
            return None
        picked = self.wanted(lines)
        tokens = list(map(str.removeprefix, picked, self.prefixes))
        text = "".join(tokens)
        if len(text) + self.size != sum(map(len, picked)):
            return None  # some line did not begin so, and is there as a whole
        try:
            values = list(map(float, tokens))
        except ValueError:
            return None
        return None if "_" in text else values  # Python reads 1_000, Prometheus does not


@dataclass(frozen=True, slots=True)
class Reading:
    """One body's wanted samples: ``values[i]`` belongs to ``layout.series[i]``, in the order of the body.

    ``times`` are the timestamps in seconds of the few series that carry one, by position. ``bad`` are the lines that
    could not be read, as ``(line number, reason)``; always empty from a strict reader.
    """

    layout: Layout
    values: Sequence[float]
    times: Mapping[int, float] = field(default_factory=dict)
    bad: tuple[tuple[int, str], ...] = ()

    def samples(self) -> list[tuple[str, Mapping[str, str], float, float | None]]:
        """The samples spelt out, for people and tests."""
        return [
            (series.name, series.labels, value, self.times.get(i))
            for i, (series, value) in enumerate(zip(self.layout.series, self.values, strict=True))
        ]


class Reader:
    """Reads one endpoint's bodies, round after round. One reader per endpoint; not for use by two threads at once.

    ``wanted`` are the series names to keep, None for all. A line of an unwanted family is looked at no further than its
    name, so that it costs neither memory nor time. ``strict`` refuses a body with an unreadable line, as Prometheus
    does; otherwise the line is told in `Reading.bad` and the rest is read: one hostile label must not blind a node.
    """

    def __init__(self, wanted: Container[str] | None = None, limits: Limits = Limits(), strict: bool = True) -> None:
        self._wanted = wanted
        self._limits = limits
        self._strict = strict
        self._known: dict[str, Series] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._layouts: list[Layout] = []

    def read(self, body: bytes) -> Reading:
        """Parse one body. Raises `ExpositionError`; what was learnt from earlier bodies stays valid then."""
        lines = self._split(body)
        for i, layout in enumerate(self._layouts):
            values = layout.form.values(lines) if layout.form is not None else None
            if values is not None:
                self._layouts.insert(0, self._layouts.pop(i))
                return Reading(layout, values)
        return self._learn(lines)

    def _split(self, body: bytes) -> list[str]:
        if len(body) > self._limits.size:
            raise ExpositionError(f"the body has {len(body)} bytes, more than the limit of {self._limits.size}")
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise ExpositionError(f"the body is not UTF-8 text (at byte {error.start}): not a metrics page") from error
        lines = text.split("\n", self._limits.lines + 1)
        if len(lines) > self._limits.lines + 1:
            raise ExpositionError(f"the body has more than {self._limits.lines} lines, the limit")
        if len(lines) > 1 and not lines[-1]:
            lines.pop()
        return lines

    def _learn(self, lines: list[str]) -> Reading:
        """The exact path: every line by its left side, parsed where it is new. Remembers the layout it found."""
        page = _Page()
        known = self._known
        for number, line in enumerate(lines, 1):
            cut = line.rfind(" ") + 1
            series = known.get(line[:cut])
            token = line[cut:]
            if series is not None and "_" not in token:
                try:
                    page.keep(series, float(token), line[:cut])
                except ValueError:
                    pass  # the left side is known, but what follows is not a lone value: met as if new
                else:
                    continue
            try:
                self._meet(line, page)
            except ValueError as error:
                page.bad.append((number, f"{error or 'malformed'}: {line[:200]!r}"))
                if self._strict:
                    raise ExpositionError(f"line {number} is not Prometheus text: {page.bad[-1][1]}") from error
            if len(page.values) > self._limits.series:
                raise ExpositionError(f"the body has more than {self._limits.series} wanted series, the limit")
            if page.odd + len(page.bad) > self._limits.odd:
                raise ExpositionError(f"more than {self._limits.odd} unreadable lines (the limit): not a metrics page")
        layout = page.layout()
        if layout.form is not None:
            self._layouts = [layout, *self._layouts[: _REMEMBERED_LAYOUTS - 1]]
        self._forget(page)
        return Reading(layout, page.values, page.times, tuple(page.bad))

    def _meet(self, raw: str, page: _Page) -> None:
        """A line that is not known: blank, a comment, of an unwanted family, or a new series. Raises ValueError."""
        line = raw.strip()
        if not line:
            page.by_position = False  # an empty prefix would vouch for any line
            return
        if line.startswith("#"):
            check_comment(line)
            page.skip("#")
            return
        name = NAME.match(raw)
        if name and self._wanted is not None and name.group() not in self._wanted and raw[name.end() :][:1] in "{ \t":
            page.skip(intern(raw[: name.end() + 1]))  # the same in every page of a fleet
            return
        plain = parse_plain(line, self._labels)
        if plain is None:
            page.odd += 1
        parsed = plain or parse_odd(line)
        if self._wanted is not None and parsed.name not in self._wanted:
            page.by_position = False
            return
        if any(len(value) > self._limits.label for value in parsed.labels.values()):
            raise ValueError(f"a label value of {parsed.name} is longer than the limit of {self._limits.label}")
        self._keep(raw, parsed, page, shared=plain is not None and raw == line)

    def _keep(self, raw: str, parsed: Line, page: _Page, shared: bool) -> None:
        cut = raw.rfind(" ") + 1
        left = raw[:cut]
        if parsed.time is not None or not parsed.token or raw[cut:].strip() != parsed.token:
            # The left side alone does not say where the value begins: parsed anew each time.
            page.keep(Series(parsed.name, parsed.labels), parsed.value, None, parsed.time)
            return
        labels = self._labels.setdefault(left[len(parsed.name) : -1], parsed.labels) if shared else parsed.labels
        series = self._known[left] = Series(parsed.name, labels)
        page.keep(series, parsed.value, left)

    def _forget(self, page: _Page) -> None:
        """Drop what has not been served lately, so that job churn does not grow the memory."""
        if len(self._known) > 2 * len(page.values) + 1000:
            forms = [layout.form for layout in self._layouts if layout.form is not None]
            current = {left for form in forms for left in form.prefixes}.union(page.prefixes)
            self._known = {left: series for left, series in self._known.items() if left in current}
            used = {id(series.labels) for series in self._known.values()}
            self._labels = {text: labels for text, labels in self._labels.items() if id(labels) in used}


class _Page:
    """What the exact path has found so far in one body."""

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.values: list[float] = []
        self.times: dict[int, float] = {}
        self.bad: list[tuple[int, str]] = []
        self.odd = 0
        self.by_position = True
        self.prefixes: list[str] = []
        self._wanted: list[int] = []

    def skip(self, prefix: str) -> None:
        """A line that holds nothing wanted, as long as it begins with ``prefix``."""
        self.prefixes.append(prefix)

    def keep(self, series: Series, value: float, prefix: str | None, time: float | None = None) -> None:
        """A wanted sample; ``prefix`` is all of its line but the value, None when that cannot be said."""
        if time is not None:
            self.times[len(self.values)] = time
        self.series.append(series)
        self.values.append(value)
        if prefix is None:
            self.by_position = False
            return
        self._wanted.append(len(self.prefixes))
        self.prefixes.append(prefix)

    def layout(self) -> Layout:
        """The layout of the whole body."""
        if not self.by_position or self.bad:
            return Layout(tuple(self.series))
        kept = set(self._wanted)
        other = [i for i in range(len(self.prefixes)) if i not in kept]
        prefixes = tuple(self.prefixes[i] for i in self._wanted)
        form = Form(
            len(self.prefixes),
            _pick(tuple(self._wanted)),
            prefixes,
            sum(map(len, prefixes)),
            _pick(tuple(other)),
            tuple(self.prefixes[i] for i in other),
        )
        return Layout(tuple(self.series), form)


@lru_cache(maxsize=1024)
def _pick(places: tuple[int, ...]) -> Pick:
    """What takes the lines at these places out of a body of the right length: one for all the readers of a fleet."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda lines: [lines[place] for place in places]
