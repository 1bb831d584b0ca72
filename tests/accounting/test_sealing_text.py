"""The text of a seal, which is put together in bulk, is the JSON that it is said to be."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from accounting.periods import sealing
from accounting.periods.sealing import canonical_parts, digest
from accounting.store.database import read, write
from accounting.store.readers import Given, readers
from accounting.store.rows import compact
from accounting.store.tables import jobs, periods, postings, transactions
from tests.accounting.october import Site, october

_POSTING = ("account", "model", "quantity", "held", "project", "unit", "start_at", "end_at", "link", "reason")

_UNITS = ("pod-7/main", 'a"b', "a\\b", "é", "☃", "\n", "\t", "\x7f~", "null,null,null", 'null,null,null","', "%s", "")


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Site:
    site = october(engine, tmp_path)
    site.run("close", "2026-10")
    return site


def odd(engine: Engine, unit: str) -> None:
    """Give the second posting another unit."""
    with write(engine) as connection:
        connection.execute(update(postings).where(postings.c.id == 2).values(unit=unit))


def spelt_out(engine: Engine, name: str) -> str:
    """The same text, row by row through a JSON writer."""
    t, p, n = transactions.c, postings.c, periods.c
    with read(engine) as connection:
        keys = {j.id: [j.scheduler, j.cluster, j.run] for j in connection.execute(select(jobs))}
        month = connection.execute(select(periods).where(n.name == name)).one()
        told = ["period", month.name, month.start_at, month.end_at, month.zone, month.closed_at, month.closed_with]
        lines = [told]
        for r in connection.execute(select(transactions).where(t.period == name).order_by(t.id)).all():
            head = ["transaction", r.id, r.kind, r.machine, r.start_at, r.end_at, r.amends]
            hashes = [bytes(r.inputs_hash).hex(), bytes(r.rules_hash).hex()]
            lines.append([*head, *hashes, r.posted_at, r.author, r.reason])
            for q in connection.execute(select(postings).where(p.transaction_id == r.id).order_by(p.id)):
                own, linked = (keys[i] if i else [None] * 3 for i in (q.job_id, q.linked_id))
                lines.append(["posting", *(getattr(q, c) for c in _POSTING), *own, *linked])
    return "".join(compact(line) + "\n" for line in lines)


def test_the_text_is_one_line_of_json_for_each_transaction_and_posting(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for together, unit in itertools.product((1, 2, 400), _UNITS):
        odd(site.engine, unit)
        expected = spelt_out(site.engine, "2026-10")
        monkeypatch.setattr(sealing, "_PART", together)
        with read(site.engine) as connection:
            assert expected == b"".join(canonical_parts(Given(connection), connection, "2026-10")).decode()
    assert {"period", "transaction", "posting"} == {json.loads(line)[0] for line in expected.splitlines()}


def test_a_seal_is_the_same_whoever_reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "_MUCH", 0)
    odd(site.engine, 'a"b\\\u2028é\n☃')
    text = spelt_out(site.engine, "2026-10").encode()
    sealed = site.run("seal", "2026-10").split()

    assert ["2026-10", hashlib.sha256(text).hexdigest()] == sealed
    with read(site.engine) as connection, readers(site.engine, much=False) as here:
        assert sealed[1] == digest(here, connection, "2026-10", b"").hex()
