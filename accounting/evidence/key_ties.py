"""Claims of other days that a link key ties to one of a day's.

Only what is near a border of the day can be tied to something beyond it, so the tables are asked about just that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from sqlalchemy import or_

from accounting.evidence.claim_reader import QUERY, Reader
from accounting.evidence.claim_rows import Rows, joined, nothing
from accounting.model import NEAR
from accounting.store.columns import Columns, among
from accounting.store.tables import PODS, claim_keys, claims, jobs, records
from exporters.join.links import FOREVER
from exporters.model import LinkKind, Scheduler

TIES = (LinkKind.SAME.value, LinkKind.INSIDE.value)
"""Kinds of keys that name a claim."""

Name = tuple[bool, str, str]
"""Whether it is of a Slurm run, a cluster, and a native id in it."""

Span = tuple[int, int]

_C, _J, _K, _R = claims.c, jobs.c, claim_keys.c, records.c

_PLACE = (_J.scheduler.concat(""), _J.cluster.concat(""))
"""Not to be looked up by an index: a database that has not counted its rows may think that it tells jobs apart."""


def tied_rows(tables: Columns, reader: Reader, rows: Rows, a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that a key ties to one of ``rows``, which overlap it."""
    near = rows.take((rows.start <= a + NEAR) | (rows.end >= b - NEAR))
    bearing: dict[Name, list[Span]] = defaultdict(list)
    for names, span in zip(_names(reader, near), _spans(near), strict=True):
        for name in names:
            bearing[name].append(span)
    named: dict[Name, list[Span]] = defaultdict(list)
    for _, name, span in _said(reader, near):
        named[name].append(span)
    naming, borne = _naming(tables, reader, bearing, a, b), _bearing(tables, reader, set(named), a, b)
    kept = [
        any(_near(span, other) for name in names for other in named.get(name, ()))
        for names, span in zip(_names(reader, borne), _spans(borne), strict=True)
    ]
    found = joined([borne.take(np.array(kept, dtype=bool)), naming])
    return found.take(np.unique(found.id, return_index=True)[1])


def _names(reader: Reader, rows: Rows) -> list[tuple[Name, Name]]:
    """By what a key may name each claim: a key without a cluster means any."""
    told = zip(reader.slurm(rows).tolist(), reader.clusters(rows), rows.native.tolist(), strict=True)
    return [((slurm, cluster, native), (slurm, "", native)) for slurm, cluster, native in told]


def _said(reader: Reader, rows: Rows) -> Iterator[tuple[int, Name, Span]]:
    """What the keys of rows name, something of the other scheduler, with the claim's id."""
    rows = rows.take(rows.keys != "")
    slurm = reader.slurm(rows).tolist()
    for number, own, keys, span in zip(rows.id.tolist(), slurm, rows.keys.tolist(), _spans(rows), strict=True):
        for kind, cluster, value, _ in json.loads(keys):
            if kind in TIES:
                yield number, (not own, cluster, value), span


def _spans(rows: Rows) -> list[Span]:
    return [*zip(rows.start.tolist(), rows.end.tolist(), strict=True)]


def _near(one: Span, other: Span) -> bool:
    return (other[1] == FOREVER or one[0] <= other[1] + NEAR) and (one[1] == FOREVER or other[0] <= one[1] + NEAR)


def _bearing(tables: Columns, reader: Reader, names: set[Name], a: int, b: int) -> Rows:
    """Runs and pods outside ``[a, b)`` that bear one of these names."""
    # by way of the names: the sums keep the database from going through all other days' claims
    outside = or_(_C.end_at + 0 <= a, _C.start_at + 0 >= b)
    found, dialect = [nothing()], tables.connection.dialect.name
    once = {
        (slurm, cluster, value) for slurm, cluster, value in names if not cluster or (slurm, "", value) not in names
    }
    for slurm, cluster, values in _by_cluster(once):
        scheduler = Scheduler.SLURM if slurm else Scheduler.KUBERNETES
        here = [_PLACE[0] == scheduler.value, outside, *([_PLACE[1] == cluster] if cluster else [])]
        borne = (
            (among(_J.native_id, values, dialect), _R.job_id == _J.id)
            if slurm
            else (among(_C.native_id, values, dialect), PODS)
        )
        found.append(reader.read(tables, QUERY.where(*here, *borne)))
    return reader.exact(tables, joined(found))


def _naming(tables: Columns, reader: Reader, bearing: dict[Name, list[Span]], a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that name one of these, near it in time."""
    naming = QUERY.join(claim_keys, _K.claim_id == _C.id).where(or_(_C.end_at + 0 <= a, _C.start_at + 0 >= b))
    found, dialect = [nothing()], tables.connection.dialect.name
    for _, cluster, values in _by_cluster(name for name in bearing if name[1]):
        here = (_K.kind.in_(TIES), _K.cluster.in_((cluster, "")))
        named = naming.where(*here, among(_K.value, values, dialect))
        found.append(reader.read(tables, named))
    rows = reader.exact(tables, joined(found))
    near = {n for n, name, span in _said(reader, rows) if any(_near(span, other) for other in bearing.get(name, ()))}
    return rows.take(np.isin(rows.id, [*near]))


def _by_cluster(names: Iterable[Name]) -> list[tuple[bool, str, list[str]]]:
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for slurm, cluster, value in sorted(names):
        found[slurm, cluster].append(value)
    return [(slurm, cluster, values) for (slurm, cluster), values in found.items()]
