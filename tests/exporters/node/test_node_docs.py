"""docs/node-agent.md says of every counter and family what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from exporters.fabric_model import LABELS, PortQuantity
from exporters.node import families
from exporters.node.counters import COUNTERS, EXPOSED_HW_COUNTERS, HW_COUNTERS
from exporters.node.holding import Basis
from tests.exporters.node.test_node_exporter import NODE_EXPORTER

TEXT = (Path(__file__).parents[3] / "docs" / "node-agent.md").read_text()
LINES = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def counter_rows() -> list[tuple[list[str], set[str], list[str]]]:
    """Files, quantities and node_exporter's name of each row of the two tables of files."""
    known = COUNTERS.keys() | HW_COUNTERS.keys()
    return [(words(c[0]), set(words(c[1])), words(c[2])) for c in LINES if len(c) == 3 and words(c[0])[0] in known]


def written(name: str, labels: tuple[str, ...]) -> str:
    pairs = ",".join(f'{k}="{v}"' for k, v in zip(LABELS.get(PortQuantity(name), ()), labels, strict=True))
    return f"{name}{{{pairs}}}" if pairs else name


def test_every_file_is_documented_with_its_quantity() -> None:
    meanings = {**HW_COUNTERS, **COUNTERS}
    documented = {file: quantities for files, quantities, _ in counter_rows() for file in files}

    assert meanings.keys() == documented.keys()
    assert [] == [
        file
        for file, meaning in meanings.items()
        if written(meaning.quantity.quantity.value, meaning.quantity.labels) not in documented[file]
    ]


def test_what_node_exporter_serves_is_documented_with_its_name() -> None:
    told = {file: theirs for files, _, theirs in counter_rows() for file in files if theirs}

    assert COUNTERS.keys() | EXPOSED_HW_COUNTERS == told.keys()
    assert {f"node_infiniband_{name}_total" for name in NODE_EXPORTER} == {theirs[0] for theirs in told.values()}


def test_every_family_is_documented_with_its_labels() -> None:
    documented = {words(c[0])[0]: words(c[1]) for c in LINES if words(c[0])[0].startswith("meterbridge_agent_")}
    served = {f.name: list(f.labels) for f in families.families(families.Round(), "0")}

    assert served == {name: labels for name, labels in documented.items() if "<quantity>" not in name}


def test_every_basis_is_documented() -> None:
    assert {basis.value for basis in Basis} <= {words(c[0])[0] for c in LINES}
