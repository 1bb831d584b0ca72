"""The order of a statement's lines, by columns: that of `accounting.rating.line_order`.

Numbers decide it nearly always; where they do not, the names of just those lines are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from accounting.bulk.lines import Frame, line_name
from accounting.bulk.sums import Sums
from accounting.bulk.texts import Said
from accounting.sweep.columns import Ints

NOBODY = Said("", "", "", "", "", "", "")


def statement_order(sums: Sums, place: Ints, said: Callable[[Ints], Mapping[int, Said]], frame: Frame) -> Ints:
    """The places of the lines in the order of the statement. ``place`` ranks each one's scheduler's cluster."""
    rank = np.empty(len(frame.projects), dtype=np.int64)
    rank[sorted(range(len(frame.projects)), key=frame.projects.__getitem__)] = np.arange(len(frame.projects))
    nobody = (sums.job == 0).astype(np.int64)
    who = (nobody << 48) | (rank[sums.project] << 16) | (place + 1)
    start = np.where(nobody, 0, sums.start)
    order = np.lexsort((start, who))
    same = (who[order][1:] == who[order][:-1]) & (start[order][1:] == start[order][:-1])
    like = np.zeros(len(order), dtype=bool)
    like[1:] |= same
    like[:-1] |= same
    again = np.flatnonzero(like)
    if len(again):
        group = np.cumsum(np.concatenate([[True], ~same]))[again].tolist()
        keys = _keys(sums, order[again], said, frame)
        order[again] = [n for *_, n in sorted(zip(group, keys, order[again].tolist(), strict=True))]
    return order


def _keys(
    sums: Sums, some: Ints, said: Callable[[Ints], Mapping[int, Said]], frame: Frame
) -> list[tuple[str, str, int, str]]:
    """What decides where the numbers do not: job, model, word, name of the line."""
    told = said(np.concatenate([sums.job[some], sums.linked[some]]))
    found = []
    columns = (getattr(sums, name)[some].tolist() for name in ("project", "job", "model", "word", "linked"))
    for project, job, model, word, linked in zip(*columns, strict=True):
        who, other = told[job] if job else NOBODY, told[linked] if linked else NOBODY
        found.append((who.run, frame.models[model], word, line_name(frame, project, who, model, word, other)))
    return found
