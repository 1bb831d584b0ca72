"""Which Slurm job holds which card, from the files that our Prolog drops (exporters/node/slurm/prolog.sh).

One file per job and Slurm node, ``<job>@<node>``, of ``key=value`` lines; the Epilog renames it to ``….ended``. A file
that does not look like one of ours is set aside and told, never followed: it must be a plain file of root's or of our
own user that nobody else can write.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from exporters.node.files import names
from exporters.node.holding import Basis, Holding
from exporters.node.kubelet.podresources import device

LIMIT = 65536
CARDS = 256
"""More than any machine has, MIG slices counted."""
FILES = 4096
"""More jobs than ever share a machine; the rest is not read."""
TOLD = 20
"""Names that are told of what was set aside; the rest is one line."""
ENDED = ".ended"

_GPUS = re.compile(r"[0-9]{1,4}(?:-[0-9]{1,4})?")


class SpoolError(ValueError):
    """A file of the spool that cannot be used. The message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one file says. ``gpus`` are ``(index, uuid)``, one of the two empty; ``end`` None = the job still runs."""

    job: str
    gpus: tuple[tuple[str, str], ...]
    boot: str = ""
    cluster: str = ""
    end: int | None = None


def parse(text: str) -> Record:
    """A file's text. Raises `SpoolError`."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals:
            raise SpoolError(f"not a key=value line: {line[:60]!r}")
        said[key] = value
    job, end = said.get("job", ""), said.get("end")
    if not _digits(job):
        raise SpoolError(f"job={job[:60]!r} is not a job id")
    if end is None:
        raise SpoolError("it has no end= line: it was cut off")
    if end and not _digits(end):
        raise SpoolError(f"end={end[:60]!r} is not a time in epoch seconds")
    return Record(
        job, parse_gpus(said.get("gpus", "")), said.get("boot", ""), said.get("cluster", ""), int(end) if end else None
    )


def parse_gpus(text: str) -> tuple[tuple[str, str], ...]:
    """``0,2-3`` or UUIDs as ``(index, uuid)``. Raises `SpoolError`.

    >>> parse_gpus("0,2-3,MIG-6d0e")
    (('0', ''), ('2', ''), ('3', ''), ('', 'MIG-6d0e'))
    """
    found: list[tuple[str, str]] = []
    for part in filter(None, text.split(",")):
        if _GPUS.fullmatch(part):
            first, _, last = part.partition("-")
            found += [(str(index), "") for index in range(int(first), min(int(last or first), int(first) + CARDS) + 1)]
        elif any(one := device(part)):
            found.append(one)
        else:
            raise SpoolError(f"gpus={part[:60]!r} is neither an index nor a UUID")
        if len(found) > CARDS:
            raise SpoolError(f"gpus={text[:60]!r} names more than {CARDS} cards")
    if not found:
        raise SpoolError("gpus= names no card")
    return tuple(dict.fromkeys(found))


def read_spool(folder: str, boot: str, uuids: Mapping[str, str]) -> tuple[list[Holding], list[tuple[str, str, str]]]:
    """The holdings of jobs that run, and ``(basis, file, reason)`` of what was set aside.

    ``boot`` is this boot's id: a file of another one is a leftover of jobs that the reboot ended. ``uuids`` are the
    machine's card UUIDs by minor number, which is the number that Slurm gives a card. Raises OSError when the folder is
    there and closed.
    """
    found: list[Holding] = []
    aside: list[tuple[str, str, str]] = []
    running = [name for name in names(folder) if not name.startswith(".") and not name.endswith(ENDED)]
    for name in running[:FILES]:
        try:
            record = parse(_read(f"{folder}/{name}"))
        except FileNotFoundError:
            continue  # the job ended between two looks
        except (SpoolError, OSError) as error:
            aside.append((Basis.SPOOL.value, name[:80], str(error)))
            continue
        if record.end is None and record.boot in {"", boot}:
            found += [
                Holding("slurm", record.job, Basis.SPOOL, gpu, uuid or uuids.get(gpu, "")) for gpu, uuid in record.gpus
            ]
    if len(running) > FILES:
        aside.append((Basis.SPOOL.value, "files", f"{len(running)} files, of which {FILES} are read"))
    return found, _some(aside)


def _some(aside: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """What is told of it: each is a series, and who can make files here could make as many as he likes."""
    if len(aside) <= TOLD:
        return aside
    return [*aside[:TOLD], (Basis.SPOOL.value, "others", f"{len(aside) - TOLD} more, the last {aside[-1][1]}")]


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SpoolError("it is not a plain file")
        if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise SpoolError("others than root can write it")
        if status.st_size > LIMIT:
            raise SpoolError(f"it has {status.st_size} bytes, more than {LIMIT}")
        return os.read(descriptor, LIMIT).decode(errors="replace")
    finally:
        os.close(descriptor)


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()
