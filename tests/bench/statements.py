"""Rating a month and printing its statement."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from accounting.rates.rating import rate
from accounting.statements import chargeback_csv, compose, summary_csv
from accounting.statements.chargeback import chargeback_rows
from tests.accounting.usages import OCTOBER, PERIOD, RATES, charged, slurm
from tests.bench.measure import Figure, figure, race, ratio

LINES = 20_000


def statements() -> list[Figure]:
    """Microseconds per line from usages to both files, and what the CSV costs above writing ready cells."""
    model = charged(slurm("1"), 1, job_name="resnet50", user="ada", account="vis", partition="gpu")
    usages = [
        replace(
            model,
            job=slurm(f"{n}@1790812500"),
            project=f"p{n % 100}",
            held=n * 977,
            charged=n * 977,
            start=OCTOBER + n,
            end=OCTOBER + n + 3600,
        )
        for n in range(1, LINES + 1)
    ]
    month = compose(rate(usages, RATES, PERIOD), RATES, PERIOD)
    cells = list(chargeback_rows(month, str))

    def whole() -> int:
        made = compose(rate(usages, RATES, PERIOD), RATES, PERIOD)
        return sum(map(len, chargeback_csv(made))) + sum(map(len, summary_csv(made)))

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
