"""The sweep of a month in plain pandas: merges, sorts and grouped sums, and no loop over rows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from accounting.model import DAY
from accounting.reconcile.sweep import ACCOUNTS
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME
from tests.bench.rivals import CARDS, GRACE, HOLDERS

_KEY = ["machine", "day", "account", "project", "job", "unit", "kind", "linked", "reason"]


def sweep(claims: pd.DataFrame, keys: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """The postings of `tests.bench.rivals.frames`."""
    links = _links(claims, keys)
    legs = _legs(claims, links)
    lenders = claims[claims.id.isin(keys.row[keys.kind == LENDS])]
    same = links[(links.kind == SAME) & links.outer.notna()].merge(claims[["id", "project", "job"]], on="id")
    payers = same.groupby("outer", as_index=False)[["project", "job"]].first()
    payers = payers.rename(columns={"outer": "id", "job": "pod", "project": "payer"}).astype("int64")
    jobs = claims[claims.id.isin(payers.id)].merge(payers, on="id")
    holders = pd.concat([lenders, jobs])
    rests = _rests(legs, holders, states)
    capacity = pd.DataFrame(
        {
            "machine": states.machine,
            "day": states.a // DAY,
            "account": ACCOUNTS.index("capacity"),
            "quantity": -CARDS * (states.b - states.a),
            "first": states.a,
            "last": states.b,
        }
    )
    every = [_held(legs[~legs.id.isin(holders.id)], claims), *_left(rests, lenders, jobs), capacity]
    rows = pd.concat(every, ignore_index=True)
    for name in ("project", "job", "unit", "kind", "linked"):
        rows[name] = rows[name].fillna(-1).astype("int64")
    for name in ("reason", "held"):
        rows[name] = rows[name].fillna(0).astype("int64")
    sums = {"quantity": "sum", "held": "sum", "first": "min", "last": "max"}
    return rows.groupby(_KEY, as_index=False, sort=False).agg(sums)


def _links(claims: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Which claim lives inside which; no outer one where a key does not verify."""
    pods = keys[keys.kind != LENDS].merge(claims[["id", "machine", "a", "b"]], left_on="row", right_on="id")
    runs = claims.loc[claims.slurm, ["id", "machine", "native", "a", "b"]]
    found = pods.merge(
        runs, left_on=["machine", "target"], right_on=["machine", "native"], how="left", suffixes=("", "_outer")
    )
    fits = (found.a_outer <= found.a + GRACE) & (found.b <= found.b_outer + GRACE)
    fits &= np.maximum(found.a, found.a_outer) < np.minimum(found.b, found.b_outer)
    found.loc[~fits, ["id_outer", "a_outer", "b_outer"]] = np.nan
    lenders = keys[keys.kind == LENDS].merge(claims[["id", "machine", "a", "b"]], left_on="row", right_on="id")
    lent = claims.loc[claims.slurm, ["id", "machine", "node", "a", "b"]].merge(
        lenders, left_on=["machine", "node"], right_on=["machine", "target"], suffixes=("", "_outer")
    )
    lent = lent[np.maximum(lent.a, lent.a_outer) < np.minimum(lent.b, lent.b_outer)]
    names = {"id_outer": "outer", "a_outer": "oa", "b_outer": "ob"}
    columns = ["id", "kind", "a", "b", "id_outer", "a_outer", "b_outer"]
    return pd.concat([found[columns], lent[columns]], ignore_index=True).rename(columns=names)


