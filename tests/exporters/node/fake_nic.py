"""A fake driver behind SIOCETHTOOL, which says that it is one: it keeps to the layouts of linux/ethtool.h."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Mapping, Sequence

from exporters.node.ethtool import GSSET_INFO, GSTATS, GSTRINGS, STRING


class FakeNic:
    """Interfaces with statistics by name. ``grows`` are statistics that appear after so many calls, one per entry."""

    def __init__(
        self,
        statistics: Mapping[str, Mapping[str, int]] | None = None,
        *,
        refuses: bool = False,
        grows: Sequence[int] = (),
    ) -> None:
        self.statistics = {name: dict(values) for name, values in (statistics or {}).items()}
        self.refuses = refuses
        self.grows = list(grows)
        self.calls: list[int] = []

    def call(self, interface: str, buffer: ctypes.Array[ctypes.c_char]) -> None:
        """Answer one ioctl in the caller's buffer."""
        (command,) = struct.unpack_from("=I", buffer)
        self.calls.append(command)
        if self.refuses:
            raise OSError(errno.EPERM, "Operation not permitted")
        if interface not in self.statistics:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        if len(self.calls) in self.grows:
            self.statistics[interface][f"late_{len(self.calls)}"] = 1
        values = self.statistics[interface]
        answer = {
            GSSET_INFO: lambda: struct.pack("=IIQI", command, 0, 2, len(values)),
            GSTRINGS: lambda: struct.pack("=III", command, 1, len(values)) + b"".join(map(_padded, values)),
            GSTATS: lambda: struct.pack(f"=II{len(values)}Q", command, len(values), *values.values()),
        }[command]()
        ctypes.memmove(buffer, answer, len(answer))


def _padded(name: str) -> bytes:
    return name.encode()[: STRING - 1].ljust(STRING, b"\0")
