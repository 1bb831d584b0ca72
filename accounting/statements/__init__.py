"""Statements: what finance receives, as files.

    chargeback-2026-10.csv          every line (`chargeback`)
    chargeback-2026-10-summary.csv  the totals, and capacity (`summary`)
    chargeback-2026-10-notes.txt    the rules it was made by (`notes`)
    2026-10.html, 2026-10/*.html    pages that people read (`html`), where they are asked for

The same lines give the same bytes, whatever their order. A file is either the old one or the new one, never half, and
all are written before the first takes its place (`files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from accounting.rates.rating import Rates
from accounting.statements.chargeback import chargeback_csv
from accounting.statements.compose import Statement
from accounting.statements.files import write_together
from accounting.statements.notes import Basis, Terms, notes_text
from accounting.statements.summary import summary_csv

__all__ = ["Basis", "Statement", "Terms", "chargeback_csv", "summary_csv", "write_statement"]


def write_statement(
    folder: Path,
    statement: Statement,
    rates: Rates,
    terms: Terms,
    basis: Basis | None = None,
    more: Mapping[Path, Iterable[str | bytes]] = MappingProxyType({}),
) -> list[Path]:
    """Write the three files of a statement into ``folder`` (made if missing), and ``more``; return their paths.

    Raises OSError when the folder cannot be written; what was there before is then still whole.
    """
    stem = f"chargeback-{statement.billing_period}"
    files: dict[Path, Iterable[str | bytes]] = {
        folder / f"{stem}.csv": chargeback_csv(statement),
        folder / f"{stem}-summary.csv": summary_csv(statement),
        folder / f"{stem}-notes.txt": notes_text(statement, rates, terms, basis),
        **more,
    }
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
    return write_together(files)
