"""Rating a month and printing its statement."""

from __future__ import annotations

import csv
import io

import numpy as np
import polars as pl

from accounting.statements import Statement, chargeback_csv, summary_csv
from accounting.statements.categories import ordered
from accounting.statements.chargeback import chargeback_rows
from accounting.statements.known.jobs import FEW, JOB, Known
from accounting.statements.lines import Cards, stated
from accounting.statements.usage import WORDS
from tests.accounting.usages import OCTOBER, PERIOD, RATES
from tests.bench.measure import Figure, figure, race, ratio

LINES = 20_000


def statements() -> list[Figure]:
    """Microseconds per line from usages to both files, and what the CSV costs above writing ready cells."""
    number = pl.Series("job", np.arange(1, LINES + 1))
    few = pl.Categorical()
    usages = pl.DataFrame(
        {"job": number, "charged": number * 977, "held": number * 977, "start": number + OCTOBER}
    ).with_columns(
        pl.concat_str(pl.lit("p"), pl.col("job") % 100).cast(few).alias("project"),
        pl.lit("h100", few).alias("gpu_model"),
        pl.lit("charged", WORDS).alias("disposition"),
        pl.lit("", few).alias("corrects"),
        pl.lit(0, pl.Int64).alias("linked"),
        end=pl.col("start") + 3600,
    )
    told = ["slurm", "hall", "", "resnet50", "ada", "vis", "gpu", ""]
    jobs = pl.DataFrame({"id": np.arange(LINES + 1)}).with_columns(
        *(pl.when(pl.col("id") > 0).then(pl.lit(text)).otherwise(pl.lit("")).alias(name)
          for name, text in zip(JOB, told, strict=True))
    ).with_columns(
        run=pl.when(pl.col("id") > 0).then(pl.concat_str("id", pl.lit("@1790812500"))).otherwise(pl.lit(""))
    )  # fmt: skip
    words = Known(jobs.with_columns(ordered(jobs[name]) for name in FEW))

    def made() -> Statement:
        return stated(usages, words, Cards(RATES, {}), PERIOD)

    def whole() -> int:
        month = made()
        return sum(map(len, chargeback_csv(month))) + sum(map(len, summary_csv(month)))

    month = made()
    cells = [tuple(row.values()) for row in chargeback_rows(month, str)]
    seconds = race(
        {
            "whole": whole,
            "csv": lambda: sum(map(len, chargeback_csv(month))),
            "bare": lambda: csv.writer(io.StringIO()).writerows(cells),
        }
    )
    per_line = [s / LINES * 1e6 for s in seconds["whole"]]
    return [
        figure("statement_per_line", per_line, "CPU microseconds", 100, "lower"),
        figure("chargeback_vs_csv_writer", ratio(seconds["csv"], seconds["bare"]), "times as long", 12, "lower"),
    ]
