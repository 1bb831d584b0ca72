"""CONTRIBUTING's recipes about the statement, followed on a copy of the repository: a rate, a column."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from subprocess import CompletedProcess
from typing import Any

from tests.contributing.tree import Tree

RULE = """        when = {"partition": "gpu", GPU_MODEL: "h100"}
        by_partition = [PriceRule(Decimal("10.00"), when, "rates.partition.gpu")]
"""
AS_MANY_COLUMNS = RULE.replace(', GPU_MODEL: "h100"', "")
PRICE = {"gpu": Decimal("10.00"), "": Decimal("2.10")}
"""By partition: the rule's, and the model's for pods, which have none."""

Rows = list[dict[str, str]]


def asked(tree: Tree) -> CompletedProcess[str]:
    """One October, booked in the copy, in every place where somebody reads it."""
    folder = tree.root / "october"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return tree.run("-m", "tests.contributing.outputs", str(folder))


def outputs(tree: Tree) -> dict[str, Any]:
    """What is read there."""
    done = asked(tree)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def charges(rows: Rows) -> list[tuple[str, Decimal, Decimal, Decimal]]:
    """Partition, hours, price and amount of each line that is paid for."""
    return [
        (r["partition_or_queue"], Decimal(r["charged_gpu_hours"]), Decimal(r["unit_price"]), Decimal(r["amount"]))
        for r in rows
        if r["disposition"] == "charged"
    ]


def test_add_a_rate(tree: Tree) -> None:
    tree.insert(
        "accounting/rates/rating.py", AS_MANY_COLUMNS, before="        return (*by_model, *other, *self.more)\n"
    )
    tree.replace(
        "accounting/rates/rating.py",
        "return (*by_model, *other, *self.more)",
        "return (*by_partition, *by_model, *other, *self.more)",
    )

    twice = asked(tree)
    tree.replace("accounting/rates/rating.py", AS_MANY_COLUMNS, RULE)
    told = outputs(tree)
    lines = charges(told["csv"])
    whole = sum((amount for *_, amount in lines), Decimal())
    last = told["summary"][-1]

    assert "rates.partition.gpu and rates.gpu_hour.h100 both give a price, with equal right" in twice.stderr
    assert {"gpu", ""} == {partition for partition, *_ in lines}
    assert [(p, hours, PRICE[p], round(hours * PRICE[p], 2)) for p, hours, *_ in lines] == lines
    assert lines == charges(told["api"]) == charges(told["api_csv"])
    assert str(whole) == last["amount"]
    for row in told["summary"]:  # of an open month, which the API says once for all rows
        assert row.pop("state").startswith("open")
    assert told["summary"][:-1] == told["api_summary"]
    assert {"vision": float(whole)} == {project: float(paid) for project, paid in told["charge"].items()}
    assert f"2026-10 is closed: {whole} EUR\n" == told["closed"]
    assert "every invariant holds\n" == told["checked"]


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
        after='    "price_rule": Cell(pl.col("price_rule"), outside=True),\n',
    )

    forgotten = tree.failing(*COLUMN)
    tree.insert(
        "docs/statements.md",
        "| `qos` | the QOS |\n",
        after="empty without a price |\n",
    )
    tree.replace("tests/accounting/test_chargeback.py", 'service_units, price_rule"', 'service_units, price_rule, qos"')
    file, api, _ = told(tree)

    assert {
        "test_every_column_is_documented_in_its_order",
        "test_the_columns_are_those_that_were_promised",
    } == forgotten
    assert set() == tree.failing(*COLUMN)
    assert ["'=high", "low"] == [row["qos"] for row in file]
    assert ["=high", "low"] == [row["qos"] for row in api]
