"""Who holds a card here, as far as the machine itself can say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    """Where a holding was read."""

    PODRESOURCES = "podresources"
    SPOOL = "spool"
    CGROUP = "cgroup"


@dataclass(frozen=True, slots=True, order=True)
class Holding:
    """One card in one owner's hands, now.

    ``owner`` is the job id as the machine knows it for Slurm (a number, or the SLUID where cgroups are named by it),
    ``namespace/pod`` for Kubernetes. ``gpu`` is an index, ``uuid`` that of the card or MIG device; both are empty where
    only the owner is known: it runs here, and which cards it holds cannot be told.
    """

    scheduler: str
    owner: str
    basis: Basis
    gpu: str = ""
    uuid: str = ""
    pod_uid: str = ""
    container: str = ""
