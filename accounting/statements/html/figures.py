"""The figures of a page, out of a statement's one table: sums, shares and the largest of each kind. Pure.

Hours are printed millionths of a GPU-hour and money is minor units, both as the statement has them: whatever a page
shows adds up to the CSV. What was measured is text as `accounting.statements.measurements` prints it, None where nobody
knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import polars as pl

from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR
from accounting.statements.compose import Statement
from accounting.statements.html.against import Cost
from accounting.statements.html.waste import CHARGED, OWN, Waste, ended, idle, orphaned
from accounting.statements.lines import line_text
from accounting.statements.measurements import measurements
from accounting.statements.usage import MEASURES
from exporters.model import Disposition

LARGEST = 10
"""Jobs and users that are named; what the others came to is one row."""

_JOB = ("scheduler", "cluster", "run", "job_name", "user", "state")


@dataclass(frozen=True, slots=True)
class Measured:
    """How well something was used (0 to 1), what it drew, and how much of the time that was seen (0 to 1)."""

    utilization: str | None = None
    energy_kwh: str | None = None
    coverage: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What has one name, in millionths of a GPU-hour and in minor units. ``count`` things are together in it."""

    name: str
    micro: int
    minor: int
    measured: Measured = Measured()
    more: Mapping[str, str] | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """All figures of one page. ``charged`` and what follows is the month's own; ``corrections`` come on top of it."""

    charged: Row
    corrections: Sequence[Row]
    cost: Cost
    models: Sequence[Row]
    clusters: Sequence[Row]
    jobs: Sequence[Row]
    users: Sequence[Row]
    projects: Sequence[Row]
    words: Mapping[Disposition, int]
    waste: Mapping[str, Waste]

    @property
    def minor(self) -> int:
        """What is to be paid, in minor units."""
        return self.cost.total


def figures(statement: Statement, inside: pl.DataFrame) -> Figures:
    """The figures of a statement, or of a project's part of one.

    ``inside`` is `accounting.statements.html.waste.pods_inside` of the whole statement.
    """
    lines = statement.lines.with_columns(pl.col(MEASURES).cast(pl.Float64))  # no type where nothing was measured
    own, later = lines.filter(CHARGED & OWN), lines.filter(CHARGED & ~OWN)
    jobs = _by_job(own, statement)
    place = pl.concat_str(pl.col("scheduler").cast(pl.String), pl.lit(" "), pl.col("cluster").cast(pl.String))
    counted = lines.filter(OWN & (pl.col("disposition") != ""))
    words = counted.group_by(pl.col("disposition").cast(pl.String)).agg(pl.col("micro").sum())
    waste = {
        "idle": idle(lines, statement.minor_digits),
        "orphaned": orphaned(lines, inside),
        **ended(jobs),
        "disputed": Waste(int(counted.filter(_IS_DISPUTED)["charged"].sum()), None),
    }
    by_model = _rows(own, pl.col("gpu_model").cast(pl.String))
    corrections = _rows(later, pl.col("corrects").cast(pl.String))
    later_minor = sum(row.minor for row in corrections)
    cost = Cost(_worth(own, statement.minor_digits), sum(row.minor for row in by_model), later_minor)
    (whole,) = _rows(own, pl.lit("")) or [Row("", 0, 0)]
    return Figures(
        whole,
        sorted(corrections, key=lambda row: row.name),
        cost,
        by_model,
        _rows(own, place),
        _largest(jobs, pl.col("job")),
        _largest(jobs, pl.col("user").cast(pl.String)),
        _rows(own, pl.col("project").cast(pl.String)),
        {Disposition(word): micro for word, micro in words.iter_rows()},
        waste,
    )


_SHARED = "(hours that nobody used)"
"""What stands in the place of a job's name and user on a line of what a card shares out."""

_IS_DISPUTED = pl.col("disposition") == Disposition.DISPUTED.value
_SUMS = (
    pl.col("micro", "minor", "held", "charged").sum(),
    *(pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in MEASURES),
)


def _worth(own: pl.DataFrame, minor_digits: int) -> Mapping[str, tuple[int, Fraction]]:
    """By GPU model milliGPU-seconds, and what they are worth in minor units before any rounding."""
    by_price = own.group_by(pl.col("gpu_model", "unit_price").cast(pl.String)).agg(pl.col("charged").sum())
    found: dict[str, tuple[int, Fraction]] = {}
    for model, price, quantity in by_price.iter_rows():
        worth = Fraction(price) * quantity * 10**minor_digits / MILLIGPU_SECONDS_PER_HOUR
        held, so_far = found.get(model, (0, Fraction(0)))
        found[model] = (held + quantity, so_far + worth)
    return found


def _by_job(own: pl.DataFrame, statement: Statement) -> pl.DataFrame:
    """Charged lines added up by job, with what is known of it in words, and its first line's name as ``line_id``."""
    jobs = own.group_by("job", maintain_order=True).agg(*_SUMS, pl.col("line").first(), pl.len().alias("lines"))
    words = statement.words.at_once(jobs["job"])(jobs["job"]) if jobs.height else statement.words(jobs["job"])
    told = jobs.with_columns(words.select(_JOB).get_columns()).with_columns(line_id=line_text(jobs["line"]))
    nobodys = pl.when(pl.col("job") == 0).then(pl.lit(_SHARED))
    return told.with_columns(
        nobodys.otherwise(pl.col(name).cast(pl.String)).alias(name) for name in ("job_name", "user")
    )


def _rows(lines: pl.DataFrame, by: pl.Expr) -> list[Row]:
    """A row for each of some names, dearest first."""
    if not lines.height:
        return []
    found = lines.group_by(by.alias("name")).agg(*_SUMS)
    return _told(found.sort("minor", "micro", "name", descending=[True, True, False]))


def _told(found: pl.DataFrame, more: Sequence[str] = ()) -> list[Row]:
    measured = measurements(found).select("avg_gpu_utilization", "energy_kwh", "telemetry_coverage")
    said = (
        found.select(pl.col(name).cast(pl.String) for name in more).rows(named=True) if more else [None] * found.height
    )
    return [
        Row(str(name), micro, minor, Measured(*seen), told)
        for (name, micro, minor), seen, told in zip(
            found.select("name", "micro", "minor").iter_rows(), measured.iter_rows(), said, strict=True
        )
    ]


def _largest(jobs: pl.DataFrame, by: pl.Expr) -> list[Row]:
    """The `LARGEST`, and as a last row with an empty name all others, where there are some."""
    more = ("line_id", *_JOB, "lines")
    firsts = [pl.col(name).first() for name in more]
    found = jobs.group_by(by.alias("name"), maintain_order=True).agg(*_SUMS, *firsts)
    found = found.sort("minor", "micro", "line_id", descending=[True, True, False])
    rest = found.slice(LARGEST)
    rows = _told(found.head(LARGEST), more)
    if rest.height:
        (others,) = _told(rest.select(pl.lit("").alias("name"), *_SUMS))
        rows.append(Row("", others.micro, others.minor, others.measured, None, rest.height))
    return rows
