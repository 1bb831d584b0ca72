"""A network driver's own statistics (``ethtool -S``), asked of the kernel through the SIOCETHTOOL ioctl.

The netlink interface of ethtool has only the standard groups; the pause of one priority exists as a driver's string
alone. Layouts and numbers are those of include/uapi/linux/ethtool.h and sockios.h. It needs no privilege.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from exporters.fabric_model import PortCounter
from exporters.node.counters import ethtool_meanings, ethtool_quantities

SIOCETHTOOL = 0x8946
GSTRINGS = 0x1B
GSTATS = 0x1D
GSSET_INFO = 0x37
SS_STATS = 1
STRING = 32

_NONE = (errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL)
_SPARE = 1024
"""Room for statistics that a driver gains between two calls (a queue is added): it writes as many as it has."""
_TRIES = 3


class Device(Protocol):
    """Whatever takes SIOCETHTOOL for an interface: the kernel, or a fake in tests."""

    def call(self, interface: str, buffer: ctypes.Array[ctypes.c_char]) -> None:
        """Hand the buffer to the driver, which writes into it. Raises OSError."""


class Kernel:
    """The ioctl itself, on a socket kept open. `close` it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def call(self, interface: str, buffer: ctypes.Array[ctypes.c_char]) -> None:
        """SIOCETHTOOL with a pointer to ``buffer``. Raises OSError."""
        name = interface.encode(errors="surrogateescape")[:15]
        request = struct.pack("@16sP16x", name, ctypes.addressof(buffer))
        fcntl.ioctl(self._socket, SIOCETHTOOL, request)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class ChangedError(OSError):
    """The driver's list of statistics changed between two calls, again and again."""


@dataclass(slots=True)
class _Known:
    strings: bytes
    meanings: dict[int, tuple[PortCounter, float]]


class Ethtool:
    """Reads interfaces round after round; remembers what each driver's strings mean. Not for two threads at once."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._known: dict[str, _Known] = {}

    def statistics(self, interface: str) -> dict[str, int]:
        """Every statistic by name, as ``ethtool -S`` prints them; empty for a driver that has none. Raises OSError."""
        read = self._read(interface)
        if read is None:
            return {}
        strings, values = read
        return dict(zip(_names(strings), values, strict=True))

    def quantities(self, interface: str) -> dict[PortCounter, float]:
        """What `exporters.node.counters` knows of them, in base units. Raises OSError."""
        read = self._read(interface)
        if read is None:
            self._known.pop(interface, None)
            return {}
        strings, values = read
        known = self._known.get(interface)
        if known is None or known.strings != strings:
            known = self._known[interface] = _Known(strings, ethtool_meanings(_names(strings)))
        return ethtool_quantities(known.meanings, {i: values[i] for i in known.meanings})

    def _read(self, interface: str) -> tuple[bytes, tuple[int, ...]] | None:
        for _ in range(_TRIES):
            count = self._count(interface)
            if not count:
                return None
            strings = self._strings(interface, count)
            values = self._values(interface, count)
            if strings is not None and values is not None:
                return strings, values
        raise ChangedError(errno.EAGAIN, f"the statistics of {interface} change faster than they can be read")

    def _count(self, interface: str) -> int:
        buffer = ctypes.create_string_buffer(struct.pack("=IIQI", GSSET_INFO, 0, 1 << SS_STATS, 0), 20)
        try:
            self._device.call(interface, buffer)
        except OSError as error:
            if error.errno in _NONE:
                return 0
            raise
        _, _, mask, count = struct.unpack("=IIQI", buffer.raw)
        return int(count) if mask else 0

    def _strings(self, interface: str, count: int) -> bytes | None:
        head = struct.pack("=III", GSTRINGS, SS_STATS, count)
        buffer = ctypes.create_string_buffer(head, len(head) + STRING * (count + _SPARE))
        self._device.call(interface, buffer)
        (served,) = struct.unpack_from("=I", buffer, 8)
        return buffer.raw[len(head) : len(head) + STRING * count] if served == count else None

    def _values(self, interface: str, count: int) -> tuple[int, ...] | None:
        head = struct.pack("=II", GSTATS, count)
        buffer = ctypes.create_string_buffer(head, len(head) + 8 * (count + _SPARE))
        self._device.call(interface, buffer)
        (served,) = struct.unpack_from("=I", buffer, 4)
        return struct.unpack_from(f"={count}Q", buffer, len(head)) if served == count else None


def _names(strings: bytes) -> list[str]:
    pieces = (strings[i : i + STRING] for i in range(0, len(strings), STRING))
    return [piece.partition(b"\0")[0].decode(errors="replace") for piece in pieces]
