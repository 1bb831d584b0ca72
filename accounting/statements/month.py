"""A billing month read from the ledger: here, and nowhere else, for every file, page and figure of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

import polars as pl
from sqlalchemy import Connection, Engine, func, select

from accounting.garbage import uncollected
from accounting.model import Usage
from accounting.rates.distribution import shared_out
from accounting.rates.pricing import PART, Priced
from accounting.rates.rating import RatingError
from accounting.statements.compose import Statement
from accounting.statements.known.facts import asked, facts_of, looked_at
from accounting.statements.known.held import is_held
from accounting.statements.known.jobs import Asked, Known, known
from accounting.statements.known.kept import digest_of, kept_in, nothing_kept, to_keep
from accounting.statements.lines import Cards, line_text, named, priced_again, rated, stated
from accounting.statements.usage import (
    GROUP,
    charged_kinds,
    corrections,
    measured,
    parts_between,
    reason_of,
    standing,
    standing_like,
)
from accounting.store.calendar import OPEN, Period
from accounting.store.columns import Columns, columns
from accounting.store.database import read
from accounting.store.tables import periods, transactions
from exporters.model import Disposition, JobKey, Scheduler


def month_statement(engine: Engine, period: Period, cards: Cards) -> Statement:
    """The statement of a month, with the corrections of closed months that are booked in it.

    Raises `accounting.rates.rating.RatingError` for a model without a price.
    """
    with _reading(engine) as ledger:
        cards = _with_kept(ledger, period, cards)
        usages = _usages(ledger, period, cards, measurements=True)
        there = _lines_there(ledger, usages, cards)
        words, as_of = _words(ledger, cards, usages, there), last_booked(ledger.connection, period)
    return replace(stated(usages, words, cards, period.name, there), as_of=as_of)


def last_booked(connection: Connection, period: Period) -> int | None:
    """When something was last booked in an open month; None for a closed one, or where nothing was."""
    n, t = periods.c, transactions.c
    query = select(func.max(t.posted_at)).join(periods, n.name == t.period)
    found: int | None = connection.execute(query.where(n.name == period.name, n.state == OPEN)).scalar()
    return found


def month_sums(engine: Engine, period: Period, cards: Cards) -> Sums:
    """What the statement of a month comes to. Raises as `month_statement` does."""
    usages = _rated(engine, period, cards)
    counted = usages.filter(pl.col("disposition") != "")
    charged = counted.filter(pl.col("disposition") == Disposition.CHARGED.value)
    by_project = (
        charged.group_by(pl.col("project").cast(pl.String)).agg(pl.col("minor", "charged").sum()).sort("project")
    )
    digits = cards.own.minor_digits
    return Sums(
        int(counted["charged"].sum()),
        int(charged["charged"].sum()),
        {project: Decimal(minor).scaleb(-digits) for project, minor, _ in by_project.iter_rows()},
        cards.own.zero,
        _units(charged),
        {project: charged for project, _, charged in by_project.iter_rows()},
    )


def _units(charged: pl.DataFrame) -> Mapping[str, int]:
    if "su" not in charged.columns:
        return {}
    counted = charged.filter(pl.col("su").is_not_null()).group_by(pl.col("project").cast(pl.String))
    return dict(counted.agg(pl.col("su").sum()).sort("project").iter_rows())


def month_faults(engine: Engine, period: Period, cards: Cards) -> tuple[list[str], dict[str, int]]:
    """What of a month has not exactly one price, in sentences; and where it all has, how many lines each price gives.

    ``cards.own`` and the months that are corrected are looked at one kind of line after the other.
    """
    with _reading(engine) as ledger:
        cards = _with_kept(ledger, period, cards)
        usages = _usages(ledger, period, cards)
        words = _words(ledger, cards, usages)
    charged = usages.filter(pl.col("disposition") == Disposition.CHARGED.value)
    try:
        found = rated(charged, words, cards, period.name)
        counts = found.group_by(pl.col("price_rule").cast(pl.String)).len().sort("price_rule")
        return [], dict(counts.iter_rows())
    except RatingError:
        kinds = pl.concat([charged, facts_of(charged["job"], words, asked(cards.seen))], how="horizontal")
        on = [name for name in kinds.columns if name in {*cards.seen, "corrects", PART}]
        faults: dict[str, None] = {}
        for row in charged[kinds.with_row_index("at").unique(on, keep="first", maintain_order=True)["at"]].iter_slices(
            1
        ):
            try:
                rated(row, words, cards, period.name)
            except RatingError as e:
                faults[str(e)] = None
        if not faults:
            raise
        return [*faults], {}


@dataclass(frozen=True, slots=True)
class Sums:
    """What a month comes to, corrections included. ``capacity`` and ``charged`` are milliGPU-seconds.

    ``amounts`` is what each project pays, the sum of its lines' amounts; ``units`` are its service units in millionths,
    where some are counted; ``by_project`` is its part of ``charged``.
    """

    capacity: int
    charged: int
    amounts: Mapping[str, Decimal]
    zero: Decimal
    units: Mapping[str, int] = field(default_factory=dict)
    by_project: Mapping[str, int] = field(default_factory=dict)

    @property
    def amount(self) -> Decimal:
        """What all projects pay together."""
        return sum(self.amounts.values(), self.zero)


def _rated(engine: Engine, period: Period, cards: Cards) -> pl.DataFrame:
    """The usages of a month with their prices; what is known of jobs is read where a price depends on it."""
    with _reading(engine) as ledger:
        cards = _with_kept(ledger, period, cards)
        usages = _usages(ledger, period, cards)
        words = _words(ledger, cards, usages) if asked(cards.seen) else Asked(engine)
        return shared_out(rated(usages, words, cards, period.name), cards.own)


def refuse_unpriced(engine: Engine, period: Period, cards: Cards) -> None:
    """Raise `accounting.rates.rating.RatingError` when something that is charged in a month has no price."""
    if asked(cards.seen):
        _rated(engine, period, cards)
        return
    with _reading(engine) as ledger:
        own = _own(charged_kinds(ledger, period.start, period.end, cards.own.changes))
        for usages in (own, corrections(ledger, period.name, cards.changes)):
            rated(usages, Asked(engine), cards, period.name)


def facts_to_keep(engine: Engine, period: Period, cards: Cards) -> tuple[pl.DataFrame, str]:
    """What is to be kept of the jobs of a month that is closed (`accounting.statements.known.kept`), and its digest."""
    if not looked_at(cards.seen):
        return nothing_kept(), ""
    with _reading(engine) as ledger:
        cards = _with_kept(ledger, period, cards)
        usages = _usages(ledger, period, cards)
        words = _words(ledger, cards, usages)
        kept = to_keep(usages, words, cards.seen, cards.kept, period.name)
        return kept, digest_of(kept, words)


def _with_kept(ledger: Columns, period: Period, cards: Cards) -> Cards:
    """The same prices, with what was kept of jobs with the months that they are of."""
    if not looked_at(cards.seen):
        return cards
    return replace(cards, kept=kept_in(ledger, [period.name, *cards.earlier]))


@dataclass(frozen=True, slots=True)
class Named:
    """A line by its name: what it is about, the month that it corrects, and when the time begins and ends that it is
    about: one stretch of the month for each part of it that has the line's price.

    ``price`` is by what it was priced, None for what has no price; ``micro_su`` are service units in millionths.
    ``told`` says by what a line has its amount, also one of what nobody used.
    """

    line_id: str
    usage: Usage
    corrects: str
    spans: tuple[tuple[int, int], ...]
    price: Priced | None
    amount: Decimal
    micro_su: int | None
    told: str = ""


def lines_named(engine: Engine, period: Period, beginning: str, cards: Cards, most: int = 2) -> list[Named]:
    """What lines of a month are about, by the beginning of their names; at most so many of them."""
    with _reading(engine) as ledger:
        cards = _with_kept(ledger, period, cards)
        usages = _usages(ledger, period, cards)
        words = _words(ledger, cards, usages)
        usages = named(shared_out(rated(usages, words, cards, period.name), cards.own), words, period.name)
        names = line_text(usages["line"])
        found = usages.filter(names.str.starts_with(beginning)).sort("line").head(most)
        return [_named(ledger, period, line, words, cards) for line in found.iter_slices(1)]


def _named(ledger: Columns, period: Period, line: pl.DataFrame, words: Known, cards: Cards) -> Named:
    row = line.row(0, named=True)
    own, linked = (words(line[name]).row(0, named=True) for name in ("job", "linked"))
    usage = Usage(
        project=row["project"],
        job=_key(own),
        gpu_model=row["gpu_model"],
        disposition=Disposition(row["disposition"]) if row["disposition"] else None,
        held=row["held"],
        charged=row["charged"],
        start=row["start"],
        end=row["end"],
        linked=_key(linked),
        reason=reason_of(ledger, period, row),
    )
    about = _spans(ledger)[row["corrects"]] if row["corrects"] else (period.start, period.end)
    price, begins = priced_again(line, words, cards, period.name)
    then = cards.earlier[row["corrects"]] if row["corrects"] else cards.own
    spans = [(a, b) for a, b, part in parts_between(*about, then.changes) if part in begins]
    amount = Decimal(row["minor"]).scaleb(-cards.own.minor_digits)
    line_id = line_text(line["line"])[0]
    return Named(line_id, usage, row["corrects"], tuple(spans), price, amount, row.get("su"), row["price_rule"])


def _key(words: Mapping[str, str]) -> JobKey | None:
    """The job behind a row of `JOB`."""
    return JobKey(Scheduler(words["scheduler"]), words["cluster"], words["run"]) if words["scheduler"] else None


@contextmanager
def _reading(engine: Engine) -> Iterator[Columns]:
    with uncollected(), read(engine) as connection, columns(connection) as ledger:
        yield ledger


def _own(usages: pl.DataFrame) -> pl.DataFrame:
    return usages.with_columns(corrects=pl.lit("", pl.Categorical))


def _usages(ledger: Columns, period: Period, cards: Cards, *, measurements: bool = False) -> pl.DataFrame:
    """The usages of a month, and those of corrections."""
    changes = cards.own.changes
    own = standing(ledger, period.start, period.end, changes=changes)
    later = corrections(ledger, period.name, cards.changes)
    if measurements and (told := measured(ledger, own, period.start, period.end, changes)).height:
        own = own.join(told, on=(*GROUP, PART) if changes else GROUP, how="left")
    return pl.concat([_own(own), later], how="diagonal") if later.height else _own(own)


def _lines_there(ledger: Columns, usages: pl.DataFrame, cards: Cards) -> pl.DataFrame | None:
    """The lines of closed months that corrections may be about, with their month as ``corrects``."""
    later = usages.filter(pl.col("corrects") != "")
    if not later.height:
        return None
    spans, found = _spans(ledger), []
    for (month,), part in later.group_by("corrects"):
        there = standing_like(ledger, part, *spans[str(month)], cards.changes.get(str(month), ()))
        found.append(there.with_columns(corrects=pl.lit(month, pl.Categorical)))
    return pl.concat(found, how="diagonal")


def _spans(ledger: Columns) -> Mapping[str, tuple[int, int]]:
    """When each month begins and ends."""
    n = periods.c
    return {name: (a, b) for name, a, b in ledger.connection.execute(select(n.name, n.start_at, n.end_at))}


def _words(ledger: Columns, cards: Cards, *usages: pl.DataFrame | None) -> Known:
    ids = pl.concat(frame[name] for frame in usages if frame is not None for name in ("job", "linked"))
    return known(ledger, ids, [*filter(is_held, asked(cards.seen))])
