"""Installs the real servers that this machine lacks: ``python -m tests.lab.install``.

What METERBRIDGE_TEST_WITHOUT names is left alone. What cannot be had is named, with how to get it, and the exit
status is 1, so that ``make test`` never passes by leaving a server out in silence.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.lab import grafana_data, newer
from tests.lab.servers import SERVERS, missing, unavailable, without

APT = Path(__file__).parent / "apt.sh"


def apt(packages: list[str]) -> bool:
    """Install packages; whether that worked. What apt says goes to the terminal."""
    return subprocess.run([str(APT), *packages], check=False).returncode == 0


def provide(
    wanted: list[str],
    install: Callable[[list[str]], bool] = apt,
    lacking: Callable[[str], list[str]] = missing,
    fetch: Callable[[str, str], bool] = newer.fetch,
) -> list[str]:
    """Install what the wanted servers lack, one server at a time; one sentence for each that still cannot be had."""
    problems = []
    for name in wanted:
        if not lacking(name):
            continue
        print(f"installing {name}: {' '.join(SERVERS[name].packages)}", flush=True)
        if suite := SERVERS[name].newer:
            fetched = [fetch(package, suite) for package in SERVERS[name].packages]
            problems += [] if all(fetched) else [unavailable(name, lacking(name))]
            continue
        if any(p in SERVERS[name].programs for p in lacking(name)):
            install(list(SERVERS[name].packages))
        if SERVERS[name].data:
            grafana_data.fetch()
        # A later Debian may have split a program off into a package of its own name (promtool).
        if still := [p for p in lacking(name) if p in SERVERS[name].programs]:
            install(still)
        if still := lacking(name):
            problems.append(unavailable(name, still))
    return problems


def main() -> int:
    """Install, and report what could not be had."""
    try:
        left_out = without()
    except ValueError as e:
        print(e, file=sys.stderr)
        return 1
    problems = provide([name for name in SERVERS if name not in left_out])
    print("".join(f"{problem}\n" for problem in problems), end="", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
