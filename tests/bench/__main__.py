"""``python -m tests.bench`` (``make bench``): prints every figure, and writes build/bench.json.

Ratios are measured side by side in one process and carry over to other machines; absolute figures do not. Exits 1 when
a goal is missed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench import agent, intake, ledger, rounds, scale, slurm, whole_month
from tests.bench.exposition import reading, writing
from tests.bench.measure import Figure
from tests.bench.reconciling import reconciling
from tests.bench.statements import statements

OUT = Path(__file__).parent.parent.parent / "build" / "bench.json"


def main() -> int:
    """Measure everything; the exit status."""
    figures: list[Figure] = [reading(), writing(), reconciling(), *statements()]
    for part in (scale, intake, rounds, ledger, whole_month, agent, slurm):
        figures += part.figures()
    for f in figures:
        sign = "at least" if f.better == "higher" else "at most"
        verdict = "" if f.reached else "   MISSED"
        print(f"{f.name:<32} {f.value:>9.2f} {f.unit:<22} goal: {sign} {f.goal:g}{verdict}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({f.name: f.entry() for f in figures}, indent=1) + "\n")
    print(f"written to {OUT}")
    return 0 if all(f.reached for f in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
