"""Which modules a command loads, seen in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
before = set(sys.modules)  # a virtual environment loads some by itself
from meterbridge import main
try:
    main(sys.argv[1:])
finally:
    print(*set(sys.modules) - before, file=sys.stderr)
"""


def modules_of(*words: str) -> set[str]:
    """The names of every module that ``meterbridge WORDS`` has loaded when it ends. It must end with 0."""
    command = [sys.executable, "-c", SCRIPT, *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd="/", timeout=60).stderr
    return set(told.splitlines()[-1].split())


def foreign(modules: set[str]) -> set[str]:
    """The packages among modules that are neither Python's own nor ours."""
    ours = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    top = {name.partition(".")[0] for name in modules}
    return top - ours - sys.stdlib_module_names
