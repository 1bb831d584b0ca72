"""What the ledger's tables are made of: kinds of columns, and how indexes and constraints are named."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Text, text

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""How indexes and constraints are named."""

metadata = MetaData(naming_convention=NAMES)
"""All tables; who asks it for them imports `accounting.store.tables`, which has them all."""

Big = BigInteger().with_variant(Integer(), "sqlite")  # SQLite makes only INTEGER PRIMARY KEY the row's own id

LONG = text("(end_at IS NULL OR start_at / 86400 <> (end_at - 1) / 86400)")
"""Claims that go over a midnight or still go on: the index of those is used where a query says so, too."""


def id_column() -> Column[int]:
    """A row's number."""
    return Column("id", Big, primary_key=True, autoincrement=False)


def text_column(name: str) -> Column[str]:
    """Text, empty where there is none."""
    return Column(name, Text, nullable=False, server_default="")


def time_column(name: str, *, nullable: bool = False) -> Column[int]:
    """Epoch seconds."""
    return Column(name, Big, nullable=nullable)


def ref_column(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    """The id of a row of another table."""
    return Column(name, Big, ForeignKey(target), nullable=nullable)


def of_column(name: str, *, nullable: bool = False) -> Column[int]:
    """The id of a row of another table, without a foreign key: looking each up was half of PostgreSQL's work in intake.

    `accounting.periods.check` proves that it leads somewhere (docs/adr/0014-references.md).
    """
    return Column(name, Big, nullable=nullable)
