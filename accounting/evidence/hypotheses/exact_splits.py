"""Claims as history had to assume them, put right by what the live side saw: a run's exact split over its nodes.

What was seen of a run may be all of it, or, where it was seen only while it completed, what some of its nodes gave:
then those are known, and the rest is guessed for the others.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from typing import Any

from sqlalchemy import Connection, select

from accounting.store.database import chunks
from accounting.store.tables import splits as splits_table
from exporters.model import MILLI_PER_GPU, Claim
from exporters.sources.shares import parts_of
from exporters.sources.slurm.gres import Cards
from exporters.sources.slurm.runs import deal


def splits_of(connection: Connection, jobs: Sequence[int]) -> dict[int, list[Any]]:
    """The splits that were seen live of some runs, by their ids: see `seen_split`.

    What names cards comes before what does not, and the last one first: a run keeps its cards to its end, but slurmctld
    tells less and less of them while it completes.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    c = splits_table.c
    for part in chunks(jobs):
        query = select(c.job_id, c.split).where(c.job_id.in_(part)).order_by(c.seen_at.desc(), c.split)
        for job, split in connection.execute(query):
            found[job].append(json.loads(split))
    for some in found.values():
        some.sort(key=_nameless)
    return found


def _nameless(split: Sequence[Sequence[Any]]) -> int:
    """Of how many of its rows a split names no card."""
    return sum(not row[4] and not row[5] for row in split)


def seen_split(claims: Sequence[Claim], splits: Sequence[Iterable[Sequence[Any]]]) -> list[Claim]:
    """One run's claims by the first of ``splits`` that is about all of it, else about some of its nodes."""
    for reading in (with_split, with_part):
        for split in splits:
            found = reading(claims, split)
            if found is not None:
                return found
    return list(claims)


def with_split(claims: Sequence[Claim], split: Iterable[Sequence[Any]]) -> list[Claim] | None:
    """One run's claims with their exact shares and cards, or None when ``split`` is not about these claims.

    ``split`` rows are ``[node, model, profile, milligpu, indices, uuids]``. It fits when it names the same nodes and
    the same total; a share that history knew exactly must agree. Rows are matched by node, and by model and profile
    where a node has several. Where all shares are guesses, of which the types may have been dealt to the wrong nodes,
    it fits when it names nodes of the run, and of each type as many cards.
    """
    rows = list(split)
    if sum(r[3] for r in rows) != sum(c.milligpu for c in claims):
        return None
    return _row_by_row(claims, rows) or _by_type(claims, rows)


def with_part(claims: Sequence[Claim], split: Iterable[Sequence[Any]]) -> list[Claim] | None:
    """One run's claims with the exact shares of some of its nodes; what they leave is dealt out to the others, and
    still a guess. None when ``split`` is not about some of these nodes.
    """
    rows = list(split)
    if sum(r[3] for r in rows) >= sum(c.milligpu for c in claims):
        return None
    found = _by_type(claims, rows)
    seen = {r[0] for r in rows}
    others = [node for node in dict.fromkeys(c.node for c in claims) if node.name not in seen]
    if found is None or not others:
        return None
    kinds = [*dict.fromkeys((c.model, c.profile) for c in claims)]
    left = []
    for model, profile in kinds:
        rest = sum(c.milligpu for c in claims if (c.model, c.profile) == (model, profile))
        rest -= sum(c.milligpu for c in found if (c.model, c.profile) in ((model, profile), ("", "")))
        unit = unit_of_kind(model, profile)
        if rest < 0 or not unit or int(ceil(rest / unit) * unit) != rest:
            return None
        left.append(Cards(str(kinds.index((model, profile))), ceil(rest / unit)))
    for node, hand in zip(others, deal([cards for cards in left if cards.count], len(others)), strict=True):
        for cards in hand:
            kind = kinds[int(cards.type)]
            like = next(c for c in claims if (c.model, c.profile) == kind)
            found.append(replace(like, node=node, milligpu=int(cards.count * unit_of_kind(*kind))))
    return found


def unit_of_kind(model: str, profile: str) -> Fraction:
    """What one unit of a kind of cards is in milliGPU, 0 where its name does not tell."""
    if not profile:
        return Fraction(MILLI_PER_GPU)
    try:
        return max(parts_of(profile, model)) * MILLI_PER_GPU
    except ValueError:
        return Fraction(0)


def _row_by_row(claims: Sequence[Claim], rows: Sequence[Sequence[Any]]) -> list[Claim] | None:
    whole = {(r[0], r[1], r[2]): r for r in rows}
    by_node: Mapping[str, Sequence[Any]] = {r[0]: r for r in rows} if len({r[0] for r in rows}) == len(rows) else {}
    if len(rows) != len(claims):
        return None
    found = []
    for c in claims:
        row = whole.get((c.node.name, c.model, c.profile)) or by_node.get(c.node.name)
        if row is None or (not c.split_assumed and row[3] != c.milligpu):
            return None
        found.append(_seen(c, row))
    return found


def _by_type(claims: Sequence[Claim], rows: Sequence[Sequence[Any]]) -> list[Claim] | None:
    """A claim for each row: of the run's type of the same name, or of its one claim where history told no type."""
    nodes = {c.node.name: c.node for c in claims}
    if not rows or not all(c.split_assumed for c in claims) or not all(r[0] in nodes for r in rows):
        return None
    left: dict[tuple[str, str], int] = defaultdict(int)
    for c in claims:
        left[c.model, c.profile] += c.milligpu
    several = len({(r[1], r[2]) for r in rows}) > 1
    found = []
    for row in rows:
        kind = (row[1], row[2]) if (row[1], row[2]) in left else ("", "") if ("", "") in left else None
        if kind is None or left[kind] < row[3]:
            return None
        left[kind] -= row[3]
        like = next(c for c in claims if (c.model, c.profile) == kind)
        unit = f"{like.job.id}/{row[1] or row[2]}" if several and kind == ("", "") else like.unit
        found.append(_seen(replace(like, node=nodes[row[0]], unit=unit, profile=like.profile or row[2]), row))
    return found


def _seen(claim: Claim, row: Sequence[Any]) -> Claim:
    cards = tuple(row[4]) if len(row[4]) * MILLI_PER_GPU == row[3] else ()
    return replace(
        claim,
        milligpu=row[3],
        split_assumed=False,
        model=claim.model or row[1],
        indices=claim.indices or cards,
        uuids=claim.uuids or tuple(row[5]),
    )
