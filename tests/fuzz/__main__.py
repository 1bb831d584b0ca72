"""``python -m tests.fuzz``: a million inputs for each parser, or as many as are asked for."""

from __future__ import annotations

import argparse
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Fuzz; 1 when a parser took something wrongly."""
    parser = argparse.ArgumentParser(description="hostile bytes for every parser")
    parser.add_argument("--runs", type=int, default=1_000_000, help="inputs for each parser")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="only this one (again for another)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.runs} inputs for each parser", flush=True)
    names, faults = asked.target or sorted(TARGETS), 0
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(fuzz, name, asked.runs, asked.seed) for name in names]
        for name, future in zip(names, futures, strict=True):
            fault = future.result()
            print(f"{name}: {'well' if fault is None else 'FAULT'}", flush=True)
            if fault is not None:
                faults += 1
                print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
