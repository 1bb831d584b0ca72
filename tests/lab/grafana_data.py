"""Values as Grafana writes them, by its own package `@grafana/data` under Node: ``python -m tests.lab.grafana_data``.

The package comes from the npm registry, locked with hashes by `tests/lab/node/grafana/package-lock.json`, into build/.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path

SOURCE = Path(__file__).parent / "node" / "grafana"
CACHE = Path(__file__).parents[2] / "build" / "node" / "grafana"
_BEGIN, _END = "\ue000", "\ue001"  # private use: no label and no number has them

Asked = tuple[float, str, float | None]
"""A number, its unit as Grafana calls it, and decimals (None = Grafana decides)."""


def present() -> bool:
    """Whether the package of this lock is there."""
    stamp = CACHE / "lock.sha256"
    return stamp.exists() and stamp.read_text() == _lock()


def fetch() -> bool:
    """Install the package; whether that worked. What npm says goes to the terminal."""
    if shutil.which("npm") is None:
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "format.cjs"):
        shutil.copyfile(SOURCE / name, CACHE / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if subprocess.run(command, cwd=CACHE, check=False).returncode:
        return False
    (CACHE / "lock.sha256").write_text(_lock())
    return True


def _lock() -> str:
    text = b"".join((SOURCE / name).read_bytes() for name in ("package-lock.json", "format.cjs"))
    return hashlib.sha256(text).hexdigest()


def texts(asked: Sequence[Asked]) -> list[str]:
    """What Grafana shows for each number."""
    if not asked:
        return []
    done = subprocess.run(
        ["node", str(CACHE / "format.cjs")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def later(number: float, unit: str, decimals: float | None = None) -> str:
    """A place in a page for a number, which `filled` puts into Grafana's words: all of a page in one go."""
    return f"{_BEGIN}{json.dumps([number, unit, decimals])}{_END}"


def filled(page: str) -> str:
    """A page with its numbers as Grafana shows them."""
    asked = re.findall(f"{_BEGIN}(.*?){_END}", page)
    different = list(dict.fromkeys(asked))
    shown = dict(zip(different, texts([json.loads(one) for one in different]), strict=True))
    return re.sub(f"{_BEGIN}(.*?){_END}", lambda found: escape(shown[found[1]]), page)


if __name__ == "__main__":
    sys.exit(0 if present() or fetch() else 1)
