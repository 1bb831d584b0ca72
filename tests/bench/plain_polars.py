"""The sweep of a month in plain Polars: joins, windows and grouped sums, by the very steps of `plain_pandas`."""

from __future__ import annotations

import polars as pl

from accounting.model import DAY
from accounting.reconcile.sweep import ACCOUNTS
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME
from tests.bench.rivals import CARDS, GRACE, HOLDERS

_KEY = ["machine", "day", "account", "project", "job", "unit", "kind", "linked", "reason"]
_SUMS = [pl.col("quantity").sum(), pl.col("held").sum(), pl.col("first").min(), pl.col("last").max()]
_CHARGED, _DISPUTED, _SHOWN = ACCOUNTS.index("charged"), ACCOUNTS.index("disputed"), len(ACCOUNTS) - 1


def sweep(claims: pl.DataFrame, keys: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """The postings of `tests.bench.rivals.frames`."""
    links = _links(claims, keys)
    legs = _legs(claims, links)
    lenders = claims.join(keys.filter(pl.col("kind") == LENDS), left_on="id", right_on="row", how="semi")
    same = links.filter((pl.col("kind") == SAME) & pl.col("outer").is_not_null())
    same = same.select("id", "outer").join(claims.select("id", payer="project", pod="job"), on="id")
    payers = same.group_by("outer").agg(pl.col("payer").first(), pl.col("pod").first()).rename({"outer": "id"})
    jobs = claims.join(payers, on="id")
    holders = pl.concat([lenders, jobs.select(lenders.columns)])
    rests = _rests(legs, holders, states)
    capacity = states.select(
        "machine",
        day=pl.col("a") // DAY,
        account=pl.lit(ACCOUNTS.index("capacity")),
        quantity=-CARDS * (pl.col("b") - pl.col("a")),
        first="a",
        last="b",
    )
    held = _held(legs.join(holders, on="id", how="anti"), claims)
    rows = pl.concat(
        [rows.cast(pl.Int64) for rows in (held, *_left(rests, lenders, jobs), capacity)], how="diagonal"
    ).with_columns(
        pl.col("project", "job", "unit", "kind", "linked").fill_null(-1), pl.col("reason", "held").fill_null(0)
    )
    return rows.group_by(_KEY).agg(_SUMS)


def _links(claims: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Which claim lives inside which; no outer one where a key does not verify."""
    named = claims.select("id", "machine", "a", "b")
    pods = keys.filter(pl.col("kind") != LENDS).join(named, left_on="row", right_on="id")
    runs = claims.filter("slurm").select("machine", "native", outer="id", oa="a", ob="b")
    found = pods.join(runs, left_on=["machine", "target"], right_on=["machine", "native"], how="left")
    fits = (pl.col("oa") <= pl.col("a") + GRACE) & (pl.col("b") <= pl.col("ob") + GRACE)
    fits &= pl.max_horizontal("a", "oa") < pl.min_horizontal("b", "ob")
    found = found.with_columns(pl.when(fits).then(pl.col(name)).alias(name) for name in ("outer", "oa", "ob"))
    lenders = keys.filter(pl.col("kind") == LENDS).join(named, left_on="row", right_on="id")
    lenders = lenders.select("machine", "target", "kind", outer="row", oa="a", ob="b")
    lent = claims.filter("slurm").select("id", "machine", "node", "a", "b")
    lent = lent.join(lenders, left_on=["machine", "node"], right_on=["machine", "target"])
    lent = lent.filter(pl.max_horizontal("a", "oa") < pl.min_horizontal("b", "ob"))
    columns = ["id", "kind", "a", "b", "outer", "oa", "ob"]
    return pl.concat([found.rename({"row": "id"}).select(columns), lent.select(columns)])


def _legs(claims: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Claims, cut where what they live in begins and ends."""
    alone = {"kind": pl.lit(-1, pl.Int8), "outer": pl.lit(None, pl.Int64)}
    true = links.filter(pl.col("outer").is_not_null()).sort("id", "oa")
    true = true.with_columns(
        before=pl.col("ob").shift().over("id"), last=pl.col("oa").shift(-1).over("id").is_null(), reason=pl.lit(0)
    )
    inside = true.with_columns(a=pl.max_horizontal("a", "oa"), b=pl.min_horizontal("b", "ob"))
    early = true.with_columns(a=pl.col("before").fill_null(pl.col("a")), b="oa", **alone)
    late = true.filter("last").with_columns(a="ob", **alone)
    false = links.filter(pl.col("outer").is_null()).with_columns(reason=pl.lit(1), **alone)
    free = claims.join(links, on="id", how="anti").with_columns(reason=pl.lit(0), **alone)
    columns = ["id", "a", "b", "kind", "outer", "reason"]
    real = pl.col("a") < pl.col("b")
    every = (inside, early.filter(real), late.filter(real), false, free)
    return pl.concat([legs.select(columns) for legs in every]).join(claims.select("id", "machine", "milligpu"), on="id")


def _held(legs: pl.DataFrame, claims: pl.DataFrame) -> pl.DataFrame:
    """What each claim holds on each day."""
    pieces = legs.with_columns(day=pl.int_ranges(pl.col("a") // DAY, (pl.col("b") - 1) // DAY + 1)).explode("day")
    pieces = pieces.with_columns(
        first=pl.max_horizontal("a", pl.col("day") * DAY), last=pl.min_horizontal("b", pl.col("day") * DAY + DAY)
    ).with_columns(held=pl.col("milligpu") * (pl.col("last") - pl.col("first")))
    shown = pl.col("kind") == INSIDE
    disputed = pl.when(pl.col("reason") > 0).then(_DISPUTED).otherwise(_CHARGED)
    pieces = pieces.with_columns(
        quantity=pl.when(shown).then(0).otherwise("held"), account=pl.when(shown).then(_SHOWN).otherwise(disputed)
    )
    pieces = pieces.join(claims.select("id", "project", "job", "unit"), on="id")
    pieces = pieces.join(claims.select(outer="id", linked="job"), on="outer", how="left")
    return pieces.select(*_KEY, "quantity", "held", "first", "last")


def _rests(legs: pl.DataFrame, holders: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """What is free in machines and in claims that hold others, from one change to the next."""
    box = pl.when(pl.col("kind") == -1).then("machine").otherwise(pl.col("outer") + HOLDERS)
    within = legs.filter(pl.col("kind") != INSIDE).select("a", "b", "milligpu", box=box)
    cells = holders.select("id", "machine", "milligpu", "a", "b").join(
        states.rename({"a": "from", "b": "to"}), on="machine"
    )
    cells = cells.filter((pl.col("from") < pl.col("b")) & (pl.col("to") > pl.col("a")))
    told = ["box", "t", "machine", "id", "size", "rest", "lent"]
    pool = states.with_columns(box="machine", t="a", id=pl.lit(-1, pl.Int64), size=pl.lit(CARDS, pl.Int64))
    held = cells.with_columns(box=pl.col("id") + HOLDERS, t=pl.max_horizontal("from", "a"), size="milligpu")
    borders = pl.concat([pool.select(told), held.select(told)])
    nothing = pl.lit(0, pl.Int64).alias("change")
    changes = pl.concat(
        [
            within.select("box", t="a", change="milligpu"),
            within.select("box", t="b", change=-pl.col("milligpu")),
            borders.select("box", "t", nothing),
            holders.select(pl.col("id").add(HOLDERS).alias("box"), pl.col("b").alias("t"), nothing),
            states.group_by("machine").agg(pl.col("b").max()).select(box="machine", t="b", change=nothing),
        ]
    )
    moments = changes.group_by("box", "t").agg(pl.col("change").sum()).sort("box", "t")
    moments = moments.with_columns(level=pl.col("change").cum_sum().over("box"), next=pl.col("t").shift(-1).over("box"))
    found = moments.filter(pl.col("next").is_not_null()).join(
        borders, on=["box", "t"], how="left", maintain_order="left"
    )
    found = found.with_columns(pl.col(told[2:]).forward_fill())
    free = (pl.col("size") - pl.col("level")).clip(lower_bound=0)
    seconds = pl.col("next") - pl.col("t")
    return found.with_columns(
        free=free,
        quantity=free * seconds,
        held=pl.col("size") * seconds,
        day=pl.col("t") // DAY,
        first="t",
        last="next",
    )


def _left(rests: pl.DataFrame, lenders: pl.DataFrame, jobs: pl.DataFrame) -> list[pl.DataFrame]:
    """Rows of what is free: nobody's, lenders', and external jobs'."""
    some = pl.col("free") > 0
    pools = rests.filter((pl.col("id") < 0) & some).group_by("machine", "day", "rest").agg(_SUMS)
    held = rests.filter(pl.col("id") >= 0).drop("machine")
    whose = ["machine", "project", "job", "unit"]
    lent = held.join(lenders.select("id", *whose), on="id").group_by("day", "lent", *whose).agg(_SUMS)
    of_jobs = held.join(jobs.select("id", "machine", "job", "unit", "payer", "pod"), on="id")
    by = ["day", "machine", "payer", "job", "unit", "pod"]
    rest, none = (of_jobs.filter(which).group_by(by).agg(_SUMS).rename({"payer": "project"}) for which in (some, ~some))
    same = pl.lit(SAME).alias("kind")
    return [
        pools.rename({"rest": "account"}).drop("held"),
        lent.rename({"lent": "account"}),
        rest.drop("pod").with_columns(same, account=pl.lit(_CHARGED), reason=pl.lit(2)),
        none.rename({"pod": "linked"}).with_columns(same, account=pl.lit(_SHOWN)),
    ]
