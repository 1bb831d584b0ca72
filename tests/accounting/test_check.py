from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, select, text, update

from accounting.intake.history import ingest_history
from accounting.periods import proofs
from accounting.periods.check import Breach, breaches, check
from accounting.store.calendar import close, period_named
from accounting.store.tables import (
    claim_keys,
    claims,
    jobs,
    periods,
    postings,
    records,
    transactions,
    windows,
)
from accounting.store.tables import node_days as heads
from exporters.model import LinkKey, LinkKind
from tests.accounting.posting import post
from tests.accounting.readings import live, proved
from tests.accounting.site import DAY, T0, History, ended, gn, node, pod, running
from tests.accounting.test_ledger import booked, charged
from tests.accounting.test_reconciling import project, settle

KEY = LinkKey(LinkKind.INSIDE, "lab", "1", "label")
NOVEMBER = period_named("2026-11").start


@pytest.fixture
def sound(engine: Engine) -> Engine:
    """A ledger with a bit of everything in it, and nothing wrong."""
    live(engine, T0, nodes=[node(gn(1)), node(gn(2))], claims=[pod("a", 1, T0, keys=[KEY])])
    live(engine, T0 + 3000, nodes=[node(gn(1)), node(gn(2))], gone=[pod("a", 1, T0, T0 + 60, keys=[KEY])])
    rows = [ended(1, T0, T0 + 60, nodes=(1, 2)), running(2, T0 + 90), ended(3, T0, T0 + 5)]
    ingest_history(engine, History(rows), now=T0 + DAY, start=T0)
    ingest_history(engine, History([ended(2, T0 + 90, T0 + 99), ended(3, T0, T0 + 7)]), now=T0 + 2 * DAY, start=T0)
    settle(engine, T0 + 2 * DAY)
    post(engine, booked(charged(1), machine="gn01"), now=T0 + 2 * DAY)
    return engine


def test_a_sound_ledger_has_no_breach(sound: Engine) -> None:
    assert [] == check(sound)

    close(sound, "2026-10", now=NOVEMBER)
    post(sound, booked(charged(2), machine="gn01"), now=NOVEMBER + 5)

    assert [] == check(sound)


