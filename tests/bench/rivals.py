"""The sweep of a month as others would write it: as SQL for DuckDB, and as plain pandas.

Both make the same postings of the same columns, except where claims exceed what a machine has: they settle no disputes.
"""

from __future__ import annotations

from itertools import pairwise

import duckdb
import numpy as np
import pandas as pd

from accounting.model import DAY
from accounting.reconcile.sweep import ACCOUNTS, Columns
from accounting.reconcile.sweep.site_columns import INSIDE, LENDS, SAME

GRACE = 120
CARDS = 8000
HOLDERS = 1_000_000
"""Containers that are claims are numbered from here on; below are the machines."""


def frames(site: Columns, period: tuple[int, int]) -> dict[str, pd.DataFrame]:
    """The site as tables: claims, keys, and the stretches over which a machine's free cards are of one kind."""
    machine = np.repeat(np.arange(len(site.machines)), np.diff(site.first))
    claims = {name: getattr(site, name) for name in ("job", "unit", "project", "slurm", "node", "native", "milligpu")}
    times = {"a": np.clip(site.start, *period), "b": np.clip(site.end, *period)}
    keys = {name: getattr(site.keys, name) for name in ("row", "kind", "target")}
    return {
        "claims": pd.DataFrame({"id": np.arange(len(machine)), "machine": machine, **claims, **times}),
        "keys": pd.DataFrame(keys),
        "states": pd.DataFrame(_states(site, period), columns=["machine", "a", "b", "rest", "lent"]),
    }


