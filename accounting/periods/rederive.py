"""Proves what is booked by reconciling it again: every node-day from its claims and evidence, posting by posting.

Sums and hashes prove that the books agree with themselves; this proves that they say what the evidence says. Whoever
moves a charge to another project, takes a node-day out, or deletes a record with its claims leaves books that add up,
and are named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from functools import partial
from itertools import chain
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, select

from accounting.evidence.fingerprints import no_evidence
from accounting.garbage import uncollected
from accounting.ledger.booking import Amounts, Head, amounts_of, heads, in_all, stands
from accounting.ledger.day_worker import Range, Site, shared_worker
from accounting.ledger.reconcile_range import FEW, Day, much, node_days_of
from accounting.periods.draws import Draw, Everything
from accounting.periods.proofs import Breach, node_day_named
from accounting.reconcile.posting_columns import VALUES, Postings
from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep.engines import One
from accounting.store.calendar import Period
from accounting.store.columns import columns
from accounting.store.database import read
from accounting.store.readers import readers
from accounting.store.tables import day_marks, node_days, postings

_P = postings.c

_BOOKED = "what is booked is what the evidence says"
_KEPT = "evidence is only ever added"
_ACCOUNT, _PROJECT, _UNIT = (VALUES.index(name) - 2 for name in ("account", "project", "unit"))


_TOLD = 3
"""Node-days named in a sentence; of more, their number."""


class Waits(NamedTuple):
    """A node-day not booked from the newest evidence and rules: it waits for `reconcile`, and proves nothing."""

    machine: str
    start: int


class Derived(NamedTuple):
    """What reconciling again showed: ``breaches``, and what ``waits``. ``days`` were looked at, of ``of_days``."""

    breaches: Sequence[Breach]
    waits: Sequence[Waits]
    days: int
    of_days: int


def rederived(
    ledger: Engine,
    site: Site,
    rules: Rules,
    zone: tzinfo,
    within: Period | None = None,
    *,
    now: int | None = None,
    draw: Draw | None = None,
) -> Derived:
    """Hold what is booked against what its claims and evidence come to; ``within`` a month, or all of it.

    With ``now`` also the days of the month that are past and of which nothing is booked. A node-day whose evidence is
    another than it was booked from waits, or is a breach where the day's counters tell that nobody wrote any.
    """
    every = _days(ledger, site, within, zone, now)
    drawn = (draw or Everything()).of(every)
    runs = _apart(drawn)
    several = any(len(run) > FEW for run in runs) and much(ledger)
    found: list[Breach | Waits] = []
    with uncollected(), readers(ledger, much=several, loading=[__name__]) as some:
        for days in runs:
            of_day = partial(_of_day, token=uuid4().hex, range_=Range(site, rules, days, zone))
            found += chain.from_iterable(some.map(of_day, days))
    breaches = [one for one in found if isinstance(one, Breach)]
    waits = [one for one in found if isinstance(one, Waits)]
    return Derived(breaches, waits, len(drawn), len(every))


def waiting(waits: Sequence[Waits], zone: tzinfo) -> str:
    """What waits for reconciling, in a sentence; nothing where nothing does."""
    if not waits:
        return ""
    names = [f"{machine} {datetime.fromtimestamp(start, zone):%Y-%m-%d}" for machine, start in sorted(waits)[:_TOLD]]
    more = f" and {len(waits) - _TOLD} more" if len(waits) > _TOLD else ""
    return f"node-days with newer records: {', '.join(names)}{more} (meterbridge reconcile)"


def _days(ledger: Engine, site: Site, within: Period | None, zone: tzinfo, now: int | None) -> list[Day]:
    """The stretches that were booked as days, in order; one that was booked while it went on ends where it did then.

    A day of which nothing is booked any more still has its mark. Between two booked days all are there.
    """
    found: set[Day] = set()
    with read(ledger) as connection:
        for table in (node_days, day_marks):
            c = table.c
            query = select(c.start_at, c.end_at).distinct()
            if within is not None:
                query = query.where(c.start_at >= within.start, c.start_at < within.end)
            found.update((start, end) for start, end in connection.execute(query))
    begun = {start for start, _ in found}
    if found:
        between = node_days_of(ledger, min(begun), max(begun), zone, site.changes)
        found.update(day for day in between if day[0] not in begun)
    if within is not None and now is not None:
        past = node_days_of(ledger, within.start, min(within.end, now), zone, site.changes)
        found.update((a, min(b, now)) for a, b in past)
    return sorted(found)


def _apart(days: Sequence[Day]) -> list[list[Day]]:
    """The same in runs of which no two days overlap; mostly it is one."""
    runs: list[list[Day]] = []
    for day in days:
        run = next((run for run in runs if run[-1][1] <= day[0]), None)
        if run is None:
            runs.append([day])
        else:
            run.append(day)
    return runs


def _of_day(connection: Connection, day: Day, token: str, range_: Range) -> list[Breach | Waits]:
    worker = shared_worker(connection, token, range_)
    _, unchanged = worker.mark(connection, *day)
    had = {place: head for place, head in heads(connection, *day).items() if head.end == day[1]}
    done = worker.derived(connection, *day, One())
    drafts = done.drafts[: len(done.drafts) - done.withdrawn]
    found: list[Breach | Waits] = []
    doubtful = []
    for n, draft in enumerate(drafts):
        place = (draft.machine, day[0])
        head = had.get(place)
        if head is not None and (head.inputs_hash, head.rules_hash) == (draft.inputs_hash, worker.rules_hash):
            doubtful.append((n, place, head))
        elif not unchanged or (head is None and place in done.had):
            found.append(Waits(*place))
        elif head is None:
            what = "it is not booked, although its day was and nothing came since"
            found.append(Breach(_BOOKED, node_day_named(*place), what))
        else:
            what = "its evidence is not what it was booked from, and nobody wrote any since"
            found.append(Breach(_KEPT, node_day_named(*place), what))
    same = _alike(connection, day, done.postings, [(n, head) for n, _, head in doubtful])
    doubtful = [(n, place, head) for n, place, head in doubtful if n not in same]
    gone = {place: head for place, head in had.items() if place not in {(draft.machine, day[0]) for draft in drafts}}
    standing = stands(connection, {**{place: head for _, place, head in doubtful}, **gone})
    for n, place, _ in doubtful:
        wanted, booked = amounts_of(done.postings.rows(n)), in_all(standing.get(place[0], {}))
        if wanted != booked:
            found.append(Breach(_BOOKED, node_day_named(*place), _difference(wanted, booked)))
    for place, head in sorted(gone.items()):
        if head.inputs_hash == no_evidence(*place):
            if left := in_all(standing.get(place[0], {})):
                found.append(Breach(_BOOKED, node_day_named(*place), _difference({}, left)))
        elif unchanged:
            found.append(Breach(_KEPT, node_day_named(*place), "it is booked, and its evidence is gone"))
        else:
            found.append(Waits(*place))
    return found


def _alike(connection: Connection, day: Day, wanted: Postings, which: list[tuple[int, Head]]) -> set[int]:
    """Of some node-days of a day (numbers into ``wanted``) those whose postings are in the books row by row as wanted.

    So nearly all are. Of the others it must be looked at what they come to: what is booked anew is written in another
    order, and corrections are added up.
    """
    one = {head.transaction_id: n for n, head in which if head.transaction_id and head.correction_id is None}
    query = select(_P.id, _P.transaction_id, *(_P[name] for name in VALUES))
    query = query.join(node_days, node_days.c.transaction_id == _P.transaction_id)
    with columns(connection) as ledger:
        booked = ledger.table(query.where(node_days.c.start_at == day[0], node_days.c.end_at == day[1]))
    numbers = np.array(sorted(one), dtype=np.int64)
    number, owner = (booked[name].to_numpy() for name in ("id", "transaction_id"))
    order = np.argsort(number)
    order = order[np.isin(owner[order], numbers)]
    draft = np.array([one[n] for n in numbers.tolist()], dtype=np.int64)[np.searchsorted(numbers, owner[order])]
    order, draft = order[np.argsort(draft, kind="stable")], np.sort(draft)
    count = np.bincount(draft, minlength=len(wanted.first) - 1)
    full = (count == np.diff(wanted.first)) & (count > 0)
    rows = np.flatnonzero(np.repeat(full, np.diff(wanted.first)))
    mine = wanted.table().take(rows)
    theirs = booked.take(order[full[draft]])
    differs = np.zeros(len(rows), dtype=bool)
    for name in VALUES:
        one_side, other = (side[name].combine_chunks() for side in (mine, theirs))
        equal = pc.or_(pc.fill_null(pc.equal(one_side, other), False), pc.and_(one_side.is_null(), other.is_null()))
        differs |= ~equal.to_numpy(zero_copy_only=False)
    odd = set(mine["node_day"].to_numpy()[differs].tolist())
    return {n for n in one.values() if full[n]} - odd


def _difference(wanted: Amounts, booked: Amounts) -> str:
    """The first key on which two sides differ, in words."""
    differ = (key for key in {*wanted, *booked} if wanted.get(key) != booked.get(key))
    key = min(differ, key=lambda one: [str(part) for part in one])
    about = " ".join(str(key[n]) for n in (_ACCOUNT, _PROJECT, _UNIT) if key[n])
    says, has = (side.get(key, (0, 0)) for side in (wanted, booked))
    told = f"{has[0]} milliGPU-seconds ({has[1]} held) are booked, the evidence says {says[0]} ({says[1]})"
    return f"{about}: {told}"
