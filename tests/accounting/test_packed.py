"""Many rows that the database puts into one text come out of it as they were."""

from __future__ import annotations

import json

import numpy as np
from sqlalchemy import Engine, select

from accounting.bulk.packed import numbers, numbers_of, texts, texts_of
from accounting.database import insert_many, read, write
from accounting.tables import postings

ROWS = [
    (1, 1, "charged", "h100", 1 << 62, "a b", None, 0, 5, 0),
    (2, 1, "idle", "", -3, "", 7, 0, 5, 1),
    (3, 1, "", 'x"y\\\n\x1f', 0, '3 4 "é☃', 8, 0, 5, 2),
]
_P = postings.c


def test_numbers_and_texts_are_those_of_the_rows(engine: Engine) -> None:
    columns = (
        "id",
        "transaction_id",
        "account",
        "model",
        "quantity",
        "project",
        "job_id",
        "start_at",
        "end_at",
        "held",
    )
    with write(engine) as connection:
        insert_many(connection, postings, columns, ROWS)
    name = engine.dialect.name
    figures = (_P.id, _P.job_id, _P.quantity)
    with read(engine) as connection:
        query = select(numbers(name, figures), texts(name, (_P.project, _P.model, _P.account)))
        one, other = connection.execute(query).one()
    found = numbers_of(one, 3)
    named = [texts_of(row, 3) for row in json.loads(other)]

    assert np.int64 == found.dtype
    # in the order in which the database has them, and both in the same
    assert sorted(([r[0], r[6] or 0, r[4]], [r[5], r[3], r[2]]) for r in ROWS) == sorted(
        zip(found.tolist(), named, strict=True)
    )
