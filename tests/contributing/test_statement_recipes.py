"""CONTRIBUTING's recipes for a column of the statement and for a rate, followed on a copy of the repository."""

from __future__ import annotations

import json

from tests.contributing.tree import Tree

TOLD = """
import csv, io, json
from decimal import Decimal
from accounting.statements import chargeback_csv
from accounting.statements.chargeback import chargeback_rows
from accounting.statements.csvtext import printable
from tests.accounting.produced import produced
from tests.accounting.usages import charged, slurm

month = produced([charged(slurm("1"), 1, qos="=high"), charged(slurm("2"), 2, qos="low")])
text = b"".join(chargeback_csv(month)).decode()
file, api = [*csv.DictReader(io.StringIO(text, newline=""))], [*chargeback_rows(month, printable)]
print(json.dumps([file, api, str(month.amount)]))
"""
COLUMN = (
    "tests/test_docs.py::test_every_column_is_documented_in_its_order",
    "tests/accounting/test_chargeback.py::test_the_columns_are_those_that_were_promised",
)


def told(tree: Tree) -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """The rows of a month in the file and in the API, and what they come to."""
    done = tree.run("-c", TOLD)
    assert done.returncode == 0, done.stderr
    file, api, amount = json.loads(done.stdout)
    return file, api, amount


def test_add_a_column_to_the_statement(tree: Tree) -> None:
    tree.insert(
        "accounting/statements/chargeback.py",
        '    "qos": Cell(pl.col("qos"), outside=True),\n',
        after='    "line_id": Cell(pl.col("line_id")),\n',
    )

    forgotten = tree.failing(*COLUMN)
    tree.insert(
        "docs/statements.md",
        "| `qos` | the QOS |\n",
        after="| `line_id` | the line's name, for `meterbridge explain` |\n",
    )
    tree.replace("tests/accounting/test_chargeback.py", 'linked_record, line_id"', 'linked_record, line_id, qos"')
    file, api, _ = told(tree)

    assert {
        "test_every_column_is_documented_in_its_order",
        "test_the_columns_are_those_that_were_promised",
    } == forgotten
    assert set() == tree.failing(*COLUMN)
    assert ["'=high", "low"] == [row["qos"] for row in file]
    assert ["=high", "low"] == [row["qos"] for row in api]


def test_add_a_rate(tree: Tree) -> None:
    """That every output has it is `tests.demo.test_run`'s: a price by partition, over the demo's month."""
    tree.replace(
        "accounting/rates/rating.py",
        "return (*by_model, *other)",
        'return (*by_model, *other, PriceRule(Decimal(9), {GPU_MODEL: "h100", "qos": "low"}, "rates.low"))',
    )
    file, api, amount = told(tree)

    assert [("2.10", "2.10"), ("9.00", "18.00")] == [(row["unit_price"], row["amount"]) for row in file]
    assert [row["amount"] for row in file] == [row["amount"] for row in api]
    assert "20.10" == amount
