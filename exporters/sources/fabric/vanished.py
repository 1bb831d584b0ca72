"""Ports that are gone from a machine that is still read: their device is lost, or was moved into a pod's namespace."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from exporters.fabric_model import PortSample

REMEMBERED = 3600.0
"""Seconds for which a port that is gone is told."""

_NAMED = 3


class Seen:
    """Remembers the ports of every machine. Call `missed` once per round."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], float] = {}

    def missed(self, ports: Sequence[PortSample], hosts: Collection[str], now: float) -> tuple[str, ...]:
        """A sentence about the ports that were there within the last hour and are not, of machines that are read."""
        here = {(s.port.host, s.port.device, s.port.port) for s in ports}
        self._last.update(dict.fromkeys(here, now))
        self._last = {name: at for name, at in self._last.items() if 0 <= now - at <= REMEMBERED}
        read = {host.lower() for host in hosts} | {host for host, _, _ in here}
        gone = sorted(f"{device} of {host}" for host, device, _ in self._last.keys() - here if host in read)
        if not gone:
            return ()
        more = ", …" if len(gone) > _NAMED else ""
        sentence = (
            f"{len(gone)} RDMA ports are gone from machines that are still read ({', '.join(gone[:_NAMED])}{more}): "
            "their device is lost, or a pod has it in its network namespace; the node agent can tell, and read it there"
        )
        return (sentence,)
