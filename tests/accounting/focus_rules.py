"""What a FOCUS 1.4 Cost and Usage file must hold, row by row: an oracle of `accounting.statements.columnar.focus`.

The public validator checks the shape of columns. It does not notice a cost that is not price times quantity, a row that
is there twice, a use outside of its period, an offset in a timestamp, a unit of no form, or a value that is not allowed
where another row of the file has one that is. These rules look at every row by itself, and at the file as a whole.
Levels, nulls and values are those of the specification's Cost and Usage dataset, version 1.4.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

MANDATORY = {
    "BilledCost": False, "BillingAccountId": False, "BillingAccountName": True, "BillingCurrency": False,
    "BillingPeriodEnd": False, "BillingPeriodStart": False, "ChargeCategory": False, "ChargeClass": True,
    "ChargeDescription": True, "ChargePeriodEnd": False, "ChargePeriodStart": False, "ContractedCost": False,
    "EffectiveCost": False, "HostProviderName": False, "InvoiceIssuerName": False, "ListCost": False,
    "PricingQuantity": True, "PricingUnit": True, "ServiceCategory": False, "ServiceName": False,
    "ServiceProviderName": False,
}  # fmt: skip
"""The 21 columns that every file has; whether a value may be null."""

OTHERS = {
    "ChargeFrequency", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "InvoiceId", "ListUnitPrice",
    "PricingCategory", "ResourceId", "ResourceName", "ResourceType", "ServiceSubcategory", "SkuId", "SkuMeter",
    "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags",
}  # fmt: skip
"""Conditional and recommended columns that a site's GPU time can fill."""

ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"Compute"},
    "ServiceSubcategory": {"Other (Compute)", "Containers", "Virtual Machines"},
}
NUMBERS = (
    "BilledCost", "ConsumedQuantity", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "ListCost",
    "ListUnitPrice", "PricingQuantity",
)  # fmt: skip
TIMES = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
_NUMBER = re.compile(r"-?[0-9]+\.[0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_UNIT = re.compile(r"[A-Z][A-Za-z]*s|[A-Z][A-Za-z]*-(?:Hours|Days|Months)")


def read(file: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.decode(), newline=""), strict=True))


def header(file: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(file.decode(), newline="")))


def columns_wrong(names: Sequence[str]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in MANDATORY if name not in names)
    yield from (f"{name} is no column of FOCUS" for name in names if not _known(name))
    yield from (f"{name} is there twice" for name, count in Counter(names).items() if count > 1)
    ours = [name.startswith("x_") for name in names]
    if ours != sorted(ours):
        yield "a column of ours stands before one of FOCUS"


def _known(name: str) -> bool:
    return name in MANDATORY or name in OTHERS or name.startswith("x_")


def wrong(rows: Sequence[Mapping[str, str]]) -> set[str]:
    """What is wrong with a file's rows; each finding begins with the column or the rule that it is about."""
    found = {finding for row in rows for finding in _row(row)}
    if any(count > 1 for count in Counter(tuple(row.items()) for row in rows).values()):
        found.add("row: there twice")
    if any(count > 1 for count in Counter(row["x_LineId"] for row in rows).values()):
        found.add("x_LineId: two rows of one line")
    for name in ("BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd"):
        if len({row[name] for row in rows}) > 1:
            found.add(f"{name}: more than one in one file")
    services = {(row["ServiceName"], row["ServiceCategory"]) for row in rows}
    if len(services) > len({name for name, _ in services}):
        found.add("ServiceName: in two categories")
    billed, effective = (sum(Decimal(r[name]) for r in rows if r[name]) for name in ("BilledCost", "EffectiveCost"))
    if billed != effective:
        found.add("EffectiveCost: sums to another amount than BilledCost")
    return found


def _row(row: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{name}: null" for name, may in MANDATORY.items() if not may and not row[name])
    yield from (f"{name}: not allowed" for name, allowed in ALLOWED.items() if row[name] not in allowed)
    odd = [f"{name}: no number" for name in NUMBERS if row[name] and not _NUMBER.fullmatch(row[name])]
    odd += [f"{name}: no time in UTC" for name in TIMES if not _TIME.fullmatch(row[name])]
    yield from odd
    if not odd and all(row[name] for name in ("ContractedCost", "ListCost", "BilledCost")):
        yield from _periods(row)
        yield from _arithmetic(row)
    if not re.fullmatch("[A-Z]{3}", row["BillingCurrency"]):
        yield "BillingCurrency: no code of ISO 4217"
    for quantity, unit in (("PricingQuantity", "PricingUnit"), ("ConsumedQuantity", "ConsumedUnit")):
        if bool(row[quantity]) != bool(row[unit]):
            yield f"{unit}: without its quantity, or the other way round"
        if row[unit] and not _UNIT.fullmatch(row[unit]):
            yield f"{unit}: no unit"
    if row["ResourceName"] and not row["ResourceId"]:
        yield "ResourceName: without ResourceId"
    try:
        tags = json.loads(row["Tags"])
    except ValueError:
        tags = None
    if not isinstance(tags, dict) or any(isinstance(value, dict | list) for value in tags.values()):
        yield "Tags: no keys and values"


def _periods(row: Mapping[str, str]) -> Iterator[str]:
    billed = row["BillingPeriodStart"], row["BillingPeriodEnd"]
    used = row["ChargePeriodStart"], row["ChargePeriodEnd"]
    if billed[0] >= billed[1] or used[0] >= used[1]:
        yield "period: ends before it begins"
    inside = billed[0] <= used[0] and used[1] <= billed[1]
    if not row["ChargeClass"] and not inside:
        yield "ChargePeriod: outside of the billing period, and no correction"


def _arithmetic(row: Mapping[str, str]) -> Iterator[str]:
    usual = row["ChargeCategory"] == "Usage" and not row["ChargeClass"]
    for kind in ("Contracted", "List"):
        price = row[f"{kind}UnitPrice"]
        if usual and not (price and row["PricingQuantity"]):
            yield f"{kind}UnitPrice: none of a usage"
        elif price and Decimal(price) * Decimal(row["PricingQuantity"] or 1) != Decimal(row[f"{kind}Cost"]):
            yield f"{kind}Cost: not price times quantity"
    cents = Decimal(1).scaleb(0 if row["BillingCurrency"] == "JPY" else -len(row["BilledCost"].split(".")[1]))
    of_price = 2 * abs(Decimal(row["ContractedUnitPrice"] or 0)) / 1_000_000
    if abs(Decimal(row["ContractedCost"]) - Decimal(row["BilledCost"])) > cents / 2 + of_price:
        yield "BilledCost: not what the price comes to, rounded once"
