"""Client commands that print what a release of Slurm once printed (tests/testdata/slurm)."""

from __future__ import annotations

import gzip
import shlex
from pathlib import Path

RECORDED_DELIMITER = "|recorded|"


def recorded(folder: Path, name: str) -> str:
    """One recorded output, bytes that are not UTF-8 kept as surrogates."""
    return gzip.decompress((folder / f"{name}.gz").read_bytes()).decode("utf-8", "surrogateescape")


def script(path: Path, body: str) -> str:
    """An executable shell script; returns its path as a command word."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def commands(folder: Path, moment: str, bin_: Path, *, json: bool = True) -> dict[str, tuple[str, ...]]:
    """``sacct``, ``sacctmgr``, ``squeue`` and ``scontrol`` of a recording at a moment, as scripts in ``bin_``.

    ``json`` False makes squeue refuse ``--json``, as releases without it do.
    """
    at = shlex.quote(str(folder))
    # The delimiter of the call is the first thing between "--delimiter=" or ":<width>" and the next comma.
    refuse = "echo \"squeue: unrecognized option '--json'\" >&2; exit 1"
    tell_json = f"zcat {at}/{moment}.squeue.json.gz" if json else refuse
    bodies = {
        "sacct": f"""
case "$*" in *--version*) exec zcat {at}/version.txt.gz;; *--helpformat*) exec zcat {at}/helpformat.txt.gz;; esac
for word in "$@"; do case "$word" in --delimiter=*) delimiter="${{word#--delimiter=}}";; esac; done
zcat {at}/end.sacct.txt.gz | sed "s/{RECORDED_DELIMITER}/$delimiter/g"
""",
        "sacctmgr": f"exec zcat {at}/end.sacctmgr-event.txt.gz",
        "squeue": f"""
case "$*" in *--version*) exec zcat {at}/version.txt.gz;; *--json*) {tell_json}; exit;; esac
for word in "$@"; do case "$word" in --Format=*) form="${{word#*JobID:12}}"; delimiter="${{form%%,*}}";; esac; done
zcat {at}/{moment}.squeue.txt.gz | sed "s/{RECORDED_DELIMITER}/$delimiter/g"
""",
        "scontrol": f"""
case "$*" in *node*) exec zcat {at}/{moment}.scontrol-node.txt.gz;; esac
exec zcat {at}/{moment}.scontrol-job.txt.gz
""",
    }
    return {name: (script(bin_ / name, body),) for name, body in bodies.items()}
