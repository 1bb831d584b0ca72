"""A month's lines as one table: usages with prices, names, hours and an order. Pure.

`stated` makes it; files, pages, sums and figures are made from it and from nothing else. Its columns are those of
`accounting.statements.usage`, and

    corrects      the closed month that a line corrects, empty on a line of the month's own
    corrected     of a correction the name of the line in that month, null where that month has none
    unit_price    per GPU-hour, as it is printed
    price_rule    by which price and factors it was priced, in words; empty where it has no price
    su            service units in millionths (`accounting.rates.rating.SU_DIGITS`), null where there are none
    minor         the amount in the currency's minor units
    micro         what the line counts under its disposition, in printed millionths of a GPU-hour
    scheduler     of the line's job
    cluster       the same
    line          the line's name, ten bytes (`line_text` prints it)
    gpu_seconds … `accounting.statements.usage.MEASURES`, null where nothing was measured

What else is known of jobs is asked for by id when it is needed: see `accounting.statements.known.jobs`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from accounting.rates.distribution import shared_out
from accounting.rates.pricing import PART, SINCE, Priced, priced, seen_by
from accounting.rates.rating import Rates, RatingError, money
from accounting.statements.categories import categories, mapped, ordered
from accounting.statements.compose import Statement, totalled
from accounting.statements.known.facts import asked, facts_of
from accounting.statements.known.jobs import IDENTITY, Words
from accounting.statements.known.kept import nothing_kept, overlaid
from accounting.statements.usage import GROUP, MEASURES
from accounting.store.ahead import ahead
from exporters.model import Disposition

NAME_BYTES = 10
"""Bytes of the digest that name a line."""

PIECE = 100_000
"""Lines whose words are in memory at once."""

_SECONDS = 1 << 32
"""More than the seconds of any stretch of time that a statement may be about."""


@dataclass(frozen=True, slots=True)
class Cards:
    """What a month is rated with: its own prices, and those of the closed months that it corrects."""

    own: Rates
    earlier: Mapping[str, Rates]
    kept: pl.DataFrame = field(default_factory=nothing_kept, compare=False)
    """What was said of jobs when months were closed (`accounting.statements.known.kept`)."""

    @property
    def seen(self) -> frozenset[str]:
        """The columns of a usage that some price depends on."""
        return seen_by(self.own, *self.earlier.values())

    @property
    def changes(self) -> Mapping[str, Sequence[int]]:
        """When prices change in the closed months."""
        return {month: rates.changes for month, rates in self.earlier.items()}


def stated(
    usages: pl.DataFrame, words: Words, cards: Cards, billing_period: str, there: pl.DataFrame | None = None
) -> Statement:
    """The statement of a month: its lines in order, and what they come to.

    ``usages`` are those of the month (``corrects`` empty) and of corrections, with `MEASURES` where something was
    measured. ``there`` are the lines of closed months that corrections may be about, with their month as ``corrects``.
    Raises `RatingError` as `rated` does, and for two usages that would be the same line: a caller that hands over one
    usage twice must not make anybody pay twice.
    """
    there = _since(there, words, cards, billing_period)
    usages = shared_out(rated(usages, words, cards, billing_period), cards.own)
    usages = named(usages, words, billing_period, there)
    lines = usages[_order(usages, words)]
    del usages  # there may be millions
    lines = lines.with_columns(pl.lit(None).alias(name) for name in MEASURES if name not in lines.columns)
    if "su" not in lines.columns:
        lines = lines.with_columns(su=pl.lit(None, pl.Int64))
    micro, totals = totalled(lines, cards.own.minor_digits)
    return Statement(
        billing_period, lines.with_columns(micro), words, totals, cards.own.currency, cards.own.minor_digits
    )


def named(usages: pl.DataFrame, words: Words, billing_period: str, there: pl.DataFrame | None = None) -> pl.DataFrame:
    """The same usages with ``scheduler``, ``cluster``, ``line`` and ``corrected``, and their texts as Enums."""
    table = usages.with_columns(ordered(usages[name]) for name in ("corrects", "project", "gpu_model"))
    slices = [*table.iter_slices(PIECE)] or [table]
    texts = ahead(lambda part: _about(part, words, billing_period), slices)
    names = pl.concat(told.with_columns(line=_digests(told["line"])) for told in texts)
    table = pl.concat([table, names], how="horizontal")
    table = table.with_columns(ordered(table[name]) for name in ("scheduler", "cluster"))
    if there is None or not there.height:
        return table.with_columns(corrected=pl.lit(None))
    return table.with_columns(corrected=_corrected(table, there, words))


def rated(usages: pl.DataFrame, words: Words, cards: Cards, billing_period: str) -> pl.DataFrame:
    """Usages of a month, with ``corrects``, priced: ``unit_price``, ``price_rule``, ``minor`` and ``su`` are added.

    A correction has the price of the month that it corrects; what had none then has that of ``cards.own``.
    Raises `RatingError` for a charged usage without a price, and when a month that is corrected was priced in another
    currency: the two cannot be added up.
    """
    months = usages["corrects"].unique().cast(pl.String).sort()
    parts = []
    for month in months if usages.height else [""]:
        part = usages if len(months) == 1 else usages.filter(pl.col("corrects") == month)
        then = cards.earlier[month] if month else cards.own
        if then.currency != cards.own.currency:
            raise RatingError(
                f"rates.currency: {billing_period} corrects {month}, which was closed in {then.currency}, and "
                f"{cards.own.currency} cannot be added to it: set rates.currency back to {then.currency}"
            )
        months_ = [month, billing_period] if month else [billing_period]
        parts.append(_priced(part, words, [then, cards.own] if month else [then], cards.kept, months_))
    made = pl.concat(parts, how="diagonal")
    return made.with_columns(pl.col(SINCE).fill_null(0)) if SINCE in made.columns else made


def _since(there: pl.DataFrame | None, words: Words, cards: Cards, billing_period: str) -> pl.DataFrame | None:
    """Lines of closed months as they are named there: with the part of the month since which their price is so."""
    if there is None or PART not in there.columns:
        return there
    held = pl.lit(1, pl.Int64).alias("held")
    nothing = [pl.lit(0, pl.Int64).alias(name) for name in ("charged", "start", "end")]
    return rated(there.with_columns(held, *nothing), words, cards, billing_period)


def _priced(
    usages: pl.DataFrame, words: Words, cards: list[Rates], kept: pl.DataFrame, months: Sequence[str]
) -> pl.DataFrame:
    part = pl.col(PART).fill_null(0) if PART in usages.columns else pl.lit(0, pl.Int64).alias(PART)
    usages = usages.with_columns(part) if cards[0].changes else usages.drop(PART, strict=False)
    facts = facts_of(usages["job"], words, asked(seen_by(*cards)))
    facts = overlaid(facts, usages["job"], kept, months)
    known = pl.concat([usages, facts], how="horizontal") if facts.width else usages
    made = priced(known, cards, lambda job: "/".join(words(pl.Series([job], dtype=pl.Int64)).row(0)[:3]), _together)
    digits = cards[0].minor_digits
    texts = [money(one.price, digits) for one in made.found]
    prices = pl.Series([*texts, money(cards[0].zero, digits)], dtype=pl.Categorical)
    found = made.usages.drop(facts.columns, strict=False)
    rules = pl.Series([*(one.told for one in made.found), ""], dtype=pl.Categorical)
    which = found["rule"].fill_null(len(texts))
    return found.with_columns(unit_price=prices.gather(which), price_rule=rules.gather(which)).drop("rule")


def priced_again(
    line: pl.DataFrame, words: Words, cards: Cards, billing_period: str
) -> tuple[Priced | None, list[int]]:
    """By what a line was priced, and the parts of its month that it is about, each by the change that it begins with:
    those that have its price.

    ``line`` is one row of what `named` gives. A line that has no price is about the whole month.
    """
    month = str(line["corrects"][0])
    then = cards.earlier[month] if month else cards.own
    begins = [0, *then.changes]
    if line["disposition"][0] != Disposition.CHARGED.value or not line["job"][0]:
        return None, begins
    mine = pl.col(SINCE) if SINCE in line.columns else pl.lit(0, pl.Int64)
    parts = line.select(*GROUP, "corrects", "charged", "held", "start", "end", mine=mine)
    if then.changes:
        parts = parts.join(pl.DataFrame({PART: begins}), how="cross")
    facts = facts_of(parts["job"], words, asked(seen_by(then, cards.own)))
    facts = overlaid(facts, parts["job"], cards.kept, [month or billing_period, billing_period])
    made = priced(pl.concat([parts, facts], how="horizontal") if facts.width else parts, [then, cards.own])
    if not then.changes:
        return made.found[made.usages["rule"][0]], begins
    found = made.usages.filter(pl.col(SINCE) == pl.col("mine"))
    return made.found[found["rule"][0]], found[PART].to_list()


def _together(parts: pl.DataFrame) -> pl.DataFrame:
    """Usages of a month's parts, added up where they have one price."""
    key = ["corrects", *GROUP, "rule", SINCE]
    sums = [pl.col(name).sum() for name in ("charged", "held")]
    sums += [pl.when(pl.col(n).count() > 0).then(pl.col(n).sum()).alias(n) for n in MEASURES if n in parts.columns]
    spans = [pl.col("start").min(), pl.col("end").max()]
    found = parts.sort(PART).group_by(key, maintain_order=True).agg(*sums, *spans)
    return found.filter((pl.col("corrects") == "") | (pl.col("charged") != 0) | (pl.col("held") != 0))


