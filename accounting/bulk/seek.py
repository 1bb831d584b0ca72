"""One line of a statement by its name: found a day at a time, however many lines the month has."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from accounting.bulk.lines import Frame, line_name
from accounting.bulk.order import NOBODY
from accounting.bulk.sums import WORDS, day_sums
from accounting.bulk.texts import job_names
from accounting.model import DAY
from accounting.statements.usage import Group
from accounting.store.calendar import Period


def line_named(connection: Connection, period: Period, line_id: str) -> Group | None:
    """What a line of a month's own is about; None when the month has no such line."""
    for start in range(period.start, period.end, DAY):
        sums = day_sums(connection, start, min(start + DAY, period.end))
        told = {0: NOBODY, **job_names(connection, np.concatenate([sums.job, sums.linked]))}
        frame = Frame(period.name, "", 0, sums.projects, sums.models, (), ())
        columns = (column.tolist() for column in (sums.project, sums.job, sums.model, sums.word, sums.linked))
        for project, job, model, code, linked in zip(*columns, strict=True):
            if line_name(frame, project, told[job], model, code, told[linked]) == line_id:
                word = WORDS[code]
                name = word.value if word else ""
                return Group(sums.projects[project], job or None, sums.models[model], name, linked or None)
    return None
