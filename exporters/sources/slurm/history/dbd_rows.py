"""Rows of the slurmdbd database, told in sacct's fields and words. Pure, but for the words of SQL in it.

The tables have changed little: of what is asked here, 22.05 (version 12 of the schema) and 26.05 (version 16) have the
same, but for the SLUID, a column from 26.05 on. Times are epoch seconds, 0 or 4294967295 when not set; states and TRES
are numbers. DBIndex is beyond what a signed 64-bit number holds from 24.11 on: it is read as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.sources.slurm.history import rows
from exporters.sources.slurm.hostlist import task_list

Names = Mapping[str, str]
"""What the database numbers, and its names: ``1001`` is ``gres/gpu``."""

NO_VALUE = 4_294_967_294
_UNSET = 1 << 63

NUMBERS = (
    "id_job", "time_submit", "time_eligible", "time_start", "time_end", "state", "nodes_alloc", "id_user", "id_qos",
    "job_db_inx",
)  # fmt: skip
"""Columns of a cluster's job table that hold a number, told with commas between.

``sluid`` is the first of them where the release has it.
"""

SEVERAL = ("id_array_job", "id_array_task", "array_max_tasks", "het_job_id", "het_job_offset")
"""What is told next of a job that is of an array or heterogeneous, with commas between; else an empty text."""

TEXTS = ("tres_alloc", "nodelist", "account", "partition", "job_name", "admin_comment", "array_task_str")
"""Columns that hold text, which may be anything."""

NULLABLE = frozenset({"account", "admin_comment", "array_task_str", "nodelist", "tres_alloc"})

FIELDS = (*rows.FIELDS, "DBIndex", "Suspends")
"""What a record's raw text has, in its order; where there are SLUIDs, they follow."""

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

_NODE_CLOUD_OFF = 1 << 7 | 1 << 12
"""The bits CLOUD and POWERED_DOWN."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]


class Reader:
    """Reads rows of one answer. ``qos`` and ``tres`` name what the database numbers, ``suspended`` says by DBIndex when
    a job was suspended (``start-end``, commas between): it and DBIndex stand in the raw record behind sacct's fields.
    """

    def __init__(self, cluster: str, qos: Names, tres: Names, suspended: Mapping[str, str], *, sluids: bool) -> None:
        self.cluster = cluster
        self.qos = qos
        self.suspended = suspended
        self.sluids = sluids
        self._form = rows.form((*FIELDS, "SLUID", "OriginalSLUID") if sluids else FIELDS)
        self._states: dict[str, str] = {}
        self._tres: dict[str, str] = {}
        self._names = tres

    def native_id(self, values: Sequence[str]) -> str:
        """The job's number."""
        return values[0].split(",")[1 if self.sluids else 0]

    def row(self, values: Sequence[str]) -> rows.Row:
        """One row: `NUMBERS`, `SEVERAL`, `TEXTS`, and its user. Raises ValueError for what does not read."""
        numbers, several, tres, node_list, account, partition, name, admin_comment, tasks, user = values
        *original, native_id, submit, eligible, start, end, state, nodes, uid, qos, index = numbers.split(",")
        if state not in self._states:
            self._states[state] = state_word(int(state))
        if tres not in self._tres:
            self._tres[tres] = tres_words(tres, self._names)
        told = [
            native_id,
            _display_id(native_id, several, tasks) if several else native_id,
            submit,
            eligible,
            start,
            end,
            self._states[state],
            self._tres[tres],
            nodes,
            node_list,
            user,
            uid,
            account,
            partition,
            self.qos.get(qos, ""),
            name,
            admin_comment,
            self.cluster,
            index,
            self.suspended.get(index, ""),
        ]
        if self.sluids:
            told += sluid(int(index)), sluid(int(original[0]))
        return self._form(told)


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


def is_absent(state: int) -> bool:
    """Whether a node in this state is no machine: State=FUTURE, or a powered-down node of State=CLOUD (slurm.h)."""
    return state & 0xF == NODE_BASES.index("FUTR") or state & _NODE_CLOUD_OFF == _NODE_CLOUD_OFF


def tres_words(counts: str, names: Names) -> str:
    """``1=4,1001=2`` -> ``cpu=4,gres/gpu=2``; without what was not counted. Raises ValueError for a nameless GRES.

    >>> tres_words("1=4,3=18446744073709551614,1001=2", {"1": "cpu", "3": "energy", "1001": "gres/gpu"})
    'cpu=4,gres/gpu=2'
    """
    told = []
    for item in filter(None, counts.split(",")):
        number, _, count = item.partition("=")
        if number not in names:
            raise ValueError(f"TRES {number} of {counts!r} is not in tres_table")
        if int(count) < _UNSET:
            told.append(f"{names[number]}={count}")
    return ",".join(sorted(told))


def sluid(number: int) -> str:
    """A SLUID as Slurm writes it: ``s`` and thirteen digits of Crockford's base 32."""
    pairs = [_PAIRS[number >> shift & 1023] for shift in (50, 40, 30, 20, 10, 0)]
    return f"s{_CROCKFORD[number >> 60]}{''.join(pairs)}"


def _display_id(native_id: str, several: str, tasks: str) -> str:
    """What people type for a job of an array or of a heterogeneous one; ``several`` are `SEVERAL`."""
    array, task, most, leader, offset = several.split(",")
    if array != "0":
        if tasks:
            return f"{array}_[{task_list(tasks, int(most))}]"
        if int(task) < NO_VALUE:
            return f"{array}_{task}"
    return f"{leader}+{offset}" if leader != "0" else native_id
