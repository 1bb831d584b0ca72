"""Columns of texts of which there are few: in their order, and changed once for each text."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


def ordered(texts: pl.Series) -> pl.Series:
    """The same texts as an Enum of those that occur, in their order."""
    return texts.cast(pl.Enum(sorted(texts.unique().cast(pl.String))))


def categories(texts: pl.Series) -> pl.Series:
    """The texts that an Enum may have, in its order."""
    kind = texts.dtype
    if not isinstance(kind, pl.Enum):
        raise TypeError(f"{texts.name} is {kind}, and has no order of its own")
    return kind.categories


def mapped(texts: pl.Series, change: Callable[[str], str]) -> pl.Series:
    """What ``change`` makes of each text."""
    coded = texts if isinstance(texts.dtype, pl.Enum) else ordered(texts)
    made = pl.Series([change(text) for text in categories(coded)], dtype=pl.String)
    return made.gather(coded.to_physical()).alias(texts.name)