def test_a_capacity_that_a_correction_completes_is_no_breach(engine: Engine) -> None:
    for moment in (T0, T0 + DAY):
        live(engine, moment, nodes=[node(gn(1))], gap=2 * DAY)
    settle(engine, T0 + DAY // 2, end=T0 + DAY)
    close(engine, "2026-10", now=NOVEMBER)
    report = settle(engine, NOVEMBER, end=T0 + DAY)

    assert 1 == report.corrected
    assert [] == proved(engine, projects=project)


Tampering = Callable[[Connection], Any]


def _set(table: Any, where: Any, **values: Any) -> Tampering:
    return lambda c: c.execute(update(table).where(where).values(**values))


_CHARGED = postings.c.account == "charged"
_STANDING = postings.c.transaction_id.in_(select(heads.c.transaction_id))


def _unreversed(c: Connection) -> None:
    """Point a node-day at the transaction that was reversed."""
    first = c.execute(select(transactions.c.amends).where(transactions.c.kind == "reversal")).scalars().first()
    place = c.execute(select(transactions.c.machine).where(transactions.c.id == first)).scalar_one()
    c.execute(update(heads).where(heads.c.machine == place).values(transaction_id=first))


def _reversed_twice(c: Connection) -> None:
    row = c.execute(select(transactions).where(transactions.c.kind == "reversal")).first()
    assert row is not None
    c.execute(insert(transactions).values({**row._mapping, "id": 99_999}))


_TAMPERINGS: list[tuple[Tampering, str, str]] = [
    (_set(postings, _CHARGED, quantity=postings.c.quantity + 1), "a transaction sums to zero", "transaction"),
    (_set(postings, _CHARGED, account="charge"), "the accounts are the six dispositions and capacity", "posting"),
    (_set(postings, _CHARGED & _STANDING, account=""), "the six dispositions sum to the capacity", "node-day gn01"),
    (_set(postings, _CHARGED & _STANDING, quantity=-5), "no disposition is negative", "node-day gn01 2026-10-01"),
    (_set(records, records.c.source == "sacct", job_id=777), "every reference leads somewhere", "record"),
    (_set(claims, claims.c.id == 1, record_id=777), "every reference leads somewhere", "claim 1"),
    (_set(claims, claims.c.id == 1, job_id=777), "every reference leads somewhere", "claim 1"),
    (_set(claims, claims.c.id == 1, node_id=777), "every reference leads somewhere", "claim 1"),
    (_set(claim_keys, claim_keys.c.value == "1", claim_id=777), "link keys are filed as the claim tells them", "claim"),
    (_set(postings, _CHARGED, job_id=777), "every reference leads somewhere", "posting"),
    (_set(postings, _CHARGED, linked_id=778), "every reference leads somewhere", "posting"),
    (
        _set(heads, heads.c.machine == "gn01", transaction_id=555),
        "every reference leads somewhere",
        "node-day gn01",
    ),
    (
        _set(transactions, transactions.c.id.in_(select(heads.c.transaction_id)), end_at=T0 + 3),
        "what stands for a node-day is about it",
        "node-day gn01",
    ),
    (
        _set(periods, periods.c.name == "2026-10", end_at=periods.c.end_at + DAY),
        "a month is from its first midnight to its last",
        "period 2026-10",
    ),
    (
        _set(periods, periods.c.name == "2026-10", zone="Europe/Nowhere"),
        "a month is from its first midnight to its last",
        "period 2026-10: zone 'Europe/Nowhere'",
    ),
    (_unreversed, "what no longer stands is reversed", "node-day gn01"),
    (_reversed_twice, "a transaction is reversed at most once", "transaction"),
    (
        _set(periods, periods.c.name == "2026-10", start_at=T0 + 5),
        "a node-day is booked in its own period, and corrected in a later one",
        "transaction",
    ),
    (
        _set(periods, periods.c.name == "2026-10", closed_at=T0, state="closed"),
        "a closed period never changes",
        "period 2026-10",
    ),
    (_set(heads, heads.c.start_at == T0, end_at=T0 + 2 * DAY), "no second is in two node-days", "node-day gn01"),
    (
        _set(transactions, transactions.c.kind == "post", kind="gift"),
        "a transaction posts, reverses or corrects",
        "tr",
    ),
    (
        _set(windows, windows.c.id == 1, read=77),
        "read = charged + excluded + pending + rejected",
        "window 1 of sacct lab",
    ),
    (_set(records, records.c.source == "sacct", raw=b"x"), "a raw record is what was read", "record"),
    (_set(records, records.c.source == "sacct", current=False), "one record of a subject is current", "slurm/lab/"),
    (_set(claims, claims.c.id == 1, current=~claims.c.current), "a claim is current with its record", "claim 1"),
    (_set(claims, claims.c.current, milligpu=1), "claims are what the record said", "record"),
    (_set(claims, claims.c.unit == "pod-a", start_at=T0 + 1), "claims are what the record said", "record"),
    (_set(claim_keys, claim_keys.c.value == "1", value="2"), "link keys are filed as the claim tells them", "claim"),
    (_set(jobs, jobs.c.native_id == "1", account="other"), "claims are what the record said", "record"),
    (
        lambda c: c.execute(delete(claims).where(claims.c.current)),
        "claims are what the record said",
        "record",
    ),
]


def _found(engine: Engine, tamper: Tampering) -> list[Breach]:
    """The breaches after a tampering, which is then forgotten."""
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        if engine.dialect.name == "sqlite":
            driver.execute("PRAGMA foreign_keys=OFF").close()
        with connection.begin() as transaction:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            tamper(connection)
            found = breaches(connection)
            transaction.rollback()
        connection.invalidate()
    return found


def test_every_tampering_is_found_and_named(sound: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "_PAGE", 2)  # rows at a time
    missed = []
    for tamper, invariant, where in _TAMPERINGS:
        found = [str(b) for b in _found(sound, tamper)]
        if not any(b.startswith(f"{invariant}: {where}") for b in found):
            missed.append((invariant, where, found))

    assert [] == missed
    assert [] == check(sound)
