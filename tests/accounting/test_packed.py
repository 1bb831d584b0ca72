"""Many rows that the database puts into one text come out of it as they were."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Engine, case, func, select

from accounting.bulk.packed import apart, array, digests, list_of, listed, numbers, numbers_of, rows_of, texts, texts_of
from accounting.store.database import insert_many, read, write
from accounting.store.tables import node_days, postings

COLUMNS = (
    "id", "transaction_id", "account", "model", "quantity", "project", "job_id", "start_at", "end_at", "held"
)  # fmt: skip
ROWS = [
    (1, 1, "charged", "h100", 1 << 62, "a b", None, 0, 5, 0),
    (2, 1, "idle", "", -3, "", 7, 0, 5, 1),
    (3, 1, "", 'x"y\\\n\x1f\x1e\x7f', 0, '3 4 "é☃😀', 8, 0, 5, 2),
]
DAYS = [("gn1", n, 5, bytes([n, 0, 255, 31]), b"", None, None) for n in range(3)]
_P, _N = postings.c, node_days.c


def test_numbers_and_texts_are_those_of_the_rows(engine: Engine) -> None:
    with write(engine) as connection:
        insert_many(connection, postings, COLUMNS, ROWS)
    name = engine.dialect.name
    with read(engine) as connection:
        figures = [numbers(name, column) for column in (_P.id, func.coalesce(_P.job_id, 0), _P.quantity)]
        *told, some = connection.execute(select(*figures, texts(name, (_P.project, _P.model, _P.account)))).one()
    found = [numbers_of(text) for text in told]
    named = [texts_of(row) for row in rows_of(some)]

    assert [np.int64] * 3 == [column.dtype for column in found]
    # in the order in which the database has them, and all in the same
    assert sorted(([r[0], r[6] or 0, r[4]], [r[5], r[3], r[2]]) for r in ROWS) == sorted(
        zip(np.transpose(found).tolist(), named, strict=True)
    )


def test_columns_of_texts_and_of_bytes_come_in_the_same_order(engine: Engine) -> None:
    with write(engine) as connection:
        insert_many(connection, postings, COLUMNS, ROWS)
        insert_many(connection, node_days, [c.name for c in node_days.columns], DAYS)
    name = engine.dialect.name
    with read(engine) as connection:
        some = case((_P.project == "", ""), else_=array(name, (_P.project, _P.id)))
        told = connection.execute(select(numbers(name, _P.id), listed(name, _P.model), apart(some))).one()
        query = select(numbers(name, _N.start_at), digests(name, _N.inputs_hash))
        number, hashes = connection.execute(query).one()
    columns = [
        numbers_of(told[0]).tolist(),
        list_of(told[1]),
        [text and texts_of(text)[0] for text in rows_of(told[2])],
    ]

    assert [""] == rows_of("")
    assert sorted((row[0], row[3], row[5]) for row in ROWS) == sorted(zip(*columns, strict=True))
    assert b"".join(DAYS[n][3] for n in numbers_of(number)) == bytes(hashes)


def test_of_no_rows_there_is_nothing(engine: Engine) -> None:
    name = engine.dialect.name
    with read(engine) as connection:
        query = select(numbers(name, _P.id), texts(name, (_P.project, _P.model)), listed(name, _P.project))
        told, some, names = connection.execute(query).one()

    assert ([], [], []) == (numbers_of(told).tolist(), rows_of(some), list_of(names))
