"""``squeue`` and ``scontrol`` of the demo site: at every moment the last answer of the recorded Slurm.

These are asked once per round, hundreds of times in a demo, so the site writes what they would print into files as its
time moves, and the commands are small shell scripts that print the file that fits the call and refuse any other.
"""

from __future__ import annotations

import gzip
import json
import shlex
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data" / "slurm-live.txt.gz"

CALLS: Mapping[str, Mapping[str, str]] = {
    "squeue": {"-a --json": "squeue.json", "-a --local --json": "squeue.json", "--version": "version.txt"},
    "scontrol": {
        "-a -d -o show node": "nodes.txt",
        "--local -a -d -o show node": "nodes.txt",
        "--version": "version.txt",
    },
}
"""Command -> its words -> the file that answers them. ``--local`` changes nothing: the recorded Slurm is alone."""

_SCRIPT = """#!/bin/sh
# {name} of the demo site: prints what the recorded Slurm printed to the same call, as of the site's time.
case "$*" in
{cases}
*) echo "demo replay of {name}: this call was not recorded: $*" >&2; exit 1 ;;
esac
"""


class LiveReplay:
    """The live commands in ``folder``: call `install` once, then `advance` with the site's time."""

    def __init__(self, folder: Path) -> None:
        index, *versions = gzip.decompress(DATA.read_bytes()).decode().split("\n")
        about: Any = json.loads(index)
        self.moments: Sequence[int] = about["moments"]
        self.version: str = about["version"]
        self._jobs: Sequence[Sequence[int]] = about["jobs"]
        self._nodes: Sequence[Sequence[int]] = about["nodes"]
        self._versions = versions
        self._head = json.dumps(about["head"])[:-1]
        self._folder = folder
        self._shown = -1

    def command(self, name: str) -> tuple[str, ...]:
        """The words that run ``squeue`` or ``scontrol``."""
        return ("/bin/sh", str(self._folder / name))

    def install(self) -> None:
        """Write the commands. They answer once `advance` was called."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "version.txt").write_text(self.version)
        for name, calls in CALLS.items():
            cases = [
                f"{shlex.quote(words)}) exec cat {shlex.quote(str(self._folder / file))} ;;"
                for words, file in calls.items()
            ]
            (self._folder / name).write_text(_SCRIPT.format(name=name, cases="\n".join(cases)))

    def advance(self, to: float) -> None:
        """Answer as of ``to`` (epoch seconds) from now on; nothing ran before the recording."""
        n = bisect_right(self.moments, to) - 1
        if n == self._shown or n < 0:
            return
        jobs = ",".join(self._versions[i] for i in self._jobs[n])
        self._write("squeue.json", f'{self._head}, "jobs": [{jobs}]}}\n')
        self._write("nodes.txt", "".join(self._versions[i] + "\n" for i in self._nodes[n]))
        self._shown = n

    def _write(self, name: str, text: str) -> None:
        """Replace whole: a reader sees the old answer or the new one."""
        draft = self._folder / f".{name}"
        draft.write_text(text)
        draft.replace(self._folder / name)
