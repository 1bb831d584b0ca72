"""The parsers, each as a function of bytes that raises what it documents and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounting.doctor.slurm_settings import parse as parse_slurm_config
from exporters.config import parse as parse_settings
from exporters.config.section import ConfigError
from exporters.exposition.reader import ExpositionError, Limits, Reader
from exporters.http.fetch import FetchError
from exporters.http.http_answer import HttpAnswer
from exporters.http.web_config import WebConfigError, parse_web_config
from exporters.http.wrong_tries import network_of
from exporters.model import Record, Reject
from exporters.node.kubelet.podresources import allocatable, holdings
from exporters.node.kubelet.wire import WireError
from exporters.node.spool import SpoolError, parse
from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.slurm.gres import parse_gres, parse_slots, parse_tres
from exporters.sources.slurm.history import rows
from exporters.sources.slurm.history.events import read_events
from exporters.sources.slurm.hostlist import expand, task_count
from exporters.sources.slurm.live import queue_json
from exporters.sources.slurm.live.live_job import FormError
from exporters.sources.slurm.runs import bridge_keys
from tests.exporters.exposition import reference

SECONDS = 2.0
"""More than any input of a few kilobytes may take, on a machine that does other things besides."""

Errors = tuple[type[Exception], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """``run`` is given bytes; ``errors`` are what it may raise."""

    run: Callable[[bytes], object]
    errors: Errors


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _page(data: bytes) -> None:
    """Ours and the reference read the same of what both accept, and ours never accepts what the reference refuses."""
    found = Reader(limits=Limits(label=1 << 20)).read(data)
    told = reference.read(data.decode())  # a ValueError here is a page that only ours accepts
    assert sorted(told) == sorted(reference.flat(*sample) for sample in found.samples())


def _page_refused(data: bytes) -> None:
    try:
        _page(data)
    except ExpositionError:
        return  # a refusal costs an endpoint its page, and no more: it is told which line


def _sacct(data: bytes) -> None:
    form = rows.form(rows.FIELDS)
    for row in rows.cut(_text(data), rows.SEPARATOR, len(rows.FIELDS)):
        if not isinstance(row, str):
            assert isinstance(rows.read(form(row), "lab"), Record | Reject)


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _object(read: Callable[[Any], object]) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        found = _json(data)
        return read(found) if isinstance(found, dict) else None

    return run


def _answer(data: bytes) -> None:
    answer = HttpAnswer(1 << 16)
    buffer = bytearray(data)
    answer.feed(buffer, len(data))
    if not answer.whole:
        answer.ended()
    assert len(answer.body) <= 1 << 16


TARGETS = {
    "exposition": Target(_page_refused, ()),
    "http-answer": Target(_answer, (FetchError,)),
    "kube-node": Target(_object(node_facts), (ValueError,)),
    "kube-pod": Target(_object(pod_facts), (ValueError,)),
    "podresources": Target(lambda data: (holdings(data, {}), allocatable(data)), (WireError,)),
    "settings": Target(lambda data: parse_settings(_text(data)), (ConfigError,)),
    "slurm-admin-comment": Target(lambda data: bridge_keys(_text(data)), ()),
    "slurm-config": Target(lambda data: parse_slurm_config(_text(data)), ()),
    "slurm-events": Target(lambda data: list(read_events(_text(data), "lab")), ()),
    "slurm-gres": Target(lambda data: (parse_gres(_text(data)), parse_slots(_text(data))), (ValueError,)),
    "slurm-hostlist": Target(lambda data: expand(_text(data)), (ValueError,)),
    "slurm-sacct": Target(_sacct, ()),
    "slurm-squeue": Target(lambda data: queue_json.read_queue(_text(data)), (FormError,)),
    "slurm-tasks": Target(lambda data: task_count(_text(data)), (ValueError,)),
    "slurm-tres": Target(lambda data: parse_tres(_text(data)), (ValueError,)),
    "spool": Target(lambda data: parse(_text(data)), (SpoolError,)),
    "wrong-tries": Target(lambda data: network_of(_text(data)), ()),
    "web-config": Target(lambda data: parse_web_config(_text(data), Path("/etc")), (WebConfigError,)),
}
"""Every parser of what comes from outside, by name; ``corpus/NAME.json`` has its inputs."""
