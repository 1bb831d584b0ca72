"""What must be there in the database of slurmdbd, before a row of it is read.

The version of the schema alone does not tell: 16 is that of every release since 24.11, and 26.05 has columns that 24.11
has not. Of what is read here, the first and the last known version are alike, so any between them is read that has
every column, and has as a number or a text what is read as one.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from exporters.sources.slurm.history.dbd_rows import NUMBERS, SEVERAL, TEXTS

RELEASES = {12: "22.05", 13: "23.02", 14: "23.11", 15: "23.11 and 24.05", 16: "24.11 to 26.05"}
"""Versions of the schema (``convert_version_table``) that are known, and whose they are."""

NUMBER, TEXT = "a number", "a text"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "job_table": dict.fromkeys((*NUMBERS, *SEVERAL, "id_assoc", "deleted"), NUMBER) | dict.fromkeys(TEXTS, TEXT),
    "suspend_table": dict.fromkeys(("job_db_inx", "time_start", "time_end"), NUMBER),
    "assoc_table": {"id_assoc": NUMBER, "user": TEXT},
    "event_table": dict.fromkeys(("time_start", "time_end", "state"), NUMBER)
    | dict.fromkeys(("node_name", "tres", "reason"), TEXT),
}
"""Tables of a cluster, by what follows its name: every column that is read, and as what."""

SHARED: Mapping[str, Mapping[str, str]] = {
    "qos_table": {"id": NUMBER, "name": TEXT},
    "tres_table": {"id": NUMBER, "type": TEXT, "name": TEXT},
}
"""Tables of all clusters together."""


class SchemaError(ValueError):
    """The database is not one that is read right here; says what to do instead."""


def look(connection: Connection, cluster: str) -> frozenset[str]:
    """The columns of a cluster's job table, where all that is read is as it must be. Raises `SchemaError`."""
    version = connection.execute(text("SELECT MAX(version) FROM convert_version_table")).scalar()
    if version not in RELEASES:
        known = ", ".join(f"{number} (Slurm {release})" for number, release in RELEASES.items())
        raise SchemaError(
            f"it has version {version} of slurmdbd's schema, and known here are {known}: read this history through "
            "sacct or slurmrestd instead (slurm.history.via)"
        )
    wanted = {f"{cluster}_{name}": columns for name, columns in COLUMNS.items()} | dict(SHARED)
    found = _columns(connection, wanted)
    absent = [f"`{table}`" for table in wanted if table not in found]
    if absent:
        raise SchemaError(
            f"there is no table {', '.join(absent)}, or this user may not read it: is {cluster!r} the ClusterName?"
        )
    odd = [
        f"`{table}` has no column {name}" if name not in found[table] else f"`{table}`.{name} is not {kind}"
        for table, columns in wanted.items()
        for name, kind in columns.items()
        if found[table].get(name) != kind
    ]
    if odd:
        raise SchemaError(
            f"its version is {version}, but {', '.join(odd)}: read this history through sacct or slurmrestd instead "
            "(slurm.history.via)"
        )
    return frozenset(found[f"{cluster}_job_table"])


def _columns(connection: Connection, tables: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """The columns of each table that is there, and whether they hold numbers or texts."""
    names = {f"t{n}": name for n, name in enumerate(tables)}
    query = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns"  # noqa: S608 - no value in it
        f" WHERE table_schema = DATABASE() AND table_name IN ({', '.join(f':{key}' for key in names)})"
    )
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in connection.execute(text(query), names):
        found.setdefault(str(table), {})[str(column)] = NUMBER if str(kind).endswith("int") else _text(str(kind))
    return found


def _text(kind: str) -> str:
    return TEXT if kind.endswith(("text", "char")) else kind