def _about(lines: pl.DataFrame, words: Words, billing_period: str) -> pl.DataFrame:
    """``scheduler`` and ``cluster`` of some lines, and as ``line`` what each is about."""
    own, linked = words(lines["job"], IDENTITY), of_some(lines["linked"], lambda ids: _key(words(ids, IDENTITY)))
    of = mapped(lines["corrects"], lambda month: framed(billing_period) + (framed(month) if month else ""))
    place = own.select(pl.col("scheduler", "cluster").cast(pl.Categorical))
    return place.with_columns(line=_text(of, lines, _key(own), linked))


def _text(of: pl.Series, lines: pl.DataFrame, own: pl.Series, linked: pl.Series) -> pl.Series:
    """What lines are about, not how much each came to.

    So a late record changes a line's amount but not its name, and the order of lines does not matter. ``of`` is the
    framed month, and the one that a correction corrects; ``own`` and ``linked`` are the `_key` of the lines' jobs.
    Where a month has another price than at its beginning, the line has another name.
    """
    few = {name: mapped(lines[name], framed) for name in ("project", "gpu_model", "disposition")}
    about = [of, few["project"], own, few["gpu_model"], few["disposition"], linked]
    if SINCE in lines.columns:
        since = lines[SINCE].cast(pl.String)
        told = pl.concat_str(since.str.len_chars().cast(pl.String), pl.lit(":"), since, pl.lit(","))
        about.append(pl.select(pl.when(lines[SINCE] > 0).then(told).otherwise(pl.lit(""))).to_series())
    text = pl.concat_str(about)
    return pl.select(text.cast(pl.Binary)).to_series()


