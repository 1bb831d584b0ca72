"""Rounds: the ports whenever somebody asks, the holdings on a clock of their own.

Counters are read at the scrape, as node_exporter reads them, so that a scraper's timestamps are those of the numbers.
Holdings are asked of the kubelet, which may hang: a thread keeps them fresh, and a scrape gets the last good ones as
long as they are not stale.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from exporters.exposition.page import Page
from exporters.exposition.writer import Writer
from exporters.node.counters import of_all, port_quantities
from exporters.node.ethtool import Ethtool
from exporters.node.families import PortReport, Round, families
from exporters.node.files import Unread
from exporters.node.holders import Holders, Holdings
from exporters.node.interfaces import bond_of, carrier_losses, default_routes
from exporters.node.mapping import Card, affinity_of, cards, near
from exporters.node.moved import Moved
from exporters.node.paths import Paths
from exporters.node.ports import RawPort, read_ports

log = logging.getLogger(__name__)

CARDS_FOR = 300.0
"""How long the machine's cards are believed to be the same."""
FRESH = 1.0
"""Scrapers that come within this many seconds share a round."""
STALE = 4
"""Holdings this many intervals old are shown no more: the kubelet, or our thread, hangs."""


class Agent:
    """One machine's agent. `start` the holdings' clock, ask for a `page` from any thread, `stop` it."""

    def __init__(
        self, paths: Paths, ethtool: Ethtool, version: str, *, all_of_them: bool = False, interval: float = 15.0
    ) -> None:
        self._paths = paths
        self._ethtool = ethtool
        self._version = version
        self._all = all_of_them
        self._interval = interval
        self._holders = Holders(paths.cgroup, paths.spool, paths.podresources, paths.procfs)
        self._moved = Moved(paths.sysfs, paths.procfs)
        self._lock = threading.Lock()
        self._writer = Writer()
        self._page: tuple[float, Page] | None = None
        self._cards: tuple[float, tuple[Card, ...]] | None = None
        self._holdings: tuple[float, Holdings] = (0.0, Holdings())
        self._told: set[tuple[str, ...]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="holdings", daemon=True)

    def start(self) -> None:
        """Keep the holdings fresh from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the clock; what hangs in the kubelet is not waited for."""
        self._stopping.set()

    def page(self) -> Page:
        """The page of now, from a round of not longer than `FRESH` seconds ago."""
        with self._lock:
            if self._page is None or time.monotonic() - self._page[0] > FRESH:
                blocks = self._writer.render(families(self.round(), self._version))
                self._page = (time.monotonic(), Page(blocks))
            return self._page[1]

    def round(self) -> Round:
        """Read the ports now, and join what is known of holdings."""
        begun = time.monotonic()
        ports, unread = read_ports(self._paths.sysfs)
        inside, out_of_reach = self._moved.read(ports)
        unread += out_of_reach
        known = self._known_cards(unread)
        leave = default_routes(self._paths.sysfs, self._paths.procfs)
        reports = tuple(self._report(port, known, leave, unread) for port in [*ports, *inside])
        self._tell(("rdma", u.device, u.port, u.what, u.reason) for u in unread)
        found = self._shown_holdings()
        return Round(
            reports,
            tuple(unread),
            found.holdings,
            found.sources,
            found.set_aside,
            found.allocatable,
            time.monotonic() - begun,
            known,
        )

    def read_holdings(self) -> None:
        """Read the holdings now; what failed is told on the page and in the log."""
        found = self._holders.read(_uuids(self._known_cards([])))
        self._tell(("holdings", *reason) for reason in found.reasons)
        self._holdings = (time.monotonic(), found)

    def _keep(self) -> None:
        while True:
            try:
                self.read_holdings()
            except Exception:
                log.exception("a round of holdings failed; the next one is tried in %g s", self._interval)
            if self._stopping.wait(self._interval):
                return

    def _shown_holdings(self) -> Holdings:
        at, found = self._holdings
        if time.monotonic() - at <= STALE * self._interval:
            return found
        return replace(found, holdings=(), sources=dict.fromkeys(found.sources, False))

    def _known_cards(self, unread: list[Unread]) -> tuple[Card, ...]:
        if self._cards is None or time.monotonic() - self._cards[0] > CARDS_FOR:
            try:
                self._cards = (time.monotonic(), cards(self._paths.sysfs, self._paths.procfs))
            except OSError as error:
                unread.append(Unread("", "", "bus/pci/devices", str(error)))
                return ()
        return self._cards[1]

    def _report(self, port: RawPort, known: Iterable[Card], leave: frozenset[str], unread: list[Unread]) -> PortReport:
        counters = port_quantities(port.counters, port.hw_counters, port.unread, self._all)
        bond = None if port.inside else bond_of(self._paths.sysfs, port.netdev)
        interfaces = bond.slaves if bond else (port.netdev,) if port.netdev and not port.inside else ()
        try:
            counters |= of_all([self._ethtool.quantities(n) | carrier_losses(self._paths.sysfs, n) for n in interfaces])
        except OSError as error:
            unread.append(Unread(port.device, port.port, "ethtool", str(error)))
        affinity = affinity_of(port.place, known)
        leaves = not leave.isdisjoint(interfaces)
        return PortReport(port, near(port.place, known), counters, affinity, bond, leaves)

    def _tell(self, reasons: Iterable[tuple[str, ...]]) -> None:
        """Log each reason once."""
        for reason in reasons:
            if reason not in self._told and len(self._told) < 10_000:
                self._told.add(reason)
                log.warning("could not read %s", ": ".join(filter(None, reason)))


def _uuids(known: Iterable[Card]) -> Mapping[str, str]:
    return {card.minor: card.uuid for card in known if card.minor and card.uuid}
