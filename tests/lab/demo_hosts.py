"""A fake of what node_exporter, a cgroup exporter and gpfs_exporter serve on the demo's machines: names alone are real.

The demo has no such exporters, and the boards need to be asked with series of theirs. Every number is a function of the
machine's name and the time; nothing that meterbridge counts is read from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

_CARD = re.compile(r'^meterbridge_job_card_info\{.*?job_id="([^"]*)".*?node="([^"]*)"')
_BYTES = (
    "node_disk_read_bytes_total", "node_disk_written_bytes_total", "node_mountstats_nfs_total_read_bytes_total",
    "node_mountstats_nfs_total_write_bytes_total",
)  # fmt: skip
_MEMORY = 2 << 40
_CPUS = 4


def host_pages(page: str, at: int) -> Iterator[tuple[str, str, str]]:
    """Pages of the machines that hold cards on ``page``: job, instance and text."""
    jobs: dict[str, set[str]] = {}
    for job_id, node in (m.groups() for m in map(_CARD.match, page.splitlines()) if m):
        jobs.setdefault(node, set()).add(job_id.partition("@")[0])
    for node, numbers in sorted(jobs.items()):
        short, part = node.partition(".")[0], crc32(node.encode()) % 50 / 100
        yield "node", f"{short}:9100", "".join(_node(node, part, at))
        yield (
            "cgroup",
            f"{short}:9306",
            "".join(line for n in sorted(numbers) if n.isdecimal() for line in _job(n, part, at)),
        )
        yield (
            "gpfs",
            f"{short}:9303",
            "".join(
                f'gpfs_perf_{way}_bytes_total{{fs="scratch"}} {at * part * 1e8:.0f}\n' for way in ("read", "write")
            ),
        )


def _node(name: str, part: float, at: int) -> Iterator[str]:
    yield f'node_uname_info{{nodename="{name}",sysname="Linux"}} 1\n'
    yield from (f'node_cpu_seconds_total{{cpu="{n}",mode="idle"}} {at * (1 - part):.2f}\n' for n in range(_CPUS))
    yield f"node_memory_MemTotal_bytes {_MEMORY}\n"
    yield f"node_memory_MemAvailable_bytes {_MEMORY * (1 - part):.0f}\n"
    for n, family in enumerate(_BYTES, 1):
        mount = 'device="nvme0n1"' if "disk" in family else 'export="filer:/home",mountaddr="",protocol="tcp"'
        yield f"{family}{{{mount}}} {at * part * 1e7 * n:.0f}\n"


def _job(number: str, part: float, at: int) -> Iterator[str]:
    labels = f'{{jobid="{number}",step="",task=""}}'
    yield f"cgroup_cpus{labels} {_CPUS}\n"
    yield f"cgroup_cpu_total_seconds{labels} {at * part * _CPUS:.2f}\n"
    yield f"cgroup_memory_total_bytes{labels} {_MEMORY // 2}\n"
    yield f"cgroup_memory_rss_bytes{labels} {_MEMORY * part / 2:.0f}\n"
