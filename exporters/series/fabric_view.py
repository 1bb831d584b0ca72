"""Rows of the fabric's families: one function per kind of row, as in `exporters.series.view`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from exporters.exposition.family import Row
from exporters.fabric_model import PortQuantity
from exporters.meters.fabric_state import PortState
from exporters.series.view import Rows, View, by_job


def _told(truth: bool) -> str:
    return "true" if truth else "false"


def port_info(view: View) -> Iterable[Row]:
    """What each port is."""
    for s in view.fabric.ports:
        p = s.port
        names = (p.netdev, p.link_layer, p.driver, p.pci_address, p.numa_node, p.firmware, p.role)
        yield ((*s.labels, *names), 1.0)


def _number(pick: Callable[[PortState], float | None]) -> Rows:
    def rows(view: View) -> Iterable[Row]:
        return [(s.labels, value) for s in view.fabric.ports if (value := pick(s)) is not None]

    return rows


port_up = _number(lambda s: None if s.up is None else float(s.up))
port_rate = _number(lambda s: s.rate)
port_links = _number(lambda s: None if s.links is None else float(s.links[0]))
port_links_up = _number(lambda s: None if s.links is None else float(s.links[1]))
port_jobs = _number(lambda s: float(len(s.jobs)))


def port_job_info(view: View) -> Iterable[Row]:
    """Whose ports they are: every job on the machine has all of its ports."""
    return [
        ((*s.labels, *key, view.project(key), _told(len(s.jobs) > 1)), 1.0) for s in view.fabric.ports for key in s.jobs
    ]


def port_counter(quantity: PortQuantity) -> Rows:
    """One quantity of every port that tells it."""

    def rows(view: View) -> Iterable[Row]:
        fabric = view.fabric
        for n, counter in enumerate(fabric.counters):
            if counter.quantity is quantity:
                for state, value in zip(fabric.ports, fabric.totals[:, n].tolist(), strict=True):
                    if not math.isnan(value):
                        yield ((*state.labels, *counter.labels), value)

    return rows


def job_counter(quantity: PortQuantity) -> Rows:
    """One quantity of every job whose ports tell it."""
    return lambda view: [
        ((*key, _told(shared)), uses[quantity]) for (key, shared), uses in view.fabric.jobs.items() if quantity in uses
    ]


def project_counter(quantity: PortQuantity) -> Rows:
    """One quantity of every project whose ports tell it."""
    return lambda view: [
        ((project, scheduler, cluster, _told(shared)), uses[quantity])
        for (scheduler, cluster, project, shared), uses in view.fabric.projects.items()
        if quantity in uses
    ]


def lossless(view: View) -> Iterable[Row]:
    """The priorities that the site calls lossless, where ports are read."""
    return [((str(p),), 1.0) for p in view.fabric.lossless]


def job_nodes(view: View) -> Iterable[Row]:
    """Machines on which each job holds cards."""
    return by_job(view, {key: float(len(machines)) for key, machines in view.fabric.machines.items()})


def job_ports(view: View) -> Iterable[Row]:
    """Ports of each job's machines, where any port is read at all."""
    if not view.fabric.ports:
        return []
    counts = dict.fromkeys(view.fabric.machines, 0)
    for state in view.fabric.ports:
        for key in state.jobs:
            counts[key] += 1
    return [(key, float(count)) for key, count in counts.items()]


def suspects(view: View) -> Iterable[Row]:
    """Ports that hold up a job, or are held up with it."""
    return [
        ((*s.job, view.project(s.job), *s.state.labels, s.role, _told(len(s.state.jobs) > 1)), 1.0)
        for s in view.fabric.suspects
    ]
