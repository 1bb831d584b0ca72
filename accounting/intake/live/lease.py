"""Which process may record under a name: one at a time, so that two exporters on one ledger are noticed.

Two that write in turns would each take the other's rounds for its own: a pair of exporters for the same machines, or a
copy of a settings file. The one that holds the lease goes on; the other one's rounds wait, and say whom they wait for.
When the holder ends, or has written nothing for as long as the lease lasts, the next one that asks takes it over.
"""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path

from sqlalchemy import Connection, select

from accounting.store.database import LedgerError, upsert
from accounting.store.tables import leases

SECONDS = 60.0
"""How long a lease lasts at least without a write; longer where rounds are rarer."""

_PROC = Path("/proc")


class HeldError(LedgerError):
    """Another process records under this name. The message says which, and what to do."""


@functools.cache
def this_process() -> str:
    """What names this process: machine, its boot, the process ids' own name space, id and start.

    No two processes share it, not even one after the other; a process that was forked has a name of its own.
    """
    return _named(os.getpid())


os.register_at_fork(after_in_child=this_process.cache_clear)


def take(connection: Connection, name: str, now: float, seconds: float) -> None:
    """Take or renew the lease of ``name`` in the caller's transaction; ``now`` is epoch seconds.

    Raises `HeldError` where another process that may still live has it, written less than ``seconds`` ago.
    """
    now_ms = int(now * 1000)
    found = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    age = 0.0 if found is None else (now_ms - found.held_at_ms) / 1000
    holder = "" if found is None else str(found.holder)
    if holder == this_process() and abs(age) < seconds / 4:
        return  # not each round writes a row that says nothing new
    if holder not in {"", this_process()} and abs(age) < seconds and not _has_ended(holder):
        where, process = holder.partition("/")[0], holder.rsplit("/", 2)[-2]
        raise HeldError(
            f"{where} (process {process}) recorded as {name!r} in this ledger {age:.0f} s ago: stop one of the two, or "
            "give each its own --shard"
        )
    values = {"holder": this_process(), "held_at_ms": now_ms}
    put = upsert(leases, connection.dialect.name).values(name=name, **values)
    connection.execute(put.on_conflict_do_update(index_elements=["name"], set_=values))


def give_back(connection: Connection, name: str) -> None:
    """End the lease, if it is this process's, in the caller's transaction: the next one need not wait."""
    own = (leases.c.name == name) & (leases.c.holder == this_process())
    connection.execute(leases.update().where(own).values(holder=""))


def _named(process: int) -> str:
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    space = (_PROC / "self/ns/pid").readlink()
    return f"{socket.gethostname()}/{boot}/{space}/{process}/{_started(process)}"


def _started(process: int) -> str:
    """When a process began, in the kernel's ticks since the machine did; it tells two that share an id apart."""
    return (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[19]


def _has_ended(holder: str) -> bool:
    """Whether a holder is known to be gone: it was here, and its process is not any more."""
    place, process, _ = holder.rsplit("/", 2)
    if place != this_process().rsplit("/", 2)[0]:
        return False
    try:
        return _named(int(process)) != holder
    except (OSError, ValueError):
        return True
