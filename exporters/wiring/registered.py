"""Which sources there are: each section of the settings that asks for some, and what builds them.

This is the one place where a source is registered, and `exporters.build` reads it. A section of the settings about a
source, or a source, that is not here fails `tests/exporters/sources/test_registered.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporters.config import Config
from exporters.sources.base import Source
from exporters.wiring import devices, fabric, kubernetes, slurm


@dataclass(frozen=True, slots=True)
class Registered:
    """One section of the settings (a field of `exporters.config.Config`) and its sources.

    ``live`` makes the sources that the exporter polls, none of them polled yet; its clock tells now in epoch seconds.
    ``describe`` tells what the section means, a sentence for each line of ``exporter --check``.
    """

    section: str
    live: Callable[[Config, Callable[[], float]], list[Source]]
    describe: Callable[[Config], list[str]]


SOURCES = (
    Registered("slurm", slurm.live, slurm.describe),
    Registered("kubernetes", kubernetes.live, kubernetes.describe),
    Registered("dcgm", devices.live, devices.describe),
    Registered("rdma", fabric.live, fabric.describe),
)
"""Every section that asks for sources, in the order in which they are polled and described."""
