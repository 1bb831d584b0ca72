"""What a port is for: compute, storage or management. Only ports for compute are of the jobs on their machine.

A site says so (`Rule`), by a port's RDMA device, network interface, PCI address or machine; the first rule that fits
counts. Where none does, these tell, the first that does, and never for all ports of a machine:

1. a virtual function whose physical one is read, too: what passes it is counted there (`virtual`);
2. the machine's default route leaves by it (`management`);
3. ports are near GPUs by a PCI switch and it is not, or by their NUMA node and it is not (`storage`);
4. it is a bond (LAG) beside ports that are none (`storage`);
5. ports of its name are half as fast as the fastest on the machines that have the same ports, or slower: `storage`. One
   machine alone has a link in trouble; two have another kind of port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from exporters.fabric_model import COMPUTE, VIRTUAL, Port, PortSample

SLOWER = 0.5
"""The part of the fastest ports' rate up to which a port is one of another kind."""

Name = tuple[str, str]
"""RDMA device and port."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A site's word on ports: patterns as of a shell, of which one of each that is given must fit."""

    role: str
    devices: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()

    def fits(self, port: Port) -> bool:
        """Whether the rule is about a port."""
        asked = (
            (self.devices, port.device),
            (self.interfaces, port.netdev),
            (self.pci, port.pci_address),
            (self.nodes, port.host),
        )
        return all(not patterns or any(fnmatchcase(name, p) for p in patterns) for patterns, name in asked)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the node agent says of a port that tells its role; empty: not told."""

    affinity: str = ""
    default_route: bool = False
    vf_of: str = ""


class Roles:
    """Gives every port its role, round after round. What an agent said once stays known while it is not read."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._facts: dict[tuple[str, Name], Facts] = {}

    def of(self, samples: Sequence[PortSample], told: Mapping[tuple[str, Name], Facts]) -> list[PortSample]:
        """The ports of a round with their roles. ``told`` is what agents said in this round, by host and port."""
        names = {(s.port.host, (s.port.device, s.port.port)) for s in samples}
        self._facts = {key: facts for key, facts in {**self._facts, **told}.items() if key in names}
        machines: dict[str, list[PortSample]] = defaultdict(list)
        for sample in samples:
            machines[sample.port.host].append(sample)
        slow = _slow(machines.values())
        roles: dict[tuple[str, Name], str] = {}
        for host, own in machines.items():
            roles.update({(host, name): role for name, role in self._machine(own, slow).items()})
        return [
            s if (role := roles[s.port.host, _name(s)]) == s.port.role else replace(s, port=replace(s.port, role=role))
            for s in samples
        ]

    def _machine(self, own: Sequence[PortSample], slow: set[tuple[str, Name]]) -> dict[Name, str]:
        said = {_name(s): r.role for s in reversed(own) for r in reversed(self._rules) if r.fits(s.port)}
        facts = {_name(s): self._facts.get((s.port.host, _name(s)), Facts()) for s in own}
        addresses = {s.port.pci_address for s in own if not facts[_name(s)].vf_of}
        kinds = {f.affinity for f in facts.values()}
        bonds = {_name(s) for s in own if _bonded(s)}
        guessed: dict[Name, str] = {}
        for sample in own:
            name = _name(sample)
            f = facts[name]
            if f.vf_of and f.vf_of in addresses:
                guessed[name] = VIRTUAL
            elif f.default_route:
                guessed[name] = "management"
            elif (
                (f.affinity != "switch" and "switch" in kinds)
                or (not f.affinity and "numa" in kinds)
                or (name in bonds and len(bonds) < len(own))
                or (sample.port.host, name) in slow
            ):
                guessed[name] = "storage"
        found = {_name(s): said.get(_name(s)) or guessed.get(_name(s), COMPUTE) for s in own}
        if COMPUTE in found.values() or COMPUTE not in {said.get(name, COMPUTE) for name in found}:
            return found
        return {name: said.get(name) or (VIRTUAL if guessed.get(name) == VIRTUAL else COMPUTE) for name in found}


def _name(sample: PortSample) -> Name:
    return sample.port.device, sample.port.port


def _bonded(sample: PortSample) -> bool:
    return sample.links is not None or "_bond_" in sample.port.device


def _slow(machines: Iterable[Sequence[PortSample]]) -> set[tuple[str, Name]]:
    """The ports that are slow on all machines which have ports of the same names, where there are several such."""
    alike: dict[frozenset[Name], list[Sequence[PortSample]]] = defaultdict(list)
    for own in machines:
        alike[frozenset(map(_name, own))].append(own)
    found = set()
    for group in alike.values():
        rates: dict[Name, float] = {}
        for own in group:
            for s in own:
                rates[_name(s)] = max(rates.get(_name(s), 0.0), s.rate or 0.0)
        fastest = max(rates.values(), default=0.0)
        slow = {name for name, rate in rates.items() if 0.0 < rate <= SLOWER * fastest}
        if len(group) > 1:
            found |= {(s.port.host, _name(s)) for own in group for s in own if _name(s) in slow}
    return found
