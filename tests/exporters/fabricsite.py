"""A site of a few machines with a port each, seen through a collector: what the tests of the fabric look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporters.exposition.line import parse_plain
from exporters.fabric_model import PortCounter, PortQuantity
from exporters.join.projects import ProjectMap, ProjectRule
from exporters.join.shard import WHOLE, Shard
from exporters.model import Claim, Field, Job, Sample, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.recorder import Round
from tests.exporters import world as w

Q = PortQuantity
BYTES, CE = PortCounter(Q.RECEIVE_BYTES), PortCounter(Q.CE_MARKED)
PAUSED, PAUSING = (PortCounter(q, ("3",)) for q in (Q.PAUSE_RECEIVED_SECONDS, Q.PAUSE_TRANSMITTED_SECONDS))
SPINNING = {Field.ENGINE_ACTIVE: 1.0, Field.TENSOR_ACTIVE: 0.0}
WORKING = {Field.ENGINE_ACTIVE: 0.9, Field.TENSOR_ACTIVE: 0.5}

Rates = Mapping[PortCounter, float]


class Site:
    """Machines with one port each, whose counters grow at rates that the test sets; jobs hold whole machines."""

    def __init__(self, machines: Sequence[str] = ("gn01", "gn02", "gn03", "gn04"), shard: Shard = WHOLE) -> None:
        self.now = 2000.0
        self.machines = tuple(machines)
        self.slurm = w.StubSource("slurmctld", "lab", w.SLURM)
        self.rdma = w.StubSource("rdma", "", None)
        self.dcgm = w.StubSource("dcgm", "", None)
        self.counted: dict[str, dict[PortCounter, float]] = {m: {} for m in machines}
        self.values: Mapping[Field, float] = {}
        self.holdings: tuple[Sample, ...] = ()
        self.rounds: list[Round] = []
        rules = [ProjectRule("vision", "account", "vision"), ProjectRule("llm", "account", "llm")]
        settings = JoinSettings(ProjectMap.of(rules), lossless_priorities=(3,), linger=60.0, shard=shard)
        self.collector = Collector([self.slurm, self.rdma, self.dcgm], settings, self, lambda: self.now)
        self.run()

    def record(self, round_: Round) -> None:
        self.rounds.append(round_)

    def close(self) -> None:
        pass

    def run(self, *claims: tuple[Job, Claim]) -> None:
        """From now on these claims are held, and no others."""
        self.slurm.says = Snapshot(
            0,
            jobs=tuple(job for job, _ in claims),
            claims=tuple(claim for _, claim in claims),
            nodes=tuple(w.slurm_node(m) for m in self.machines),
        )

    def step(self, rates: Mapping[str, Rates] | None = None, seconds: float = 15.0) -> None:
        """Time passes: every machine's port counts at its rates (per second)."""
        self.now += seconds
        for machine in self.machines:
            for counter, rate in (rates or {}).get(machine, {}).items():
                self.counted[machine][counter] = self.counted[machine].get(counter, 0.0) + rate * seconds
        if not isinstance(self.rdma.says, Exception):
            ports = tuple(w.port(m, self.now, self.counted[m]) for m in self.machines if self.counted[m])
            self.rdma.says = Snapshot(0, ports=ports, samples=self.holdings)
        if self.values:
            cards = tuple(s for m in self.machines for s in w.samples(m, self.now, self.values))
            self.dcgm.says = Snapshot(0, samples=cards)
        self.collector.poll_all()
        self.collector.join()

    def rows(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The rows of a family by the values of these labels."""
        page = self.collector.page()
        assert page is not None
        lines = [x for x in page.body().decode().splitlines() if x.startswith(name + "{")]
        parsed = [parse_plain(line, {}) for line in lines]
        return {tuple(p.labels[x] for x in labels): p.value for p in parsed if p is not None}


def whole(number: int, *machines: str, account: str = "vision", milligpu: int = 8000) -> list[tuple[Job, Claim]]:
    """A job on whole machines (or a part of each)."""
    job = w.slurm_job(number, account)
    return [(job, w.slurm_claim(job, machine, milligpu)) for machine in machines]
