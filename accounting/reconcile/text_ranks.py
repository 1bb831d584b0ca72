"""The places of many texts in their order, eight letters at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Ints

_WIDE = 100
"""Texts of more letters are put in order one by one."""

_WORD = 8


def ranks(texts: Sequence[str]) -> Ints:
    """The place of each text among all in their order; equal ones have one. None may contain a zero byte."""
    together = "".join(texts)
    if together and together.isascii() and max(map(len, texts)) < _WIDE:
        return _ranked(np.array(texts, dtype=np.bytes_))
    place = {text: n for n, text in enumerate(sorted(set(texts)))}
    return np.array([place[text] for text in texts], dtype=np.int64)


def ranks_below(heads: Sequence[str], codes: Ints, tails: Sequence[str]) -> Ints:
    """`ranks` of texts that begin alike: each is the head of its code, and its tail."""
    order = sorted({*heads})
    if any(other.startswith(head) for head, other in pairwise(order)):
        return ranks([heads[code] + tail for code, tail in zip(codes.tolist(), tails, strict=True)])
    head = np.array([order.index(head) for head in heads], dtype=np.int64)[codes]
    found: Ints = np.empty(len(tails), dtype=np.int64)
    lower = 0
    for n in range(len(order)):
        which = np.flatnonzero(head == n)
        found[which] = ranks([tails[row] for row in which.tolist()]) + lower
        lower = int(found[which].max(initial=lower - 1)) + 1
    return found


def _ranked(texts: NDArray[np.bytes_]) -> Ints:
    letters = texts.view(np.uint8).reshape(len(texts), -1)
    telling = letters[:, (letters != letters[0]).any(axis=0)]
    wide = np.zeros((len(texts), max(-(-telling.shape[1] // _WORD), 1) * _WORD), dtype=np.uint8)
    wide[:, : telling.shape[1]] = telling
    words = wide.view(">u8").astype(np.uint64)
    order = np.argsort(words[:, 0])
    like, group = _alike(words[order, 0])
    some = order[like]
    order[like] = some[np.lexsort((*words[some, :0:-1].T, group[like]))]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    found: Ints = np.empty(len(order), dtype=np.int64)
    found[order] = np.cumsum(new) - 1
    return found


def _alike(ordered: NDArray[Any]) -> tuple[Ints, Ints]:
    """Which of some numbers in their order are there more than once, and the groups of equal ones by number."""
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    alone = new & np.append(new[1:], True)
    return np.flatnonzero(~alone), np.cumsum(new)
