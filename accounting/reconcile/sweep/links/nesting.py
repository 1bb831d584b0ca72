"""Who lives inside whom, for many claims at once, as `exporters.join.links.find_links` says: joins on (machine, key).

Only what is plain is decided here: a pod whose one key names the one run of that name on its machine and is inside it,
a Slurm claim that touches one lender. Everything else (keys that do not verify, several runs of one name, pods that an
AdminComment names, a node that is two pods) is left to the scalar function, for just the rows concerned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accounting.arrays import Flags, Ints, distinct
from accounting.reconcile.sweep.chunk import Chunk
from accounting.reconcile.sweep.links.naming import Naming
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME, STAND_IN

_RANK = np.full(8, -1)
_RANK[[STAND_IN, SAME, INSIDE]] = 0, 1, 2


class Ties(NamedTuple):
    """What a chunk's keys tell.

    ``kind``/``outer`` are per row: the plain link by which it lives inside row ``outer``, -1 where there is none;
    a stand-in has a kind and no outer. ``odd`` rows are for the scalar function, ``many`` rows have several lenders.
    ``strange`` rows make their whole node-days a case for the scalar rules. ``lenders`` are rows that lend,
    ``lender_key`` the entry of `Chunk.keys` that says so.
    """

    kind: NDArray[np.int8]
    outer: Ints
    odd: Ints
    many: Ints
    strange: Ints
    lenders: Ints
    lender_key: Ints


def ties(chunk: Chunk, naming: Naming, grace: int) -> Ties:
    """Follow the keys of a chunk."""
    kind = np.full(len(chunk.machine), -1, dtype=np.int8)
    outer = np.full(len(chunk.machine), -1)
    nothing = np.empty(0, dtype=np.int64)
    found = Ties(kind, outer, nothing, nothing, nothing, nothing, nothing)
    if not len(chunk.keys.row):
        return found
    odd_pods = _follow_pods(chunk, naming, grace, kind, outer)
    lenders, entries, strange = _lenders(chunk, kind)
    strange = distinct(strange, lenders[np.isin(lenders, odd_pods)])
    odd_jobs, many = _find_lenders(chunk, entries, kind, outer)
    odd = distinct(odd_pods, odd_jobs)
    kind[odd], outer[odd] = -1, -1
    return Ties(kind, outer, odd, many, strange, lenders, entries)


def _follow_pods(chunk: Chunk, naming: Naming, grace: int, kind: NDArray[np.int8], outer: Ints) -> Ints:
    """Set the links of pods that name a run; returns the rows for which that is not plain."""
    keys, slurm = chunk.keys, chunk.column("slurm")
    rank = _RANK[keys.kind]
    entries = np.flatnonzero((rank >= 0) & ~slurm[keys.row].astype(bool))
    entries = entries[np.lexsort((rank[entries], keys.row[entries]))]
    rows = keys.row[entries]
    best = np.ones(len(rows), dtype=bool)
    best[1:] = rows[1:] != rows[:-1]
    tied = np.zeros(len(rows), dtype=bool)  # two keys of one strength: which is followed is a matter of their texts
    tied[:-1] = best[:-1] & ~best[1:] & (rank[entries][1:] == rank[entries][:-1]) & (rank[entries][:-1] > 0)
    entries, tied = entries[best], tied[best]
    rows = keys.row[entries]
    kind[rows] = keys.kind[entries]
    follows = keys.kind[entries] != STAND_IN
    rows, entries, tied = rows[follows], entries[follows], tied[follows]
    run, alone = _only_run(chunk, naming, rows, entries)
    start, end = chunk.ints("start"), chunk.ints("end")
    inside = (start[run] <= start[rows] + grace) & (end[rows] <= end[run] + grace)
    touch = np.maximum(start[run], start[rows]) < np.minimum(end[run], end[rows])
    plain = alone & inside & touch & ~tied
    outer[rows] = np.where(plain, run, -1)
    return np.concatenate([rows[~plain], _named_pods(chunk, kind)])


def _only_run(chunk: Chunk, naming: Naming, rows: Ints, entries: Ints) -> tuple[Ints, Flags]:
    """The run that each key names on the row's machine, and whether there is exactly one and in the right cluster."""
    cluster, target = chunk.column("cluster"), chunk.keys.target[entries]
    slurm = chunk.column("slurm")[naming.bearers]
    runs, run_key = naming.bearers[slurm], naming.bearer_name[slurm]
    key = (chunk.machine[rows] << 32) | np.maximum(target, 0)
    first = np.searchsorted(run_key, key, side="left")
    alone = (np.searchsorted(run_key, key, side="right") - first == 1) & (target >= 0)
    run = runs[np.minimum(first, len(runs) - 1)] if len(runs) else np.zeros(len(rows), dtype=np.int64)
    alone &= chunk.keys.any_cluster[entries] | (chunk.keys.cluster[entries] == cluster[run])
    return run, alone


