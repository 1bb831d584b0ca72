"""What the sweep is measured against comes to the same as the sweep, and the month is what it is said to be."""

from __future__ import annotations

import numpy as np

from accounting.model import DAY
from tests.bench.ledger import rivals
from tests.bench.month import PERIOD, month


def test_sql_polars_and_pandas_come_to_what_the_sweep_does() -> None:
    assert {"duckdb", "polars", "pandas"} == rivals(month(20)).keys()  # raises when they do not


def test_a_month_has_about_five_thousand_claims_a_node_and_everything_that_nests() -> None:
    site = month(20)
    kinds = np.bincount(site.keys.kind, minlength=3)

    assert 90_000 < len(site.job) < 110_000
    assert 300_000 < int((site.milligpu // 1000).sum()) < 400_000
    assert (kinds[:3] > [9, 10_000, 5_000]).all()
    assert 31 * DAY == PERIOD[1] - PERIOD[0]
    assert len(np.unique(site.unit)) == len(site.unit)


def test_the_same_month_is_made_whatever_the_number_of_nodes() -> None:
    few, many = month(2), month(4)
    rows = int(few.first[-1])

    assert np.array_equal(few.milligpu, many.milligpu[:rows])
    assert np.array_equal(few.start, many.start[:rows])
    assert few.claims(np.arange(0, rows, 997)) == many.claims(np.arange(0, rows, 997))
