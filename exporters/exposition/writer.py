"""The fast writer: families to Prometheus text, byte for byte what prometheus-client writes for the same data.

The label part of a series is rendered and escaped once and remembered; a round only renders values and joins. A
family's sample lines are the same in the two formats (text 0.0.4 and OpenMetrics 1.0), so they are rendered once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from exporters.exposition.family import Columns, Family
from exporters.exposition.number import format_values

OPENMETRICS_END = b"# EOF\n"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TO_ESCAPE = re.compile('[\\\\\n"\ud800-\udfff]')


@dataclass(frozen=True, slots=True)
class Block:
    """One rendered family: its two headers and the sample lines they share, UTF-8, each ending in a newline."""

    text_header: bytes
    openmetrics_header: bytes
    samples: bytes


def as_text(blocks: Iterable[Block]) -> bytes:
    """The page in Prometheus text 0.0.4."""
    return b"".join(part for block in blocks for part in (block.text_header, block.samples))


def as_openmetrics(blocks: Iterable[Block]) -> bytes:
    """The page in OpenMetrics 1.0, without its last line (`OPENMETRICS_END`), so that pages can be joined."""
    return b"".join(part for block in blocks for part in (block.openmetrics_header, block.samples))


class Writer:
    """Renders rounds of families. Keep one for the life of the process: it remembers the label parts.

    Not for use by two threads at once. What a family no longer holds is forgotten after the round.
    """

    def __init__(self) -> None:
        self._families: dict[str, _Labels] = {}

    def render(self, families: Iterable[Family]) -> tuple[Block, ...]:
        """One block per family, in the given order. Raises ValueError for a row that does not fit its family.

        A family that comes twice is refused: Prometheus drops such a page.
        """
        seen: dict[str, _Labels] = {}
        blocks = []
        for family in families:
            if family.name in seen:
                raise ValueError(f"family {family.name} is in the page twice")
            labels = self._families.get(family.name)
            if labels is None or labels.names != family.labels:
                labels = _Labels(family.name, family.labels)
            seen[family.name] = labels
            blocks.append(_block(family, labels))
        self._families = seen
        return tuple(blocks)


def _block(family: Family, labels: _Labels) -> Block:
    rows = family.rows
    if not isinstance(rows, Columns):
        rows = Columns([row[0] for row in rows], [row[1] for row in rows])
    prefixes = labels.prefixes(rows.labels)
    parts = [""] * (2 * len(prefixes))
    parts[::2] = prefixes
    parts[1::2] = format_values(rows.values)
    samples = "".join(parts)[1:] + "\n" if parts else ""
    kind = {"info": "gauge", "unknown": "untyped"}.get(family.type, family.type)
    doc = _utf8(family.help).replace("\\", r"\\").replace("\n", r"\n")
    quoted = doc.replace('"', r"\"")
    return Block(
        text_header=f"# HELP {family.name} {doc}\n# TYPE {family.name} {kind}\n".encode(),
        openmetrics_header=f"# HELP {family.base} {quoted}\n# TYPE {family.base} {family.type}\n".encode(),
        samples=samples.encode(),
    )


class _Labels:
    r"""The rendered left sides of one family: ``\nname{a="b",…} `` per tuple of label values.

    Each begins with the newline of the line before, so that values need no newline of their own.
    """

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.names = names
        self._name = name
        self._order = sorted(range(len(names)), key=names.__getitem__)
        pairs = ",".join(f'{names[i]}="%s"' for i in self._order)
        self._template = f"\n{name}{{{pairs}}} " if pairs else f"\n{name} "
        self._known: dict[tuple[str, ...], str] = {}
        self._keys: Sequence[tuple[str, ...]] = []
        self._prefixes: list[str] = []

    def prefixes(self, keys: Sequence[tuple[str, ...]]) -> Sequence[str]:
        if keys != self._keys:  # the same rows in the same order, round after round, is the common case
            known = self._known
            prefixes = [known.get(key) or self._meet(key) for key in keys]
            if len(known) > 2 * len(keys) + 100:
                self._known = dict(zip(keys, prefixes, strict=True))
            self._keys, self._prefixes = keys, prefixes
        return self._prefixes

    def _meet(self, key: tuple[str, ...]) -> str:
        if len(key) != len(self.names):
            raise ValueError(f"family {self._name} has labels {self.names}, but a row has the values {key}")
        values = tuple(map(_escape, key)) if _TO_ESCAPE.search("".join(key)) else key
        prefix = self._known[key] = self._template % tuple(values[i] for i in self._order)
        return prefix


def _escape(value: str) -> str:
    return _utf8(value).replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _utf8(text: str) -> str:
    """Text that UTF-8 can say: names read with surrogateescape hold lone surrogates."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)