def _digests(texts: pl.Series) -> pl.Series:
    """Names of lines: 80 bits of SHA-256 over what each is about."""
    sha256 = hashlib.sha256
    return pl.Series([sha256(text).digest()[:NAME_BYTES] for text in texts.to_list()], dtype=pl.Binary)


def _key(words: pl.DataFrame) -> pl.Series:
    """Scheduler, cluster and run of jobs, each framed."""
    run = pl.col("run")
    place = (mapped(words[name], framed) for name in ("scheduler", "cluster"))
    text = pl.concat_str(*place, run.str.len_chars().cast(pl.String), pl.lit(":"), run, pl.lit(","))
    return words.select(text).to_series()


def of_some(ids: pl.Series, told: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """What is told of jobs, many of which are nobody (0): of them it is asked once."""
    somebody = ids != 0
    texts = told(pl.concat([pl.Series([0]), ids.filter(somebody)]))
    return texts.gather(pl.select(pl.when(somebody).then(somebody.cum_sum()).otherwise(0)).to_series())


def framed(part: str) -> str:
    """A part of what a line is about, with its length before it, so that no two read the same."""
    return f"{len(part)}:{part},"


def line_text(names: pl.Series) -> pl.Series:
    """Names of lines as they are printed: with a letter first, lest a spreadsheet read one as a number."""
    return pl.select(pl.lit("L") + pl.lit(names).bin.encode("hex")).to_series()


def _order(lines: pl.DataFrame, words: Words) -> pl.Series:
    """The places of the lines in the order of the statement: the month's own, then corrections, the oldest month first.

    In each, jobs before nobody's time, then project, scheduler, cluster, start, job, model, word. Numbers decide it
    nearly always; only of lines for which they do not the jobs' names are looked at.
    """
    first = lines["start"].min() if lines.height else 0
    key = pl.col("corrects").to_physical().cast(pl.Int64) * 2 + (pl.col("job") == 0).cast(pl.Int64)
    for name in ("project", "scheduler", "cluster"):
        key = key * len(categories(lines[name])) + pl.col(name).to_physical()
    key = key * _SECONDS + pl.when(pl.col("job") == 0).then(0).otherwise(pl.col("start") - first)
    keys = lines.select(key=key)["key"]
    order = keys.arg_sort()
    ranked = keys.gather(order)
    again = (ranked == ranked.shift()).fill_null(False)
    tied = (again | again.shift(-1).fill_null(False)).arg_true()
    if not len(tied):
        return order
    at = order.gather(tied)
    some = lines.select("job", "gpu_model", "disposition", "line")[at].with_columns(
        keys.gather(at), at=at, run=words(lines["job"].gather(at), ["run"])["run"]
    )
    some = some.sort("key", "run", "gpu_model", "disposition", "line")
    twice = some.filter(pl.col("line") == pl.col("line").shift())
    if twice.height:
        raise RatingError(f"two usages are the same line {line_text(twice['line'])[0]}: {lines.row(twice['at'][0])}")
    return order.scatter(tied, some["at"])


def _corrected(lines: pl.DataFrame, there: pl.DataFrame, words: Words) -> pl.Series:
    """The names of the lines of closed months that corrections correct: the very same one, else the nearest of that job
    and model.

    A ruling or a late record may charge what was on another account, for another project or beside another job.
    """
    later = lines.with_row_index("at").filter(pl.col("corrects") != "")
    texts = ("corrects", "project", "gpu_model", "disposition")
    since, since_there = (
        pl.col(SINCE) if SINCE in some.columns else pl.lit(0, pl.Int64).alias(SINCE) for some in (lines, there)
    )
    one = later.select("at", "job", "linked", since, *(pl.col(name).cast(pl.String) for name in texts))
    other = there.select("job", "linked", since_there, *(pl.col(name).cast(pl.String) for name in texts))
    pairs = one.join(other, on=("corrects", "job", "gpu_model"), suffix="_there")
    same = pl.col("disposition") == pl.col("disposition_there")
    pairs = pairs.filter((pl.col("job") > 0) | same)
    nearest = (
        pairs.with_columns(linked_text(words(pairs["linked_there"])).alias("linked_text"))
        .sort(
            "at",
            ~same,
            pl.col("project") != pl.col("project_there"),
            pl.col("linked") != pl.col("linked_there"),
            pl.col(SINCE) != pl.col(f"{SINCE}_there"),
            f"{SINCE}_there",
            "project_there",
            "disposition_there",
            "linked_text",
        )
        .unique("at", keep="first", maintain_order=True)
    )
    theirs = (pl.col(f"{name}_there").alias(name) for name in ("project", "disposition", "linked", SINCE))
    of = nearest.select(*theirs, "gpu_model", "job")
    month = mapped(nearest["corrects"], framed)
    about = _text(month, of, _key(words(of["job"])), _key(words(of["linked"])))
    names = nearest.select("at").with_columns(corrected=_digests(about))
    places = lines.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("at"))
    return places.join(names, on="at", how="left", maintain_order="left")["corrected"]


def linked_text(words: pl.DataFrame) -> pl.Series:
    """Jobs as people write them, ``slurm/hpc1/1234@1790812500``; empty for nobody."""
    whole = pl.concat_str("scheduler", "cluster", "run", separator="/")
    return words.select(
        pl.when(pl.col("scheduler").cast(pl.String) == "").then(pl.lit("")).otherwise(whole)
    ).to_series()
