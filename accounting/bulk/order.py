"""The order of a statement's lines, by columns: that of `accounting.rates.rating.line_order`.

Numbers decide it nearly always; where they do not, the names of just those lines are fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from accounting.bulk.lines import Frame, line_name
from accounting.bulk.sums import Sums
from accounting.reconcile.sweep.columns import Ints

Name = tuple[str, str, str]
"""Scheduler, cluster and run of a job."""

NOBODY: Name = ("", "", "")

_SECONDS = 32
"""Bits that hold the seconds of any stretch of time that a statement may be about."""


def statement_order(sums: Sums, place: Ints, names: Callable[[Ints], Mapping[int, Name]], frame: Frame) -> Ints:
    """The places of the lines in the order of the statement. ``place`` ranks each one's scheduler's cluster."""
    rank = np.empty(len(frame.projects), dtype=np.int64)
    rank[sorted(range(len(frame.projects)), key=frame.projects.__getitem__)] = np.arange(len(frame.projects))
    nobody, places = sums.job == 0, len(frame.places) + 1
    who = (nobody * len(rank) + rank[sums.project]) * places + place + 1
    first = int(sums.start.min()) if len(sums) else 0
    start = np.where(nobody, 0, sums.start - first)
    key = (who << _SECONDS) | start
    order = np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    like = np.zeros(len(order), dtype=bool)
    like[1:] |= same
    like[:-1] |= same
    again = np.flatnonzero(like)
    if len(again):
        group = np.cumsum(np.concatenate([[True], ~same]))[again].tolist()
        order[again] = _sorted(sums, group, order[again], names, frame)
    return order


def _sorted(
    sums: Sums, group: list[int], some: Ints, names: Callable[[Ints], Mapping[int, Name]], frame: Frame
) -> list[int]:
    """Lines that the numbers put into groups: by job, model and word, and at last by the name of the line."""
    columns = [getattr(sums, name)[some].tolist() for name in ("project", "job", "model", "word", "linked")]
    told = {0: NOBODY, **names(np.concatenate([sums.job[some], sums.linked[some]]))}
    keys = [
        (n, told[job][2], frame.models[model], word) for n, job, model, word in zip(group, *columns[1:4], strict=True)
    ]
    often = Counter(keys)
    named = [
        line_name(frame, project, told[job], model, word, told[linked]) if often[key] > 1 else ""
        for key, project, job, model, word, linked in zip(keys, *columns, strict=True)
    ]
    return [n for *_, n in sorted(zip(keys, named, some.tolist(), strict=True))]
