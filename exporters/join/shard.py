"""One of several exporters that share a fleet's machines: which of them is whose is a hash of the machine's name.

Every shard reads every scheduler, and joins only its own machines; the machines, cards and card-seconds of all shards
are the fleet's, each once. What has no machine (waiting jobs, the schedulers' records) is the first shard's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from zlib import crc32

_WRITTEN = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


class ShardError(ValueError):
    """A shard that cannot be; the message says how it is written."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The ``index``-th of ``count`` shards, from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``1/4``. Raises `ShardError`.

        >>> Shard.parse("1/4")
        Shard(index=1, count=4)
        """
        found = _WRITTEN.fullmatch(text)
        if not found or not int(found[1]) < int(found[2]):
            raise ShardError(
                f"{text!r} is no shard: write INDEX/COUNT with the index below the count, as in 0/4 to 3/4"
            )
        return cls(int(found[1]), int(found[2]))

    @property
    def alone(self) -> bool:
        """Whether this exporter has the whole fleet."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether what has no machine is this shard's."""
        return self.index == 0

    def owns(self, machine: str) -> bool:
        """Whether a machine is this shard's: the same answer in every process and release."""
        return self.count == 1 or crc32(machine.encode()) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


WHOLE = Shard()
"""The only shard of a site that has no shards."""