def _states(site: Columns, period: tuple[int, int]) -> list[tuple[int, int, int, int, int]]:
    """What is free on a machine, and in a lender, and when: day by day, as all is told by day."""
    found = []
    days = {*range(period[0] // DAY * DAY + DAY, period[1], DAY)}
    covered = {t for s in site.coverage[0] for t in (s.start, s.end)}
    for m, capacity in enumerate(site.capacity):
        borders = sorted({*period, *days, *(t for t in covered if period[0] < t < period[1])} | {
            t for s in capacity for t in (s.start, s.end) if period[0] < t < period[1]
        })  # fmt: skip
        for a, b in pairwise(borders):
            here = [s for s in capacity if s.start <= a < s.end]
            read = {(s.scheduler, s.cluster) for s in site.coverage[0] if s.start <= a < s.end}
            unread = [s for s in here if (s.scheduler, s.cluster) not in read]
            down = [s for s in here if s.scheduler == "slurm" and not s.up]
            slurm_unread = any(s.scheduler == "slurm" for s in unread)
            rest = "unknown" if unread else "down" if all(not s.up for s in here) else "idle"
            lent = "unknown" if slurm_unread else "down" if down else "reserved"
            found.append((m, a, b, ACCOUNTS.index(rest), ACCOUNTS.index(lent)))
    return found


SQL = f"""
create or replace temp table links as
  with pods as (
    select p.id, p.machine, p.a, p.b, k.kind, k.target
    from keys k join claims p on p.id = k.row where k.kind <> {LENDS}
  )
  select p.id, p.kind, r.id as outer_id, r.a as oa, r.b as ob
  from pods p left join claims r
    on r.machine = p.machine and r.native = p.target and r.slurm
   and r.a <= p.a + {GRACE} and p.b <= r.b + {GRACE} and greatest(r.a, p.a) < least(r.b, p.b)
  union all
  select c.id, {LENDS}, l.id, l.a, l.b
  from keys k join claims l on l.id = k.row
  join claims c on c.machine = l.machine and c.node = k.target and c.slurm and greatest(c.a, l.a) < least(c.b, l.b)
  where k.kind = {LENDS};

create or replace temp table legs as
  with gaps as (
    select n.id, n.outer_id, n.oa, n.ob,
      lag(n.ob) over (partition by n.id order by n.oa) as before,
      lead(n.oa) over (partition by n.id order by n.oa) as after
    from links n where n.outer_id is not null
  )
  select c.id, n.kind, n.outer_id, greatest(c.a, n.oa) as a, least(c.b, n.ob) as b, 0 as reason
  from links n join claims c using (id) where n.outer_id is not null
  union all
  select c.id, -1, null, coalesce(g.before, c.a), g.oa, 0 from gaps g join claims c using (id)
  where coalesce(g.before, c.a) < g.oa
  union all
  select c.id, -1, null, g.ob, c.b, 0 from gaps g join claims c using (id) where g.after is null and g.ob < c.b
  union all
  select c.id, -1, null, c.a, c.b, 1 from links n join claims c using (id) where n.outer_id is null
  union all
  select c.id, -1, null, c.a, c.b, 0 from claims c anti join links n using (id);

create or replace temp table holders as
  select id, machine, milligpu, a, b, 'lends' as what from claims
  where id in (select row from keys where kind = {LENDS})
  union all
  select id, machine, milligpu, a, b, 'same' from claims where id in (select outer_id from links where kind = {SAME});

create or replace temp table payers as
  select n.outer_id as id, any_value(p.project) as project, any_value(p.job) as pod
  from links n join claims p using (id) where n.kind = {SAME} and n.outer_id is not null group by n.outer_id;

create or replace temp table held as
  with pieces as (
    select l.*, unnest(range(l.a // {DAY}, (l.b - 1) // {DAY} + 1)) as day
    from legs l anti join holders h using (id)
  ), cut as (
    select *, greatest(a, day * {DAY}) as first, least(b, day * {DAY} + {DAY}) as last from pieces
  )
  select c.machine, p.day, case when p.kind = {INSIDE} then {len(ACCOUNTS) - 1}
      when p.reason > 0 then {ACCOUNTS.index("disputed")} else {ACCOUNTS.index("charged")} end as account,
    c.project, c.job, c.unit, p.kind, o.job as linked, p.reason,
    sum(case when p.kind = {INSIDE} then 0 else c.milligpu * (p.last - p.first) end) as quantity,
    sum(c.milligpu * (p.last - p.first)) as held, min(p.first) as first, max(p.last) as last
  from cut p join claims c using (id) left join claims o on o.id = p.outer_id
  group by all;

create or replace temp table inside as
  select case when l.kind = -1 then c.machine else {HOLDERS} + l.outer_id end as box, l.a, l.b, c.milligpu
  from legs l join claims c using (id) where l.kind <> {INSIDE};

create or replace temp table borders as
  select s.machine as box, s.machine, s.a as t, null as id, {CARDS} as size from states s
  union all
  select {HOLDERS} + h.id, h.machine, greatest(s.a, h.a), h.id, h.milligpu
  from holders h join states s on s.machine = h.machine and s.a < h.b and s.b > h.a;

create or replace temp table levels as
  with changes as (
    select box, a as t, milligpu as change from inside
    union all select box, b, -milligpu from inside
    union all select box, t, 0 from borders
    union all select {HOLDERS} + id, b, 0 from holders
    union all select machine, max(b), 0 from states group by machine
  ), moments as (select box, t, sum(change) as change from changes group by box, t)
  select box, t, lead(t) over (partition by box order by t) as next,
    sum(change) over (partition by box order by t) as level
  from moments;

create or replace temp table rests as
  select b.box, b.machine, b.id, b.t, b.size,
    sum(case when b.size > v.level then (b.size - v.level) * (v.next - v.t) else 0 end) as amount,
    sum(v.next - v.t) filter (b.size > v.level) as seconds,
    min(v.t) filter (b.size > v.level) as first, max(v.next) filter (b.size > v.level) as last,
    sum(v.next - v.t) filter (b.size <= v.level) as full_seconds,
    min(v.t) filter (b.size <= v.level) as full_first, max(v.next) filter (b.size <= v.level) as full_last
  from levels v asof join borders b on v.box = b.box and v.t >= b.t
  where v.next is not null group by all;

create or replace temp table postings as
  select * from held
  union all
  select r.machine, r.t // {DAY}, s.rest, null, null, null, -1, null, 0, sum(r.amount), 0, min(r.first), max(r.last)
  from rests r join states s on s.machine = r.machine and s.a = r.t
  where r.id is null and r.amount > 0 group by all
  union all
  select r.machine, r.t // {DAY}, s.lent, c.project, c.job, c.unit, -1, null, 0, sum(r.amount),
    sum(c.milligpu * (coalesce(r.seconds, 0) + coalesce(r.full_seconds, 0))),
    min(least(r.first, r.full_first)), max(greatest(r.last, r.full_last))
  from rests r join holders h on h.id = r.id and h.what = 'lends' join claims c on c.id = r.id
  asof join states s on s.machine = r.machine and s.a <= r.t group by all
  union all
  select r.machine, r.t // {DAY}, {ACCOUNTS.index("charged")}, p.project, c.job, c.unit, {SAME}, null, 2, sum(r.amount),
    sum(c.milligpu * r.seconds), min(r.first), max(r.last)
  from rests r join payers p on p.id = r.id join claims c on c.id = r.id
  where r.amount > 0 group by all
  union all
  select r.machine, r.t // {DAY}, {len(ACCOUNTS) - 1}, p.project, c.job, c.unit, {SAME}, p.pod, 0, 0,
    sum(c.milligpu * r.full_seconds), min(r.full_first), max(r.full_last)
  from rests r join payers p on p.id = r.id join claims c on c.id = r.id
  where r.full_seconds > 0 group by all
  union all
  select machine, a // {DAY}, {ACCOUNTS.index("capacity")}, null, null, null, -1, null, 0,
    -sum({CARDS} * (b - a)), 0, min(a), max(b)
  from states group by all;
"""


class Database:
    """The columns in DuckDB, in memory and in one thread."""

    def __init__(self, tables: dict[str, pd.DataFrame]) -> None:
        self.connection = duckdb.connect(config={"threads": 1})
        for name, frame in tables.items():
            self.connection.register("given", frame)
            self.connection.execute(f"create table {name} as select * from given")
            self.connection.unregister("given")

    def sweep(self) -> None:
        """Make the table ``postings``."""
        self.connection.execute(SQL)

    def totals(self) -> pd.DataFrame:
        """Sums by machine, account and project."""
        return self.connection.execute(
            "select machine, account, coalesce(project, -1) as project, sum(quantity)::bigint as quantity "
            "from postings group by all"
        ).df()
