"""Lines of the chargeback out of columns: the bytes of `accounting.statements.chargeback`, many times as fast.

Nothing is made of a single line but the name of it; all else is put side by side for many lines at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

import numpy as np

from accounting.bulk.letters import Letters, beside, chosen, fixed, moments, rows, same, texts
from accounting.bulk.names import Told
from accounting.bulk.sums import WORDS, Sums
from accounting.model import Usage
from accounting.reconcile.sweep.columns import Ints
from accounting.statements.chargeback import money, telemetry
from accounting.statements.csvtext import cell
from accounting.statements.hours import DECIMALS, hours_text
from exporters.model import Disposition

_CHARGED, _SHOWN = WORDS.index(Disposition.CHARGED), WORDS.index(None)
_WORDS = [word.value if word else "" for word in WORDS]
_NAME = 10
"""Bytes of the digest that name a line (`accounting.rates.rating.line_id`)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What all lines of a statement have in common. ``prices`` are what `accounting.bulk.charges.Priced` numbers.

    ``places`` are schedulers' clusters.
    """

    billing_period: str
    currency: str
    digits: int
    projects: Sequence[str]
    models: Sequence[str]
    prices: Sequence[Decimal]
    places: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some lines in the order of the statement: their sums, printed millionths of an hour, minor units and prices."""

    sums: Sums
    micro: Ints
    minor: Ints
    price: Ints


@dataclass(frozen=True, slots=True)
class Who:
    """What some lines say of their jobs or of the linked ones. ``place`` numbers `Frame.places`, -1 is nobody's."""

    told: Told
    place: Ints


def rendered(lines: Slice, frame: Frame, own: Who, linked: Who) -> bytes:
    """The lines as the CSV has them, each with its end."""
    sums = lines.sums
    if not len(sums):
        return b""
    heads, abouts = _heads(sums, frame, own)
    runs, others = own.told.runs(), linked.told.runs()
    lengths = [f"{n}:".encode() for n in range(1 + int(max(own.told.letters.max(), linked.told.letters.max())))]
    framed = [_framed(*place) for place in (*frame.places, ("", ""))]
    ends = [_framed(model, word) for model in frame.models for word in _WORDS]
    names = zip(
        abouts,
        [lengths[n] for n in own.told.letters.tolist()],
        runs,
        [ends[n] for n in (sums.model.astype(np.int64) * len(_WORDS) + sums.word).tolist()],
        [framed[n] for n in linked.place.tolist()],
        [lengths[n] for n in linked.told.letters.tolist()],
        others,
        strict=True,
    )
    sha256 = hashlib.sha256
    digests = [sha256(name).digest() for name in map(b"".join, names)]
    hexed = b"".join(digests).hex().encode()
    tails = [b"L%b\r\n" % hexed[n : n + 2 * _NAME] for n in range(0, len(hexed), 64)]
    middles = rows(_middle(lines, frame))
    slashed, linked_runs = _linked(frame, linked, others)
    whole = zip(heads, own.told.cells(), middles, slashed, linked_runs, tails, strict=True)
    return b"".join(chain.from_iterable(whole)).translate(None, b"\0")


def _heads(sums: Sums, frame: Frame, own: Who) -> tuple[list[bytes], list[bytes]]:
    """Of each line the cells before the job's, each with its comma, and the beginning of what its name is made of."""
    places = len(frame.places) + 1
    codes, which = np.unique(sums.project.astype(np.int64) * places + own.place + 1, return_inverse=True)
    heads, abouts = [], []
    for project, place in (divmod(code, places) for code in codes.tolist()):
        scheduler, cluster = frame.places[place - 1] if place else ("", "")
        name = frame.projects[project]
        heads.append(f"{frame.billing_period},{cell(name)},{scheduler},{cell(cluster)},".encode())
        abouts.append(_framed(frame.billing_period, name, scheduler, cluster))
    numbers = which.tolist()
    return [heads[n] for n in numbers], [abouts[n] for n in numbers]


def _linked(frame: Frame, linked: Who, runs: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The cell that names the linked record, in two halves: its cluster, and its run with a comma."""
    before = [f"{scheduler}/{cluster}/" for scheduler, cluster in frame.places]
    plain = np.array([*(cell(text) == text for text in before), True])
    slashed = [text.encode() for text in (*before, "")]
    found, ends = [slashed[n] for n in linked.place.tolist()], [*runs]
    for n in np.flatnonzero(~(plain[linked.place] & linked.told.plain)).tolist():
        run = runs[n][:-1].decode("utf-8", "surrogatepass")
        found[n], ends[n] = cell(before[linked.place[n]] + run).encode(), b","
    return found, ends


def _middle(lines: Slice, frame: Frame) -> Letters:
    """The cells from gpu_model to disposition, each with its comma."""
    sums = lines.sums
    there, comma = sums.start < sums.end, same(",", len(sums))
    charged = sums.word == _CHARGED
    held = np.where((sums.word == _SHOWN) | (charged & (sums.held != sums.charged)), _micro(sums.held), lines.micro)
    return beside(
        [
            chosen([f"{cell(model)}," for model in frame.models], sums.model),
            moments(sums.start, there),
            comma,
            moments(sums.end, there),
            comma,
            fixed(held, DECIMALS, hours_text),
            comma,
            fixed(np.where(charged, lines.micro, 0), DECIMALS, hours_text),
            comma,
            _measured(sums),
            chosen([f",{money(price, frame.digits)}," for price in frame.prices], lines.price),
            fixed(lines.minor, frame.digits, lambda minor: money(Decimal(minor).scaleb(-frame.digits), frame.digits)),
            chosen([f",{frame.currency},{word}," for word in _WORDS], sums.word),
        ]
    )


def _micro(quantities: Ints) -> Ints:
    """`accounting.statements.hours.micro_hours`."""
    whole, rest = np.divmod(quantities * 10, 36)
    whole += (rest > 18) | ((rest == 18) & (whole % 2 == 1))
    return whole


def _measured(sums: Sums) -> Letters:
    if not sums.measured:
        return same(",,", len(sums))
    found = [",,"] * len(sums)
    for n in sums.measured:
        found[n] = ",".join(telemetry(_usage(sums, n)))
    return texts(found)


def _usage(sums: Sums, n: int) -> Usage:
    observed, active, joules, seen, expected = sums.measured[n]
    return Usage(
        "", None, "", None, int(sums.held[n]), 0, 0, 0,
        observed_gpu_seconds=observed, active_seconds=active, energy_joules=joules,
        samples_seen=round(seen), samples_expected=round(expected),
    )  # fmt: skip


def line_name(
    frame: Frame, project: int, who: tuple[str, str, str], model: int, word: int, other: tuple[str, str, str]
) -> str:
    """`accounting.rates.rating.line_id` of one line; ``who`` and ``other``: scheduler, cluster and run of its jobs."""
    about = (frame.billing_period, frame.projects[project], *who, frame.models[model], _WORDS[word], *other)
    return "L" + hashlib.sha256(_framed(*about)).digest()[:_NAME].hex()


def _framed(*parts: str) -> bytes:
    return "".join(f"{len(part)}:{part}," for part in parts).encode("utf-8", "surrogatepass")