def _legs(claims: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Claims, cut where what they live in begins and ends."""
    true = links[links.outer.notna()].sort_values(["id", "oa"])
    inside = true.assign(a=np.maximum(true.a, true.oa), b=np.minimum(true.b, true.ob), reason=0)
    before = true.groupby("id").ob.shift()
    early = true.assign(a=before.fillna(true.a), b=true.oa, kind=-1, outer=np.nan, reason=0)
    last = true[true.groupby("id").oa.shift(-1).isna()]
    late = last.assign(a=last.ob, kind=-1, outer=np.nan, reason=0)
    false = links[links.outer.isna()].assign(kind=-1, reason=1)
    alone = claims.loc[~claims.id.isin(links.id), ["id", "a", "b"]].assign(kind=-1, outer=np.nan, reason=0)
    legs = pd.concat([inside, early[early.a < early.b], late[late.a < late.b], false, alone], ignore_index=True)
    legs[["a", "b"]] = legs[["a", "b"]].astype("int64")
    facts = claims[["id", "machine", "milligpu"]]
    return legs[["id", "a", "b", "kind", "outer", "reason"]].merge(facts, on="id")


def _held(legs: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """What each claim holds on each day."""
    days = (legs.b - 1) // DAY - legs.a // DAY + 1
    pieces = legs.loc[legs.index.repeat(days)]
    pieces["day"] = pieces.a // DAY + pieces.groupby(level=0).cumcount()
    pieces["first"] = np.maximum(pieces.a, pieces.day * DAY)
    pieces["last"] = np.minimum(pieces.b, pieces.day * DAY + DAY)
    pieces["held"] = pieces.milligpu * (pieces["last"] - pieces["first"])
    shown = pieces.kind == INSIDE
    pieces["quantity"] = pieces.held.where(~shown, 0)
    charged, disputed = ACCOUNTS.index("charged"), ACCOUNTS.index("disputed")
    pieces["account"] = np.where(shown, len(ACCOUNTS) - 1, np.where(pieces.reason > 0, disputed, charged))
    pieces = pieces.merge(claims[["id", "project", "job", "unit"]], on="id")
    outer = claims[["id", "job"]].rename(columns={"id": "outer", "job": "linked"})
    return pieces.merge(outer, on="outer", how="left")


def _rests(legs: pd.DataFrame, holders: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """What is free in machines and in claims that hold others, from one change to the next."""
    within = legs[legs.kind != INSIDE]
    box = within.machine.where(within.kind == -1, HOLDERS + within.outer.fillna(0).astype("int64"))
    cells = holders[["id", "machine", "milligpu", "a", "b"]].merge(states, on="machine", suffixes=("", "_cell"))
    cells = cells[(cells.a_cell < cells.b) & (cells.b_cell > cells.a)]
    pool = states.assign(box=states.machine, t=states.a, id=-1, size=CARDS)
    held = cells.assign(box=HOLDERS + cells.id, t=np.maximum(cells.a_cell, cells.a), size=cells.milligpu)
    borders = pd.concat([pool, held], ignore_index=True)
    borders = borders[["box", "t", "machine", "id", "size", "rest", "lent"]]
    ends = states.groupby("machine", as_index=False).b.max()
    changes = pd.concat(
        [
            pd.DataFrame({"box": box, "t": within.a, "change": within.milligpu}),
            pd.DataFrame({"box": box, "t": within.b, "change": -within.milligpu}),
            pd.DataFrame({"box": borders.box, "t": borders.t, "change": 0}),
            pd.DataFrame({"box": HOLDERS + holders.id, "t": holders.b, "change": 0}),
            pd.DataFrame({"box": ends.machine, "t": ends.b, "change": 0}),
        ]
    )
    moments = changes.groupby(["box", "t"], as_index=False).change.sum()
    moments["level"] = moments.groupby("box").change.cumsum()
    moments["next"] = moments.groupby("box").t.shift(-1)
    moments = moments[moments.next.notna()].astype({"next": "int64"})
    found = moments.merge(borders, on=["box", "t"], how="left")
    told = ["machine", "id", "size", "rest", "lent"]
    found[told] = found[told].ffill().astype("int64")
    found["free"] = np.maximum(found["size"] - found.level, 0)
    found["seconds"] = found.next - found.t
    found["day"] = found.t // DAY
    return found


def _left(rests: pd.DataFrame, lenders: pd.DataFrame, jobs: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of what is free: nobody's, lenders', and external jobs'."""
    rests["quantity"] = rests.free * rests.seconds
    rests["held"] = rests["size"] * rests.seconds
    names = {"t": "first", "next": "last"}
    sums = {"quantity": "sum", "held": "sum", "t": "min", "next": "max"}
    pools = rests[(rests.id < 0) & (rests.free > 0)]
    pools = pools.groupby(["machine", "day", "rest"], as_index=False).agg(sums).rename(columns=names)
    whose = ["id", "project", "job", "unit"]
    lent = rests[rests.id >= 0].merge(lenders[whose], on="id")
    lent = lent.groupby(["machine", "day", "lent", *whose], as_index=False).agg(sums).rename(columns=names)
    of_jobs = rests[rests.id >= 0].merge(jobs[["id", "payer", "job", "unit", "pod"]], on="id")
    by = ["machine", "day", "payer", "job", "unit", "pod"]
    some = of_jobs[of_jobs.free > 0].groupby(by, as_index=False).agg(sums).rename(columns=names)
    none = of_jobs[of_jobs.free == 0].groupby(by, as_index=False).agg(sums).rename(columns=names)
    charged, shown = ACCOUNTS.index("charged"), len(ACCOUNTS) - 1
    return [
        pools.rename(columns={"rest": "account"}).drop(columns="held"),
        lent.rename(columns={"lent": "account"}).drop(columns="id"),
        some.rename(columns={"payer": "project"}).drop(columns="pod").assign(account=charged, kind=SAME, reason=2),
        none.rename(columns={"payer": "project", "pod": "linked"}).assign(account=shown, kind=SAME),
    ]
