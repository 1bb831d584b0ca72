"""A copy of the repository that is changed as a recipe of CONTRIBUTING.md says, and asked what came of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = {"build", "dist"}
"""What is made here and is no part of the repository; names with a dot in front are not, either."""


class Tree:
    """The copy at ``root``. What runs in it imports the copy, not the repository that it was made of."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for path in ROOT.iterdir():
            if path.name.startswith(".") or path.name in MADE or path.suffix == ".egg-info":
                continue
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, root / path.name)

    def text(self, path: str) -> str:
        """A file of the copy."""
        return (self.root / path).read_text()

    def write(self, path: str, text: str) -> None:
        """A new file."""
        file = self.root / path
        assert not file.exists(), path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def insert(self, path: str, text: str, *, before: str = "", after: str = "") -> None:
        """Add ``text`` right before or after the last place where a text stands; at the end of the file without one."""
        old = self.text(path)
        place = old.rfind(before or after) if before or after else len(old)
        assert place >= 0, f"{before or after!r} is not in {path}"
        place += len(after)
        (self.root / path).write_text(old[:place] + text + old[place:])

    def replace(self, path: str, old: str, new: str) -> None:
        """Put one text in the place of another, wherever that stands."""
        text = self.text(path)
        assert old in text, f"{old!r} is not in {path}"
        (self.root / path).write_text(text.replace(old, new))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Python with these words, in the copy."""
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, *words], cwd=self.root, env=env, capture_output=True, text=True, check=False, timeout=240
        )

    def meterbridge(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line of the copy."""
        return self.run("meterbridge.py", *words)

    def make(self, target: str) -> None:
        """What ``make TARGET`` runs, by the Makefile, with the environment of this test."""
        rule = re.search(rf"^{target}:[^\n]*\n((?:\t[^\n]*\n)+)", self.text("Makefile"), re.MULTILINE)
        assert rule, f"no target {target}"
        for line in rule[1].splitlines():
            python, *words = line.split()
            assert python == "$(PYTHON)", line
            done = self.run(*words)
            assert done.returncode == 0, done.stdout + done.stderr

    def failing(self, *targets: str) -> set[str]:
        """The names of the tests that fail among these files and tests, each without its file and parameters."""
        done = self.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", "-rfE", *targets)
        assert done.returncode in {0, 1}, done.stdout + done.stderr
        return set(re.findall(r"^(?:FAILED|ERROR) \S+?::(\w+)", done.stdout, re.MULTILINE))
