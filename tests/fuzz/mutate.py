"""Hostile relatives of an input: bytes flipped, cut, doubled and swapped, numbers made absurd, and words of others."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

ABSURD = (
    b"9223372036854775807", b"9223372036854775808", b"-1", b"0", b"1e999", b"99999999999999999999999999999999", b"NaN",
    b"4294967294", b"\x00", b"\xff", b"\xc2\xa0", b"\xe2\x80\xa8", b"[" * 2000, b"{" * 2000, b"a" * 5000, b"\n", b"|",
    b"[0-9999999]", b"[1-9999999999999]", b"=", b",", b":", b"(", b")", b'"', b"\\", b"${}", b"null", b"{}", b"[]",
    b"\r\n",
)  # fmt: skip
_NUMBER = re.compile(rb"\d+")


def mutated(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One relative of some seed, by up to four changes."""
    data = chance.choice(seeds)
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(_CHANGES)(data, seeds, chance)
    return data[:65536]


def _flip(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return b"\x00"
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    a, b = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:a] + data[b:]


def _double(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    a, b = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:b] + data[a:b] * chance.choice((1, 1, 2, 50)) + data[b:]


def _insert(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(ABSURD) + data[at:]


def _number(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return _insert(data, (), chance)
    one = chance.choice(found)
    return data[: one.start()] + chance.choice(ABSURD) + data[one.end() :]


def _splice(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(seeds)
    a, b = sorted((chance.randint(0, len(other)), chance.randint(0, len(other))))
    at = chance.randint(0, len(data))
    return data[:at] + other[a:b] + data[at:]


_CHANGES = (_flip, _cut, _double, _insert, _number, _splice)
