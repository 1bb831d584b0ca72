"""Proves what is booked by reconciling it again: every node-day from its claims and evidence, posting by posting.

Sums and hashes prove that the books agree with themselves; this proves that they say what the evidence says. Whoever
moves a charge to another project, takes a node-day out, or deletes a record with its claims leaves books that add up,
and are named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo

from sqlalchemy import Connection, Engine, func, select

from accounting.evidence.fingerprints import no_evidence
from accounting.ledger.booking import Amounts, amounts_of, heads, in_all, stands
from accounting.ledger.day_worker import Range, Site, Worker
from accounting.periods.proofs import Breach, node_day_named
from accounting.reconcile.posting_columns import VALUES
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep.engines import One
from accounting.store.calendar import Period
from accounting.store.database import read
from accounting.store.tables import day_marks, node_days, records

_BOOKED = "what is booked is what the evidence says"
_KEPT = "evidence is only ever added"
_ACCOUNT, _PROJECT, _UNIT = (VALUES.index(name) - 2 for name in ("account", "project", "unit"))


def rederived(ledger: Engine, site: Site, rules: Rules, zone: tzinfo, within: Period | None = None) -> Iterator[Breach]:
    """Node-days whose postings are not what their claims and evidence come to; ``within`` a month, or in all of them.

    A node-day whose records have changed since it was booked, as the day's counters tell, waits for `reconcile` and is
    no breach; one whose evidence is another although nobody wrote any is.
    """
    with read(ledger) as connection:
        for day in _days(connection, within):
            yield from _of_day(connection, Worker(connection, Range(site, rules, [day], zone)), day)


def _days(connection: Connection, within: Period | None) -> list[tuple[int, int]]:
    """The stretches that were booked as days, in order; one that was booked while it went on ends where it did then.

    A day of which nothing is booked any more still has its mark.
    """
    found: set[tuple[int, int]] = set()
    for table in (node_days, day_marks):
        c = table.c
        query = select(c.start_at, c.end_at).distinct()
        if within is not None:
            query = query.where(c.start_at >= within.start, c.start_at < within.end)
        found.update((start, end) for start, end in connection.execute(query))
    return sorted(found)


def _of_day(connection: Connection, worker: Worker, day: tuple[int, int]) -> Iterator[Breach]:
    _, unchanged = worker.mark(connection, *day)
    had = {place: head for place, head in heads(connection, *day).items() if head.end == day[1]}
    done = worker.derived(connection, *day, One())
    standing = stands(connection, had)
    seen = set()
    for n, draft in enumerate(done.drafts[: len(done.drafts) - done.withdrawn]):
        place = (draft.machine, day[0])
        seen.add(place)
        head = had.get(place)
        if head is None:
            if unchanged and place not in done.had:
                yield Breach(
                    _BOOKED, node_day_named(*place), "it is not booked, although its day was and nothing came since"
                )
        elif (head.inputs_hash, head.rules_hash) == (draft.inputs_hash, worker.rules_hash):
            wanted, booked = amounts_of(done.postings.rows(n)), in_all(standing.get(draft.machine, {}))
            if wanted != booked:
                yield Breach(_BOOKED, node_day_named(*place), _difference(wanted, booked))
        elif unchanged:
            yield Breach(
                _KEPT, node_day_named(*place), "its evidence is not what it was booked from, and nobody wrote any since"
            )
    for place, head in sorted(had.items()):
        if unchanged and place not in seen and head.inputs_hash != no_evidence(*place):
            yield Breach(_KEPT, node_day_named(*place), "it is booked, and its evidence is gone")


def records_kept(connection: Connection) -> Iterator[Breach]:
    """Numbers of records that are missing: they are given one after the other, and no record is ever deleted."""
    c = records.c
    count, last = connection.execute(select(func.count(), func.coalesce(func.max(c.id), 0))).one()
    if count != last:
        yield Breach(_KEPT, "records", f"{last} were written and {count} are there")


def _difference(wanted: Amounts, booked: Amounts) -> str:
    """The first key on which two sides differ, in words."""
    differ = (key for key in {*wanted, *booked} if wanted.get(key) != booked.get(key))
    key = min(differ, key=lambda one: [str(part) for part in one])
    about = " ".join(str(key[n]) for n in (_ACCOUNT, _PROJECT, _UNIT) if key[n])
    says, has = (side.get(key, (0, 0)) for side in (wanted, booked))
    told = f"{has[0]} milliGPU-seconds ({has[1]} held) are booked, the evidence says {says[0]} ({says[1]})"
    return f"{about}: {told}"
