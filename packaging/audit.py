"""Look for known vulnerabilities of a lock: ``python packaging/audit.py LOCK`` (``make audit``).

Exit code 1 where one is known. A database that cannot be reached proves nothing, and is no fault of the lock: it is
said (``NOT AUDITED``), and the exit code is 0. Any other failure is an error of the audit itself, with exit code 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# what pip-audit and the client below it say where nobody answers, or somebody who is not the database
UNREACHABLE = ("Could not connect", "Failed to resolve", "Max retries exceeded", "timed out", "Connection refused")


def verdict(report: dict[str, Any] | None, said: str) -> tuple[int, list[str]]:
    """The exit code and what to tell, from pip-audit's JSON report (None where it wrote none) and its stderr."""
    if report is None:
        if any(sign in said for sign in UNREACHABLE):
            return 0, ["NOT AUDITED: the database of vulnerabilities could not be reached; run make audit where it can"]
        return 2, [f"the audit failed: {said.strip() or 'pip-audit said nothing'}"]
    told = report.get("dependencies", [])
    skipped = [d for d in told if "skip_reason" in d]
    found = [
        f"{d['name']} {d['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no release yet'}"
        for d in told
        for v in d.get("vulns", ())
    ]
    if len(skipped) == len(told):  # an index that is no PyPI knows of no vulnerability, and says so of each package
        why = skipped[0]["skip_reason"] if skipped else "the report is empty"
        return 0, [f"NOT AUDITED: none of {len(told)} packages could be looked up: {why}"]
    lines = [*found, *(f"{d['name']}: not looked at: {d['skip_reason']}" for d in skipped)]
    return int(bool(found)), [
        *lines,
        f"{len(told) - len(skipped)} packages looked up, {len(found)} known vulnerabilities",
    ]


def main(lock: str) -> int:
    """Ask pip-audit about every package of ``lock``, and tell what it found."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes", "--disable-pip"]
        command += ["--progress-spinner=off", "--timeout=15", "--format=json", f"--output={out}"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        code, lines = verdict(json.loads(out.read_text()) if out.exists() else None, ran.stderr)
    for line in lines:
        print(f"audit: {lock}: {line}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
