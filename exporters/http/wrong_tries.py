"""How many wrong passwords one peer may try: checking one is made to be slow, and a core is not for guessers."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

BURST = 5.0
"""Wrong passwords that are checked at once."""
PER_SECOND = 0.5
"""And then, for each second."""
_PEERS = 4096


class WrongTries:
    """A bucket of tries for each peer, full at first; the peers that tried longest ago are forgotten.

    ``clock`` is monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # network -> tries left, at

    def take(self, peer: str) -> bool:
        """Whether ``peer`` (an address, or "") may try now. It is taken; `give_back` it if the password was right."""
        network, now = network_of(peer), self._clock()
        left, at = self._left.pop(network, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        if len(self._left) >= _PEERS:
            del self._left[next(iter(self._left))]
        self._left[network] = (left - 1 if left >= 1 else left, now)
        return left >= 1

    def give_back(self, peer: str) -> None:
        """The password was right: its owner may have forgotten it before, and is welcome now."""
        self._left.pop(network_of(peer), None)

    def __len__(self) -> int:
        return len(self._left)


def network_of(peer: str) -> str:
    """Who shares a bucket: one IPv4 address, or a /64 of IPv6, of which everybody has as many addresses as he likes.

    >>> network_of("2001:db8::17"), network_of("::ffff:192.0.2.1"), network_of("192.0.2.1")
    ('2001:db8::/64', '192.0.2.1', '192.0.2.1')
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
