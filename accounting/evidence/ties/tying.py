"""Which claims a link key ties to each other: the one text of it, for a day, over its borders, and for the sweep.

A key of a kind of `TIES` names a run or a pod of the other scheduler by its native id: in a cluster or, where it says
none, in any. It ties its claim to those that bear this name and are there at the same time or within `NEAR` of it.
Whether it tells the truth is another question (`exporters.join.links`); whoever has to answer it must see both claims.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accounting.arrays import Flags, Ints
from accounting.model import NEAR
from exporters.model import LinkKind

TIES = (LinkKind.SAME.value, LinkKind.INSIDE.value)
"""Kinds of keys that name a claim."""


class Side(NamedTuple):
    """What of claims that a key may tie decides about it: an entry each, or what broadcasts to that.

    ``slurm`` is whether the job is Slurm's, ``cluster`` a number for its cluster; ``start`` and ``end`` are seconds.
    """

    slurm: Any
    cluster: Any
    start: Any
    end: Any


def tied(naming: Side, cluster: Any, anywhere: Any, bearing: Side) -> Flags:
    """Whether keys of ``naming`` tie it to ``bearing``, which bears the name that they tell.

    ``cluster`` and ``anywhere`` are of the keys: the number of the cluster that each tells, and whether it tells none.
    """
    near = (naming.start - NEAR <= bearing.end) & (bearing.start - NEAR <= naming.end)
    found: Flags = near & (anywhere | (cluster == bearing.cluster)) & (naming.slurm != bearing.slurm)
    return found


def equal_names(some: Ints, others: Ints) -> tuple[Ints, Ints]:
    """Every pair of equal numbers: the place of the one, and that of the other."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    first, last = np.searchsorted(ordered, some), np.searchsorted(ordered, some, side="right")
    count = last - first
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(np.arange(len(some)), count), order[np.repeat(first, count) + within]
