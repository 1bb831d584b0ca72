"""Claims of other days that a link key ties to one of a day's.

Only what is near a border of the day can be tied to something beyond it, so the tables are asked about just that.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from sqlalchemy import or_

from accounting.arrays import Ints
from accounting.evidence.claim_reader import QUERY, Reader
from accounting.evidence.claim_rows import Codes, Rows, joined, nothing
from accounting.evidence.ties.tying import TIES, Side, equal_names, tied
from accounting.model import NEAR
from accounting.store.columns import Columns, among
from accounting.store.tables import PODS, claim_keys, claims, jobs, records
from exporters.model import Scheduler

Name = tuple[bool, str, str]
"""Whether it is of a Slurm run, a cluster (empty: any), and a native id in it."""

_C, _J, _K, _R = claims.c, jobs.c, claim_keys.c, records.c

_PLACE = (_J.scheduler.concat(""), _J.cluster.concat(""))
"""Not to be looked up by an index: a database that has not counted its rows may think that it tells jobs apart."""


def tied_rows(tables: Columns, reader: Reader, rows: Rows, a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that a key ties to one of ``rows``, which overlap it."""
    near = rows.take((rows.start <= a + NEAR) | (rows.end >= b - NEAR))
    slurm, keys = reader.slurm(near), _keys(near)
    told = zip((~slurm[keys.row]).tolist(), keys.clusters, keys.values, strict=True)
    own = zip(slurm.tolist(), reader.clusters(near), near.native.tolist(), strict=True)
    borne, naming = _bearing(tables, reader, {*told}, a, b), _naming(tables, reader, {*own}, a, b)
    _, bearing = _tied(reader, near, keys, borne)
    named, _ = _tied(reader, naming, _keys(naming), near)
    found = joined([borne.take(np.unique(bearing)), naming.take(np.unique(named))])
    return found.take(np.unique(found.id, return_index=True)[1])


class _Keys(NamedTuple):
    """The keys of some rows that name a claim: whose each is, and what it names."""

    row: Ints
    clusters: list[str]
    values: list[str]


def _keys(rows: Rows) -> _Keys:
    having = np.flatnonzero(rows.keys != "")
    read = json.loads(f"[{','.join(rows.keys[having].tolist())}]")
    told = zip(having.tolist(), read, strict=True)
    flat = [(n, cluster, value) for n, keys in told for kind, cluster, value, _ in keys if kind in TIES]
    row, clusters, values = zip(*flat, strict=True) if flat else ((), (), ())
    return _Keys(np.array(row, dtype=np.int64), [*clusters], [*values])


def _tied(reader: Reader, naming: Rows, keys: _Keys, bearing: Rows) -> tuple[Ints, Ints]:
    """The rows of both sides that a key ties to each other."""
    names, clusters = Codes(), Codes()
    key, bearer = equal_names(names.of(keys.values), names.known(bearing.native.tolist()))
    sides = [
        Side(reader.slurm(rows)[of], clusters.of(reader.clusters(rows))[of], rows.start[of], rows.end[of])
        for rows, of in ((naming, keys.row[key]), (bearing, bearer))
    ]
    told = clusters.known(keys.clusters)[key]
    anywhere = np.array([not cluster for cluster in keys.clusters], dtype=bool)[key]
    which = tied(sides[0], told, anywhere, sides[1])
    return keys.row[key][which], bearer[which]


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


def _naming(tables: Columns, reader: Reader, names: set[Name], a: int, b: int) -> Rows:
    """Claims outside ``[a, b)`` that name one of these."""
    naming = QUERY.join(claim_keys, _K.claim_id == _C.id).where(or_(_C.end_at + 0 <= a, _C.start_at + 0 >= b))
    found, dialect = [nothing()], tables.connection.dialect.name
    for _, cluster, values in _by_cluster(name for name in names if name[1]):
        here = (_K.kind.in_(TIES), _K.cluster.in_((cluster, "")))
        named = naming.where(*here, among(_K.value, values, dialect))
        found.append(reader.read(tables, named))
    return reader.exact(tables, joined(found))


def _by_cluster(names: Iterable[Name]) -> list[tuple[bool, str, list[str]]]:
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for slurm, cluster, value in sorted(names):
        found[slurm, cluster].append(value)
    return [(slurm, cluster, values) for (slurm, cluster), values in found.items()]
