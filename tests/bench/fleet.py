"""A simulated fleet over real HTTP: one process serves every machine's dcgm-exporter, each on an address of its own.

``python -m tests.bench.fleet NODES`` prints its port, then serves on loopback addresses until its input ends.
A page has eight cards of thirty fields, in dcgm-exporter's own form; its values change from one answer to the next.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from demo.dcgm_text import DRIVER

CARDS = 8
PAGES = 8
NOBODY = "gn00000"

FIELDS = (
    ("DCGM_FI_DEV_SM_CLOCK", "gauge", lambda _: "1980"),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", lambda _: "2619"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", lambda n: str(50 + n % 9)),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", lambda n: str(40 + n % 30)),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", lambda n: f"{300 + n % 97:.6f}"),
    ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", lambda n: str(4_500_000 * n + 7_000_000_000)),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", lambda _: "0"),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", lambda n: str(n % 101)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "gauge", lambda n: str(n % 47)),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", lambda _: "0"),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", lambda _: "0"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", lambda _: "0"),
    ("DCGM_FI_DEV_POWER_VIOLATION", "counter", lambda n: str(1000 * n)),
    ("DCGM_FI_DEV_THERMAL_VIOLATION", "counter", lambda n: str(100 * n)),
    ("DCGM_FI_DEV_FB_FREE", "gauge", lambda n: str(20_000 + n % 900)),
    ("DCGM_FI_DEV_FB_USED", "gauge", lambda n: str(61_000 - n % 900)),
    ("DCGM_FI_DEV_FB_RESERVED", "gauge", lambda _: "575"),
    ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", lambda _: "0"),
    ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", lambda _: "0"),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", lambda _: "0"),
    ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", "counter", lambda _: "0"),
    ("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", lambda _: "0"),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", lambda n: f"{n % 100 / 100:.6f}"),
    ("DCGM_FI_PROF_SM_ACTIVE", "gauge", lambda n: f"{n % 83 / 100:.6f}"),
    ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", lambda n: f"{n % 61 / 100:.6f}"),
    ("DCGM_FI_PROF_DRAM_ACTIVE", "gauge", lambda n: f"{n % 59 / 100:.6f}"),
    ("DCGM_FI_PROF_PCIE_TX_BYTES", "gauge", lambda n: str(7_000_000 + 991 * n)),
    ("DCGM_FI_PROF_PCIE_RX_BYTES", "gauge", lambda n: str(9_000_000 + 997 * n)),
    ("DCGM_FI_PROF_NVLINK_TX_BYTES", "gauge", lambda n: str(12_345_678 + 1009 * n)),
    ("DCGM_FI_PROF_NVLINK_RX_BYTES", "gauge", lambda n: str(12_345_000 + 1013 * n)),
)


def page(step: int, host: str = NOBODY) -> bytes:
    """One machine's page; ``step`` changes its values."""
    lines = []
    for name, kind, value in FIELDS:
        lines += [f"# HELP {name} {name} of the card.", f"# TYPE {name} {kind}"]
        for card in range(CARDS):
            labels = (
                f'gpu="{card}",UUID="GPU-{host}-5f5a-4c1b-9f3e-0000000000{card:02}",'
                f'pci_bus_id="00000000:{16 + 16 * card:02X}:00.0",device="nvidia{card}",'
                f'modelName="NVIDIA H100 80GB HBM3",Hostname="{host}",DCGM_FI_DRIVER_VERSION="{DRIVER}"'
            )
            lines.append(f"{name}{{{labels}}} {value(7 * step + card)}")
    return ("\n".join(lines) + "\n").encode()


def name(node: int) -> str:
    """A machine's name."""
    return f"gn{node:05}"


def address(node: int) -> str:
    """A machine's loopback address."""
    return f"127.{1 + node // 65025}.{node // 255 % 255}.{1 + node % 255}"


class _Machine(asyncio.Protocol):
    """Answers whatever is asked with the machine's next page."""

    def __init__(self, pages: Iterator[bytes], host: bytes) -> None:
        self._pages, self._host = pages, host
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._asked += data
        while b"\r\n\r\n" in self._asked:
            _, _, self._asked = self._asked.partition(b"\r\n\r\n")
            body = next(self._pages).replace(NOBODY.encode(), self._host)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n\r\n"
            assert isinstance(self._transport, asyncio.WriteTransport)
            self._transport.write(head.encode() + body)


async def serve(nodes: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    pages = [page(step) for step in range(PAGES)]
    port = 0
    for node in range(nodes):
        host, first = name(node).encode(), node % PAGES
        turns = itertools.cycle(pages[first:] + pages[:first])
        server = await loop.create_server(partial(_Machine, turns, host), address(node), port, backlog=64)
        port = port or server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def running(nodes: int) -> Iterator[list[str]]:
    """The URLs of a fleet, for as long as it runs."""
    command = [sys.executable, "-m", "tests.bench.fleet", str(nodes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        yield [f"http://{address(node)}:{port}/metrics" for node in range(nodes)]
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
