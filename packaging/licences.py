"""Write the licences of a CycloneDX bill of materials as a table: ``python packaging/licences.py BILL OUT``.

A package that names no licence is an error (exit code 1): somebody has to look at it before it is shipped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def licence(component: dict[str, Any]) -> str:
    """The licences of one component, as SPDX ids or expressions, else as the package calls them; empty without any.

    A classifier of PyPI counts by its last part. The bill keeps what a package says of its licence as a text: one line
    is a name (``BSD``), many are the licence itself, which names none.
    """
    names = []
    for entry in component.get("licenses", ()):
        named = entry.get("license", {})
        text = named.get("text", {"content": named.get("name", "")}).get("content", "").strip()
        names.append(entry.get("expression") or named.get("id") or ("" if "\n" in text else text))
    return ", ".join(sorted({name.rpartition(" :: ")[2] for name in names if name}))


def table(bill: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Lines of name, version and licence, in order of the name; and the packages that name no licence."""
    rows = sorted((c["name"].lower(), c.get("version", ""), licence(c)) for c in bill.get("components", ()))
    return ["\t".join(row) for row in rows], [name for name, _, named in rows if not named]


def main(bill: Path, out: Path) -> int:
    """Write the table of ``bill`` to ``out``; 1 where a package names no licence or the bill is empty."""
    rows, without = table(json.loads(bill.read_text()))
    out.write_text("".join(f"{row}\n" for row in ("package\tversion\tlicence", *rows)))
    if without or not rows:
        print(
            f"licences: {bill}: no licence named by: {', '.join(without) or 'anything, it is empty'}", file=sys.stderr
        )
        return 1
    print(f"licences: {len(rows)} packages, in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