def _named_pods(chunk: Chunk, kind: NDArray[np.int8]) -> Ints:
    """Pods without a key of their own that a Slurm job may name."""
    keys, native = chunk.keys, chunk.column("native")
    naming = (keys.kind == SAME) & chunk.column("slurm")[keys.row].astype(bool) & (keys.target >= 0)
    if not naming.any():
        return np.empty(0, dtype=np.int64)
    pods = np.flatnonzero((kind < 0) & ~chunk.column("slurm") & (native >= 0))
    return pods[np.isin(native[pods], keys.target[naming])]


def _lenders(chunk: Chunk, kind: NDArray[np.int8]) -> tuple[Ints, Ints, Ints]:
    """Rows that lend and their keys; and those among them that are something else besides."""
    entries = np.flatnonzero(chunk.keys.kind == LENDS)
    rows = chunk.keys.row[entries]
    twice = np.zeros(len(rows), dtype=bool)
    twice[1:] |= rows[1:] == rows[:-1]
    strange = twice | (kind[rows] >= 0) | chunk.column("slurm")[rows]
    return rows[~twice], entries[~twice], distinct(rows[strange])


def _find_lenders(chunk: Chunk, entries: Ints, kind: NDArray[np.int8], outer: Ints) -> tuple[Ints, Ints]:
    """Set the links of Slurm claims that touch one lender; returns the odd rows, and those that touch several."""
    nothing = np.empty(0, dtype=np.int64)
    keys = chunk.keys
    entries = entries[keys.target[entries] >= 0]
    if not len(entries):
        return nothing, nothing
    machine = chunk.machine[keys.row[entries]]
    entries = entries[np.lexsort((chunk.start[keys.row[entries]], keys.target[entries], machine))]
    lender = keys.row[entries]
    place = (chunk.machine[lender] << 32) | keys.target[entries]
    first = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    group = np.repeat(np.arange(len(first)), np.diff(first, append=len(place)))
    cluster = np.where(keys.any_cluster[entries], -2, keys.cluster[entries])
    mixed = np.zeros(len(first), dtype=bool)
    mixed[group[cluster != cluster[first][group]]] = True
    rows, at = _by_place(chunk, place[first])
    named = cluster[first][at]
    meant = mixed[at] | (named == -2) | (named == chunk.column("cluster")[rows])
    odd = rows[meant & mixed[at]]
    meant &= ~mixed[at]
    rows, at = rows[meant], at[meant]
    holding = chunk.alive[lender]
    return odd, _pick(chunk, rows, at, lender[holding], group[holding], kind, outer)


def _by_place(chunk: Chunk, places: Ints) -> tuple[Ints, Ints]:
    """Slurm claims on places where somebody lends (machine and node, packed, ascending), and on which of these."""
    node, machine = chunk.column("node"), places >> 32
    last = np.zeros(chunk.machines, dtype=np.int64)
    last[machine] = np.arange(1, len(places) + 1)
    several = np.bincount(machine, minlength=chunk.machines) > 1
    rows = np.flatnonzero(chunk.column("slurm") & chunk.alive & (last > 0)[chunk.machine])
    at = last[chunk.machine[rows]] - 1
    some = np.flatnonzero(several[chunk.machine[rows]]) if several.any() else np.empty(0, dtype=np.int64)
    wanted = (chunk.machine[rows[some]] << 32) | node[rows[some]]
    at[some] = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    here = (places & 0xFFFFFFFF)[at] == node[rows]
    here[some] &= places[at[some]] == wanted
    return rows[here], at[here]


def _pick(chunk: Chunk, rows: Ints, at: Ints, lender: Ints, group: Ints, kind: NDArray[np.int8], outer: Ints) -> Ints:
    """Link each row to the one lender of its group that it touches; returns the rows that touch several.

    ``lender`` is sorted by group and start.
    """
    bits = chunk.length.bit_length()
    groups = int(max(group.max(initial=0), at.max(initial=0))) + 1
    count = np.bincount(group, minlength=groups)
    over = (np.cumsum(count) - count)[at]
    only = np.append(lender, 0)[over]
    touched = (count[at] > 0) & (chunk.start[rows] < chunk.end[only]) & (chunk.end[rows] > chunk.start[only])
    plain = touched & (count[at] == 1)
    some = np.flatnonzero(count[at] > 1)
    starts, ends = (group << bits) | chunk.start[lender], np.sort((group << bits) | chunk.end[lender])
    tangled = np.zeros(groups, dtype=bool)  # one began and ended within another: starts and ends are not in one order
    tangled[group[ends != ((group << bits) | chunk.end[lender])]] = True
    over[some] = np.searchsorted(ends, (at[some] << bits) | chunk.start[rows[some]], side="right")
    number = np.searchsorted(starts, (at[some] << bits) | chunk.end[rows[some]], side="left") - over[some]
    plain[some] = (number == 1) & ~tangled[at[some]]
    kind[rows[plain]] = LENDS
    outer[rows[plain]] = lender[over[plain]]
    several: Ints = rows[some[(number > 0) & ~plain[some]]]
    return several
