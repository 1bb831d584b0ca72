"""Claims of other days that a link key ties to one of a day's, as `accounting.held.tied_claims` finds them.

Only what is near a border of the day can be tied to something beyond it, so the tables are asked about just that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from sqlalchemy import Connection, or_

from accounting.bulk.pages import among_texts, listed_texts
from accounting.bulk.reading import QUERY, Reader
from accounting.bulk.rows import Rows, joined
from accounting.held import NEAR
from accounting.tables import claim_keys, claims, jobs, records
from exporters.links import FOREVER
from exporters.model import LinkKind, Scheduler

TIES = (LinkKind.SAME.value, LinkKind.INSIDE.value)
"""Kinds of keys that name a claim."""

Name = tuple[str, str]
"""A cluster and a native id in it."""

Span = tuple[int, int]

_C, _J, _K, _R = claims.c, jobs.c, claim_keys.c, records.c


def tied_rows(connection: Connection, reader: Reader, rows: Rows, a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that a key ties to one of ``rows``, which overlap it."""
    near = rows.take((rows.start <= a + NEAR) | (rows.end >= b - NEAR))
    bearing: dict[Name, list[Span]] = defaultdict(list)
    slurm = near.take(reader.slurm(near))
    for names, span in zip(_names(reader, slurm), _spans(slurm), strict=True):
        for name in names:
            bearing[name].append(span)
    pods = _pods(connection, reader, bearing, a, b)
    naming: dict[Name, list[Span]] = defaultdict(list)
    for _, name, span in _named(near):
        naming[name].append(span)
    runs = _runs(connection, reader, set(naming), a, b)
    kept = [
        any(_near(span, other) for name in names for other in naming.get(name, ()))
        for names, span in zip(_names(reader, runs), _spans(runs), strict=True)
    ]
    return joined([runs.take(np.array(kept, dtype=bool)), pods])


def _names(reader: Reader, rows: Rows) -> list[tuple[Name, Name]]:
    """By what a key may name each claim: a key without a cluster means any."""
    return [((c, native), ("", native)) for c, native in zip(reader.clusters(rows), rows.native.tolist(), strict=True)]


def _named(rows: Rows) -> Iterator[tuple[int, Name, Span]]:
    """What the keys of rows name, with the claim's id."""
    rows = rows.take(rows.keys != "")
    for number, keys, span in zip(rows.id.tolist(), rows.keys.tolist(), _spans(rows), strict=True):
        for kind, cluster, value, _ in json.loads(keys):
            if kind in TIES:
                yield number, (cluster, value), span


def _spans(rows: Rows) -> list[Span]:
    return [*zip(rows.start.tolist(), rows.end.tolist(), strict=True)]


def _near(one: Span, other: Span) -> bool:
    return (other[1] == FOREVER or one[0] <= other[1] + NEAR) and (one[1] == FOREVER or other[0] <= one[1] + NEAR)


def _runs(connection: Connection, reader: Reader, names: set[Name], a: int, b: int) -> Rows:
    """Slurm runs outside ``[a, b)`` of these names."""
    # by way of the jobs of that name: the sums keep the database from going through all other days' claims
    outside = or_(_C.end_at + 0 <= a, _C.start_at + 0 >= b)
    found, dialect = [reader.rows([])], connection.dialect.name
    once = {(cluster, value) for cluster, value in names if not cluster or ("", value) not in names}
    for cluster, values in _by_cluster(once):
        slurm = [_J.scheduler == Scheduler.SLURM.value, outside, *([_J.cluster == cluster] if cluster else [])]
        named = QUERY.where(*slurm, among_texts(_J.native_id, dialect), _R.job_id == _J.id)
        found.append(reader.read(connection, named, listed_texts(values, dialect)))
    return reader.exact(connection, joined(found))


def _pods(connection: Connection, reader: Reader, bearing: dict[Name, list[Span]], a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that name one of these, near it in time."""
    naming = QUERY.join(claim_keys, _K.claim_id == _C.id).where(or_(_C.end_at + 0 <= a, _C.start_at + 0 >= b))
    found, dialect = [reader.rows([])], connection.dialect.name
    for cluster, values in _by_cluster(name for name in bearing if name[0]):
        here = (_K.kind.in_(TIES), _K.cluster.in_((cluster, "")))
        named = naming.where(*here, among_texts(_K.value, dialect))
        found.append(reader.read(connection, named, listed_texts(values, dialect)))
    rows = reader.exact(connection, joined(found))
    near = {n for n, name, span in _named(rows) if any(_near(span, other) for other in bearing.get(name, ()))}
    ids, first = np.unique(rows.id, return_index=True)
    return rows.take(first[np.isin(ids, [*near])])


def _by_cluster(names: Iterable[Name]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = defaultdict(list)
    for cluster, value in sorted(names):
        found[cluster].append(value)
    return [*found.items()]
