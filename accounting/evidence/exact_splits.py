"""Claims as history had to assume them, put right by what the live side saw: a run's exact split over its nodes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from accounting.store.database import chunks
from accounting.store.tables import splits as splits_table
from exporters.model import MILLI_PER_GPU, Claim


def splits_of(connection: Connection, jobs: Sequence[int]) -> dict[int, list[Any]]:
    """The splits that were seen live of some runs, by their ids, the last one first: see `with_split`."""
    found: dict[int, list[Any]] = defaultdict(list)
    c = splits_table.c
    for part in chunks(jobs):
        query = select(c.job_id, c.split).where(c.job_id.in_(part)).order_by(c.seen_at.desc(), c.split)
        for job, split in connection.execute(query):
            found[job].append(json.loads(split))
    return found


def with_split(claims: Sequence[Claim], split: Iterable[Sequence[Any]]) -> list[Claim] | None:
    """One run's claims with their exact shares and cards, or None when ``split`` is not about these claims.

    ``split`` rows are ``[node, model, profile, milligpu, indices, uuids]``. It fits when it names the same nodes and
    the same total; a share that history knew exactly must agree. Rows are matched by node, and by model and profile
    where a node has several.
    """
    rows = list(split)
    if sum(r[3] for r in rows) != sum(c.milligpu for c in claims) or len(rows) != len(claims):
        return None
    whole = {(r[0], r[1], r[2]): r for r in rows}
    by_node: Mapping[str, Sequence[Any]] = {r[0]: r for r in rows} if len({r[0] for r in rows}) == len(rows) else {}
    found = []
    for c in claims:
        row = whole.get((c.node.name, c.model, c.profile)) or by_node.get(c.node.name)
        if row is None or (not c.split_assumed and row[3] != c.milligpu):
            return None
        cards = tuple(row[4]) if len(row[4]) * MILLI_PER_GPU == row[3] else ()
        found.append(
            replace(
                c,
                milligpu=row[3],
                split_assumed=False,
                model=c.model or row[1],
                indices=c.indices or cards,
                uuids=c.uuids or tuple(row[5]),
            )
        )
    return found
