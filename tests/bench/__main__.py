"""``python -m tests.bench`` (``make bench``): prints every figure, and writes build/bench.json.

Ratios are measured side by side in one process and carry over to other machines; absolute figures do not. Each part is
measured in a process of its own, so that none pays for what another has left in memory, and its figures are kept as
soon as there are any. ``python -m tests.bench PART ...`` (``make bench PARTS="..."``) measures only these parts.

Exits 1 when a goal is missed or a part has failed, 2 when there is no such part.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import (
    agent,
    commandline,
    exposition,
    intake,
    ledger,
    reconciling,
    rounds,
    scale,
    slurm,
    statements,
    whole_month,
)
from tests.bench.measure import Figure

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "build" / "bench.json"

PARTS: dict[str, Callable[[], Iterable[Figure]]] = {
    "exposition": lambda: [exposition.reading(), exposition.writing()],
    "reconciling": lambda: [reconciling.reconciling()],
    "statements": statements.statements,
    "scale": scale.figures,
    "intake": intake.figures,
    "rounds": rounds.figures,
    "ledger": ledger.figures,
    "whole_month": whole_month.figures,
    "agent": agent.figures,
    "commandline": commandline.figures,
    "slurm": slurm.figures,
}


def main(parts: Sequence[str]) -> int:
    """Measure these parts, all of them without a name; the exit status."""
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        print(f"no part of the benchmarks: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if len(parts) == 1:
        return measured(PARTS[parts[0]]())
    OUT.unlink(missing_ok=True)
    missed = []
    for part in parts or PARTS:
        done = subprocess.run([sys.executable, "-m", "tests.bench", part], cwd=ROOT, check=False)
        if done.returncode:
            missed.append(part)
    if missed:
        print(f"a goal was missed, or no figure was to be had, in: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def measured(figures: Iterable[Figure]) -> int:
    """Print figures and put them beside those that are in build/bench.json; 1 when a goal is missed, else 0."""
    found = []
    for f in figures:
        found.append(f)
        sign = "at least" if f.better == "higher" else "at most"
        verdict = "" if f.reached else "   MISSED"
        print(f"{f.name:<32} {f.value:>9.2f} {f.unit:<22} goal: {sign} {f.goal:g}{verdict}", flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    OUT.write_text(json.dumps(kept | {f.name: f.entry() for f in found}, indent=1) + "\n")
    return 0 if all(f.reached for f in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
