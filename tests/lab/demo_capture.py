"""Record what a real Slurm prints while the demo's story is played: one file, every output as it was printed.

The recording is lines of JSON, compressed: first what was recorded and where, then one line per second
``{"second": 12, "at": 1795326175.012, "outputs": {"squeue": "..."}, "steps": ["submit ..."]}``.
A sample is taken just after a second begins, so it holds everything that happened up to the end of the second before;
accounting is asked every other second, and story steps run in the middle of a second. This machine's host name and
kernel are replaced by made ones as the output comes in; nothing else is touched.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab.demo_story import ACCOUNTS, CLUSTER, GROUPS, QOS, SECONDS, USERS, Step, steps
from tests.lab.slurm import SlurmLab

LIVE = {
    "squeue": ("squeue", "-a", "--json"),
    "scontrol": ("scontrol", "-a", "-d", "-o", "show", "node"),
}
"""Asked at the beginning of every second."""

HISTORY = {
    "sacct": ("sacct", "-D", "-X", "-a", "-P", "--delimiter=\x1f", "-S", "now-1day", "-o", "ALL"),
    "sacctmgr": (
        "sacctmgr", "-P", "show", "event", "start=2020-01-01",
        "format=Cluster,ClusterNodes,Duration,End,Event,EventRaw,NodeName,Reason,Start,State,StateRaw,TRES,User",
    ),
}  # fmt: skip
"""Asked every other second, for every field there is, of which the replay then prints those that it is asked for."""

ONCE = {
    "sacct --helpformat": ("sacct", "--helpformat"),
    "sacct --version": ("sacct", "--version"),
    "squeue --version": ("squeue", "--version"),
    "sacctmgr show qos": ("sacctmgr", "-P", "show", "qos", "format=name,priority,preempt"),
}
"""Asked once, at the end."""

EXTRA = ("SlurmdTimeout=5", "MinJobAge=2")
"""What Slurm does after minutes must happen within seconds here: a killed slurmd is noticed (else the node would be
gone for weeks of the month), an ended job leaves the queue (else it would show ended jobs of the last two weeks)."""

SETTLE_S = 6
"""Seconds recorded after the story: accounting lags behind the queue."""


class Capture:
    """Runs client commands against the lab and returns their output with this machine's identity replaced."""

    def __init__(self, lab: SlurmLab) -> None:
        asked = {"TZ": "UTC", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}  # as meterbridge's sources ask
        self._env = {**os.environ, **lab.environment, **asked}
        self._names = ((socket.gethostname().split(".")[0], "lab"), (platform.release(), "6.1.0-amd64"))

    def ask(self, command: Sequence[str]) -> str:
        """One command's standard output; RuntimeError when it fails."""
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        text = done.stdout
        for found, made in self._names:
            for before in ("NodeHostName=", '"hostname": "', "Linux ", "AllocNode:Sid=", '"alloc_node": "'):
                text = text.replace(f"{before}{found}", f"{before}{made}")
        return text


def record(file: Path, say: Callable[[str], None] = print) -> None:
    """Start the lab, play the story and write the recording. Takes the story's length and some seconds."""
    root = Path(tempfile.mkdtemp(prefix="slurm-demo-"))
    with (
        lzma.open(file, "wt", encoding="utf-8", preset=6) as out,
        SlurmLab(root, groups=GROUPS, cluster=CLUSTER, users=USERS, extra=EXTRA) as lab,
    ):
        lab.seed(ACCOUNTS, QOS)
        capture = Capture(lab)
        begin = int(time.time()) + 2
        _write(out, {"format": 1, "cluster": CLUSTER, "begin": begin, "seconds": SECONDS})
        pending = steps()
        ids: dict[str, str] = {}
        for second in range(SECONDS + SETTLE_S + 1):
            _until(begin + second + 0.004)
            line: dict[str, Any] = {"second": second, "at": round(time.time(), 3)}
            line["outputs"] = {name: capture.ask(words) for name, words in LIVE.items()}
            line["sampled_s"] = round(time.time() - line["at"], 3)
            _until(begin + second + 0.35)
            due = [step for step in pending if step.second <= second]
            pending = pending[len(due) :]
            line["steps"] = [_play(step, lab, ids) for step in due]
            if second % 2 == 0 or second > SECONDS:
                _until(begin + second + 0.6)
                line["outputs"] |= {n: capture.ask(w) for n, w in HISTORY.items()}
            line["late_s"] = round(max(0.0, time.time() - (begin + second + 1)), 3)
            _write(out, line)
            if second % 30 == 0:
                say(f"second {second} of {SECONDS}: {len(ids)} jobs submitted")
        _write(out, {"outputs": {name: capture.ask(words) for name, words in ONCE.items()}})


def _play(step: Step, lab: SlurmLab, ids: dict[str, str]) -> str:
    """Do one step; what was done, with Slurm's words where it refused (the builder checks what must have happened)."""
    try:
        step.do(lab, ids)
    except RuntimeError as refused:
        return f"{step.what}: refused: {refused}"
    return step.what


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _write(out: Any, line: dict[str, Any]) -> None:
    out.write(json.dumps(line) + "\n")
