r"""Recorded counters, for replay. Two forms, either of them plain or gzipped:

- **OpenMetrics** with a time on every sample, as ``promtool tsdb dump-openmetrics`` writes it from a Prometheus that
  scrapes meterbridge: its series are replayed as they are, jobs included.
- **Pages** of node_exporters and node agents, each after a line ``# page at=SECONDS`` (epoch, may have decimals)::

      # page at=1764000000
      node_uname_info{nodename="gn01"} 1
      node_infiniband_port_packets_received_total{device="mlx5_0",port="1"} 9120382
      ...

  ``node=NAME`` on that line names the machine where the page does not. Pages of one round may have times of their own:
  those within half an interval of the first count as read with it. They go through the exporter's own source, and its
  counters.
"""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from alerts.thresholds import RulesError
from exporters.exposition.reader import ExpositionError, Reader
from exporters.join.projects import ProjectMap
from exporters.model import Scheduler, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.sources.base import Source, SourceError
from exporters.sources.fabric.rdma_fields import WANTED
from exporters.sources.fabric.rdma_join import join
from exporters.sources.fabric.rdma_pages import Page, plan, read

_HEAD = re.compile(r"^# page at=(\d+(?:\.\d+)?)(?: node=(\S+))?\s*$")
_SAMPLE = re.compile(r"^[a-zA-Z_:][^#]*\s[^\s#]+\s(\d+(?:\.\d+)?)(?:\s+#.*)?$")
_NODENAME = re.compile(rb'^node_uname_info\{[^}]*nodename="([^"]*)"', re.MULTILINE)
_KEPT = ("meterbridge_rdma_", "meterbridge_card_")
"""Families of a page that a recording of pages can tell; of jobs and schedulers it knows nothing."""

MAX_PORTS = 100_000
DEFAULT_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class Recording:
    """What is replayed: an OpenMetrics file, from when to when (epoch seconds), and how far apart its rounds are."""

    openmetrics: Path
    start: float
    end: float
    interval: float


@dataclass(frozen=True, slots=True)
class RecordedPage:
    """One page with its time, and the machine if its head names one."""

    at: float
    node: str
    body: bytes

    @property
    def machine(self) -> bytes:
        """Whose page it is: as its head says, else as node_exporter does; empty when neither does."""
        named = _NODENAME.search(self.body)
        return self.node.encode() or (named[1] if named else b"")


def load_recording(file: Path, folder: Path, lossless: tuple[int, ...] = (3,)) -> Recording:
    """Read a recording of either form; what is made of it goes below ``folder``. Raises `RulesError`."""
    try:
        raw = file.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        text = raw.decode()
    except (OSError, EOFError, UnicodeDecodeError) as e:
        raise RulesError(f"{file} cannot be read: {e}") from e
    made = folder / "recording.om"
    first = next((line for line in text.splitlines() if line.strip()), "")
    if first.startswith("# page"):
        times = _write_pages(list(split_pages(text, file)), made, lossless)
    else:
        times = _write_samples(text, file, made)
    return Recording(made, min(times), max(times), _spacing(times))


def split_pages(text: str, file: Path) -> Iterator[RecordedPage]:
    """The pages of a recording, in its order. Raises `RulesError` for a head that cannot be read."""
    head: re.Match[str] | None = None
    lines: list[str] = []
    for number, line in enumerate([*text.splitlines(), "# page end"], 1):
        if not line.startswith("# page"):
            lines.append(line)
            continue
        if head:
            yield RecordedPage(float(head[1]), head[2] or "", "\n".join([*lines, ""]).encode())
        head, lines = _HEAD.match(line), []
        if head is None and line != "# page end":
            raise RulesError(f"{file}, line {number}: a page begins like '# page at=1764000000', not {line!r}")


def _write_pages(pages: list[RecordedPage], out: Path, lossless: tuple[int, ...]) -> list[float]:
    rounds = _rounds(pages)
    interval = _spacing([at for at, _ in rounds])
    source = RecordedPorts(dict(rounds), interval)
    now = [0.0]
    settings = JoinSettings(ProjectMap.of([]), interval=interval, lossless_priorities=lossless)
    collector = Collector([source], settings, clock=lambda: now[0])
    with out.open("w", encoding="utf-8") as file:
        for at, _ in rounds:
            now[0] = at
            collector.poll_all()
            collector.join()
            page = collector.page()
            for line in (page.body() if page else b"").decode().splitlines():
                if line.startswith(_KEPT):
                    file.write(f"{line} {at:.3f}\n")
        file.write("# EOF\n")
    collector.stop()
    if source.failed == len(rounds):
        raise RulesError(f"no page of the recording could be read: {source.error}")
    return [at for at, _ in rounds]


def _rounds(pages: list[RecordedPage]) -> list[tuple[float, list[RecordedPage]]]:
    """Pages put together that were read at about the same time."""
    found: list[tuple[float, list[RecordedPage]]] = []
    ordered = sorted(pages, key=lambda p: p.at)
    first = ordered[0].machine
    half = _spacing([p.at for p in ordered if p.machine == first]) / 2
    for page in ordered:
        if found and page.at - found[-1][0] < half:
            found[-1][1].append(page)
        else:
            found.append((page.at, [page]))
    return found


class RecordedPorts(Source):
    """A source that reads recorded pages in the place of endpoints; the clock is the recording's."""

    name = "rdma"
    cluster = ""
    scheduler: Scheduler | None = None

    def __init__(self, rounds: dict[float, list[RecordedPage]], interval: float) -> None:
        self.interval = interval
        self.failed, self.error = 0, ""
        self._rounds = rounds
        self._readers: dict[str, Reader] = {}

    def poll(self, now: float) -> Snapshot:
        """The pages of the round at ``now``. Raises `SourceError` when none of them can be used."""
        pages: list[Page] = []
        for number, recorded in enumerate(self._rounds[now]):
            reader = self._readers.setdefault(recorded.node or str(number), Reader(WANTED, strict=False))
            try:
                reading = reader.read(recorded.body)
            except ExpositionError as e:
                self.error = f"page at {recorded.at:.3f}: {e}"
                continue
            if reading.layout.series:
                pages.append(read(plan(reading.layout, recorded.node, recorded.node), reading.values, now, reading.bad))
            else:
                self.error = f"page at {recorded.at:.3f} is neither node_exporter's nor the node agent's"
        if not pages:
            self.failed += 1
            raise SourceError(self.error)
        joined = join(pages, now, MAX_PORTS)
        return Snapshot(at=now, ports=joined.ports, samples=joined.samples, problems=joined.problems)


def _write_samples(text: str, file: Path, out: Path) -> list[float]:
    times = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        if found is None:
            raise RulesError(
                f"{file}, line {number}: a sample needs a time, in seconds, after its value: {line[:80]!r}"
            )
        times.add(float(found[1]))
    if not times:
        raise RulesError(
            f"{file} has no samples: it must be OpenMetrics with times, or pages after '# page at=SECONDS'"
        )
    out.write_text(text if text.rstrip().endswith("# EOF") else f"{text.rstrip()}\n# EOF\n", "utf-8")
    return sorted(times)


def _spacing(times: list[float]) -> float:
    """How far apart the rounds are, typically; of one round what an exporter's are."""
    gaps = [b - a for a, b in pairwise(sorted(set(times)))]
    return max(1.0, math.floor(median(gaps) * 1000) / 1000) if gaps else DEFAULT_INTERVAL
