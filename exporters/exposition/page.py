"""One round's page, in every form that is asked for; each form is made once, however many scrapers ask."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from isal import isal_zlib
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from exporters.exposition.negotiate import Form
from exporters.exposition.writer import OPENMETRICS_END, Block, openmetrics_parts, text_parts
from exporters.stages import Stages

GZIP_LEVEL = 1
"""Of isal's four levels: on 80,000 series 0.01 s, 27 times as fast as zlib's default 9, and within 5 % of its size."""

_GZIP = 31
"""zlib's word for gzip's form, with its largest window."""


def registry_block(registry: Collector) -> Block:
    """What a prometheus-client registry holds now, as one block of a page: the exporter's own metrics."""
    openmetrics: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    return Block(generate_latest(registry), openmetrics.removesuffix(OPENMETRICS_END), b"")


class Page:
    """The blocks of one round, in page order. Immutable to its users; safe to share between threads.

    Each form is made when it is first asked for. What is compressed is compressed block by block: a page that nobody
    asks for as plain text is never joined.
    """

    def __init__(self, blocks: Iterable[Block], stages: Stages | None = None) -> None:
        """``stages``: where the cost of compressing is added."""
        self._blocks = tuple(blocks)
        self._stages = stages or Stages()
        self._lock = threading.Lock()
        self._bodies: dict[tuple[Form, bool], bytes] = {}
        self.size = sum(map(len, text_parts(self._blocks)))
        """Bytes of the page as Prometheus text."""

    def ready(self, form: Form, compressed: bool) -> bytes | None:
        """The body in this form if it exists already: never waits."""
        return self._bodies.get((form, compressed))

    def body(self, form: Form = Form.TEXT, compressed: bool = False) -> bytes:
        """The body in this form, made now if nobody has asked for it before."""
        with self._lock:
            found = self._bodies.get((form, compressed))
            if found is None:
                parts = self._parts(form)
                found = self._bodies[form, compressed] = self._compressed(parts) if compressed else b"".join(parts)
            return found

    def _parts(self, form: Form) -> list[bytes]:
        if form is Form.TEXT:
            return text_parts(self._blocks)
        return [*openmetrics_parts(self._blocks), OPENMETRICS_END]

    def _compressed(self, parts: Iterable[bytes]) -> bytes:
        with self._stages.timed("compress"):
            packer = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, _GZIP)
            found = b"".join([*map(packer.compress, parts), packer.flush()])
        self._stages.add("compress", 0.0, len(found))
        return found
