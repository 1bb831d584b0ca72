"""Which Slurm jobs run here, from the names of their cgroups: the fallback where no Prolog of ours runs.

cgroup v1 has ``slurm/uid_<uid>/job_<id>`` with a list of the devices that the job may use: NVIDIA cards are character
devices of major 195, and the minor is the card's number. v2 has ``…slurmstepd.scope/job_<id>``, from Slurm 26.05 on
named by the SLUID instead, and no list of devices: then only the owner is known. Inside a slurmd pod the scope lies
below the pod's own cgroup.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from exporters.node.files import read_text, text_or_empty
from exporters.node.holding import Basis, Holding

NVIDIA_MAJOR = 195
_CONTROL_MINOR = 254
"""From here on: nvidia-modeset and nvidiactl, no cards."""

_JOB = re.compile(r"job_(\d+)|(s[0-9A-Z]{13})")
_SCOPE = "slurmstepd.scope"
_SLURM_V1 = re.compile(r"slurm(?:_.+)?")
_DEVICE = re.compile(r"c (\d+):(\d+|\*) ")
_DEPTH = 8
_LIST_LIMIT = 1 << 20
_MOST_FOLDERS = 5_000


def job_name(folder: str) -> str:
    """The job id or SLUID that a cgroup's name holds; empty for any other cgroup.

    >>> job_name("job_4711"), job_name("sEKNKTV3WPV500"), job_name("step_0")
    ('4711', 'sEKNKTV3WPV500', '')
    """
    match = _JOB.fullmatch(folder)
    return (match[1] or match[2]) if match else ""


def allowed_cards(devices: str) -> tuple[str, ...] | None:
    r"""The minors of the NVIDIA cards in a v1 ``devices.list``; None when it allows every card: nobody can tell then.

    >>> allowed_cards("c 1:3 rwm\nc 195:2 rwm\nc 195:255 rwm")
    ('2',)
    """
    found = []
    for line in devices.splitlines():
        match = _DEVICE.match(line)
        if line.startswith("a ") or (match and match[1] == str(NVIDIA_MAJOR) and match[2] == "*"):
            return None
        if match and int(match[1]) == NVIDIA_MAJOR and int(match[2]) < _CONTROL_MINOR:
            found.append(match[2])
    return tuple(found)


def find_parents(root: str) -> list[str]:
    """The cgroups whose children are Slurm's jobs. It may walk thousands of folders: ask seldom.

    v1: ``devices/slurm*``, with a folder per user between; v2: the scopes of slurmstepd, at any depth (slurmd pods).
    """
    if not text_or_empty(f"{root}/cgroup.controllers"):
        return [folder.path for folder in _folders(f"{root}/devices") if _SLURM_V1.fullmatch(folder.name)]
    found, level, seen = [], [root], 0
    for _ in range(_DEPTH):  # breadth first, so that the limit cuts off depths and not slices
        children = [child for folder in level for child in _folders(folder)]
        found += [child.path for child in children if child.name.endswith(_SCOPE)]
        level = [child.path for child in children if not child.name.endswith(_SCOPE)]
        seen += len(level)
        if seen > _MOST_FOLDERS:
            break
    return found


def read_jobs(parents: Iterable[str], uuids: Mapping[str, str]) -> list[Holding]:
    """The jobs below cgroups that `find_parents` found. One whose list of devices has no card holds none: left out."""
    found: list[Holding] = []
    for parent in parents:
        for folder in _children(parent):
            name = job_name(folder.name)
            if not name:
                continue
            cards = _cards(folder.path)
            if cards is None:
                found.append(Holding("slurm", name, Basis.CGROUP))
            found += [Holding("slurm", name, Basis.CGROUP, card, uuids.get(card, "")) for card in cards or ()]
    return found


def _cards(path: str) -> tuple[str, ...] | None:
    try:
        return allowed_cards(read_text(f"{path}/devices.list", _LIST_LIMIT))
    except OSError:
        return None


def _children(parent: str) -> list[os.DirEntry[str]]:
    below = _folders(parent)
    return [child for f in below for child in (_folders(f.path) if f.name.startswith("uid_") else (f,))]


def _folders(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((e for e in entries if e.is_dir(follow_symlinks=False)), key=lambda e: e.name)
    except OSError:
        return []  # a job that just ended, or a cgroup of somebody else's
