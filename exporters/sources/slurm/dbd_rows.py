"""Rows of the slurmdbd database, told in sacct's fields and words. Pure, but for the words of SQL in it.

The tables have changed little: of what is asked here, 22.05 (version 12 of the schema) and 26.05 (version 16) have the
same, but for the SLUID, a column from 26.05 on. Times are epoch seconds, 0 or 4294967295 when not set; states and TRES
are numbers. DBIndex is beyond what a signed 64-bit number holds from 24.11 on: it is read as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from exporters.sources.slurm.hostlist import task_list

SCHEMAS = range(12, 17)
"""Versions of the schema (``convert_version_table``) that are known to be read right: of 22.05 up to 26.05."""

Names = tuple[tuple[str, str], ...]
"""What the database numbers, and its names: ``("1001", "gres/gpu")``."""

NO_VALUE = 4_294_967_294
_UNSET = 1 << 63

TOLD = (
    "id_job", "id_array_job", "id_array_task", "array_task_str", "array_max_tasks", "het_job_id", "het_job_offset",
    "time_submit", "time_eligible", "time_start", "time_end", "state", "tres_alloc", "nodes_alloc", "nodelist",
    "id_user", "account", "partition", "id_qos", "job_name", "admin_comment", "job_db_inx",
)  # fmt: skip
"""What is asked for of a cluster's job table, before the user and the suspensions."""

NULLABLE = frozenset({"account", "admin_comment", "array_task_str", "nodelist", "tres_alloc"})

NEEDED = (*TOLD, "id_assoc", "deleted")

BASES = (
    "PENDING", "RUNNING", "SUSPENDED", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED",
    "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
)  # fmt: skip
FLAGS = (
    (0x8000, "COMPLETING"), (0x800000, "STAGE_OUT"), (0x4000, "CONFIGURING"), (0x2000, "RESIZING"), (0x400, "REQUEUED"),
    (0x100000, "REQUEUE_FED"), (0x800, "REQUEUE_HOLD"), (0x1000, "SPECIAL_EXIT"), (0x10000, "STOPPED"),
    (0x80000, "REVOKED"), (0x200000, "RESV_DEL_HOLD"), (0x400000, "SIGNALING"), (0x200, "UPDATE_DB"),
    (0x20000, "RECONFIG_FAIL"), (0x100, "LAUNCH_FAILED"),
)  # fmt: skip
"""Bits beside a job's base state; the first one set is the word that sacct prints (slurm.h, job_state_string)."""

NODE_BASES = ("UNK", "DOWN", "IDLE", "ALLOC", "ERROR", "MIX", "FUTR")
NODE_SUFFIXES = (
    (1 << 15, "$"), (1 << 20, "^"), (1 << 16, "@"), (1 << 14, "#"), (1 << 18, "%"), (1 << 23, "!"), (1 << 12, "~"),
    (1 << 11, "*"),
)  # fmt: skip
"""In maintenance, rebooting, to be rebooted, powering up, powering down, to be powered down, powered down, silent."""
_NODE_DRAIN, _NODE_COMPLETING, _NODE_FAIL, _NODE_MAINT, _NODE_INVALID = 0x200, 0x400, 0x2000, 0x8000, 1 << 22

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def row_of(
    values: Mapping[str, str], qos: Mapping[str, str], tres: Names, *, cluster: str, sluids: bool
) -> dict[str, str]:
    """One row in sacct's fields. ``values`` are columns as text, with ``user`` and ``suspends``.

    ``qos`` and ``tres`` name what the database numbers. DBIndex and when the job was suspended (``start-end``, commas
    between) stand behind sacct's fields: they are part of the raw record. Raises ValueError for what does not read.
    """
    row = {
        "JobIDRaw": values["id_job"],
        "JobID": _display_id(values),
        "Submit": values["time_submit"],
        "Eligible": values["time_eligible"],
        "Start": values["time_start"],
        "End": values["time_end"],
        "State": state_word(int(values["state"])),
        "AllocTRES": tres_words(values["tres_alloc"], tres),
        "NNodes": values["nodes_alloc"],
        "NodeList": values["nodelist"],
        "User": values["user"],
        "UID": values["id_user"],
        "Account": values["account"],
        "Partition": values["partition"],
        "QOS": qos.get(values["id_qos"], ""),
        "JobName": values["job_name"],
        "AdminComment": values["admin_comment"],
        "Cluster": cluster,
        "DBIndex": values["job_db_inx"],
        "Suspends": values["suspends"],
    }
    if not sluids:
        return row
    return {**row, "SLUID": sluid(int(values["job_db_inx"])), "OriginalSLUID": sluid(int(values["sluid"]))}


def state_word(state: int) -> str:
    """The word that sacct prints for a job's state. Raises ValueError for a number that is none."""
    word = next((word for bit, word in FLAGS if state & bit), "")
    if not word and state & 0xFF >= len(BASES):
        raise ValueError(f"unknown job state {state}: does this Slurm release have a new one?")
    return word or BASES[state & 0xFF]


def node_word(state: int) -> str:
    """The word that sacctmgr prints for a node's state in an event (node_state_string_compact): a bare base state is a
    node that takes work, and no other word is.
    """
    base = state & 0xF
    busy = bool(state & _NODE_COMPLETING) or base in {3, 5}
    silent = "*" if state & (1 << 11) else ""
    if state & _NODE_MAINT and base not in {1, 3, 5}:
        return f"MAINT{silent}"
    if state & _NODE_DRAIN:
        return ("DRNG" if busy else "DRAIN") + silent
    if state & _NODE_FAIL:
        return ("FAILG" if busy else "FAIL") + silent
    if state & _NODE_INVALID:
        return "INVAL"
    suffix = next((mark for bit, mark in NODE_SUFFIXES if state & bit), "")
    return (NODE_BASES[base] if base < len(NODE_BASES) else "?") + suffix


@lru_cache(maxsize=4096)
def tres_words(counts: str, names: Names) -> str:
    """``1=4,1001=2`` -> ``cpu=4,gres/gpu=2``; without what was not counted. Raises ValueError for a nameless GRES.

    >>> tres_words("1=4,3=18446744073709551614,1001=2", (("1", "cpu"), ("3", "energy"), ("1001", "gres/gpu")))
    'cpu=4,gres/gpu=2'
    """
    known = dict(names)
    told = []
    for item in filter(None, counts.split(",")):
        number, _, count = item.partition("=")
        if number not in known:
            raise ValueError(f"TRES {number} of {counts!r} is not in tres_table")
        if int(count) < _UNSET:
            told.append(f"{known[number]}={count}")
    return ",".join(sorted(told))


@lru_cache(maxsize=65_536)
def sluid(number: int) -> str:
    """A SLUID as Slurm writes it: ``s`` and thirteen digits of Crockford's base 32."""
    digits = []
    for _ in range(13):
        number, digit = divmod(number, 32)
        digits.append(_CROCKFORD[digit])
    return "s" + "".join(reversed(digits))


def _display_id(values: Mapping[str, str]) -> str:
    array, leader = values["id_array_job"], values["het_job_id"]
    if array not in {"", "0"}:
        if values["array_task_str"]:
            return f"{array}_[{task_list(values['array_task_str'], int(values['array_max_tasks'] or 0))}]"
        if int(values["id_array_task"]) < NO_VALUE:
            return f"{array}_{values['id_array_task']}"
    return f"{leader}+{values['het_job_offset']}" if leader not in {"", "0"} else values["id_job"]
