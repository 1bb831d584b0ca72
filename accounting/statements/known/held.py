"""What jobs held beside their cards, and for how long: out of the records and claims that the ledger keeps.

Every source of Slurm's accounting keeps its rows as one text (`exporters.sources.slurm.history.rows`), in which
AllocTRES says what the run was given on all its nodes together. Of a run that was resized it is what its last row says.
What a pod asked for beside cards is not recorded, so nothing is known of it here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

import polars as pl
from sqlalchemy import select

from accounting.rates.rating import CORES, GB, GPUS, LABEL, MIG, NODES, RAN_UNDER, plain
from accounting.store.columns import Columns, among
from accounting.store.tables import claims, jobs, records
from exporters.model import MILLI_PER_GPU
from exporters.sources.slurm.gres import cards_of, parse_tres
from exporters.sources.slurm.history.rows import FIELDS, SEPARATOR, SLUID_FIELDS

HELD = (GPUS, MIG, RAN_UNDER, CORES, GB, NODES)
"""Facts of jobs that no column of theirs tells; and those whose name begins as labels' do."""

_TRES_AT = tuple(fields.index("AllocTRES") for fields in (FIELDS, SLUID_FIELDS))
_TRES = (GPUS, CORES, GB, NODES)
_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)")
_MB_IN_GB = 1024
_MB = {
    "K": Decimal(1) / _MB_IN_GB,
    "": Decimal(1),
    "M": Decimal(1),
    "G": Decimal(_MB_IN_GB),
    "T": Decimal(_MB_IN_GB**2),
    "P": Decimal(_MB_IN_GB**3),
}
"""Slurm counts memory in MB of 1024 KB; a number alone is MB."""

_PLACES = Decimal("0.000001")
_J, _C, _R = jobs.c, claims.c, records.c


def is_held(name: str) -> bool:
    """Whether a fact of jobs is one of these."""
    return name in HELD or name.startswith(LABEL)


def held_facts(ledger: Columns, ids: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
    """A row for each job of ``ids``: ``id``, and a text for each of ``names`` (`is_held`), empty if it is not known."""
    found: dict[int, dict[str, str]] = {number: {} for number in ids}
    for number, name, value in _told(ledger, ids, names):
        found[number][name] = value
    texts = {name: [facts.get(name, "") for facts in found.values()] for name in names}
    return pl.DataFrame({"id": [*found], **texts}, {"id": pl.Int64, **dict.fromkeys(names, pl.String)})


def _told(ledger: Columns, ids: Sequence[int], names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Facts of jobs, one after the other; of those of one name the last counts."""
    dialect = ledger.connection.dialect.name
    if {*_TRES} & {*names}:
        query = select(_R.job_id, _R.raw).where(among(_R.job_id, ids, dialect), _R.current).order_by(_R.id)
        for number, raw in ledger.connection.execute(query):
            yield from ((number, name, value) for name, value in tres_facts(bytes(raw)).items())
    if MIG in names:
        told = select(_R.job_id, _C.profile).join(claims, _C.record_id == _R.id)
        told = told.where(among(_R.job_id, ids, dialect), _C.current, _C.profile != "")
        for number, profile in ledger.connection.execute(told.distinct().order_by(_R.job_id, _C.profile)):
            yield number, MIG, profile
    labels = [name for name in names if name.startswith(LABEL)]
    if labels or RAN_UNDER in names:
        own = select(_J.id, _J.start_at, _J.end_at, _J.labels).where(among(_J.id, ids, dialect))
        for number, start, end, text in ledger.connection.execute(own):
            if start is not None and end is not None:
                yield number, RAN_UNDER, str(end - start)
            has = json.loads(text) if text and labels else {}
            yield from ((number, name, str(has.get(name.removeprefix(LABEL), ""))) for name in labels)


def tres_facts(raw: bytes) -> dict[str, str]:
    r"""What a row of Slurm's accounting says of the run's cards, and of cores, GB and nodes for each of them.

    Nothing for what is no such row, and for a run without cards.

    >>> row = b"\x1f".join([*[b"1"] * 7, b"cpu=32,gres/gpu=2,mem=256G,node=1", *[b""] * 10])
    >>> tres_facts(row)
    {'gpus': '2', 'cores': '16', 'gb': '128', 'nodes': '0.5'}
    """
    fields = raw.decode(errors="replace").split(SEPARATOR)
    text = next((fields[at] for at in _TRES_AT if len(fields) > at and "cpu=" in fields[at]), "")
    if not text:
        return {}
    tres = parse_tres(text)
    gpus = Decimal(sum(cards.milligpu for cards in cards_of(text))) / MILLI_PER_GPU
    if not gpus:
        return {}
    memory = _MEMORY.match(tres.get("mem", "0"))
    mb = Decimal(memory[1]) * _MB[memory[2]] if memory else Decimal(0)
    every = {CORES: Decimal(tres["cpu"]), GB: mb / _MB_IN_GB, NODES: Decimal(tres.get("node", "0"))}
    return {GPUS: plain(gpus), **{name: plain((much / gpus).quantize(_PLACES)) for name, much in every.items()}}
