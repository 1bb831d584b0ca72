"""One day of a site under both schedulers, as its systems write it: rows of sacct, objects of the Kubernetes API.

    site = Both(engine)
    site.row(18, 0, 4, tres="gres/gpu=2")
    site.pod("a", 2, 6, gpus=4)
    assert {...} == site.told()

Hours count from the day's midnight. Machine gn01 has eight cards and is a node of both, unless told otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Engine

from accounting.evidence.node_facts import lenders, nodes_seen
from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.ledger.reconcile_range import Site, reconcile_range
from accounting.reconcile.rule import Rules
from exporters.join.machines import machines_of
from exporters.model import Node, NodeKey, Record, Reject, Scheduler
from exporters.recorder import Round, SourceReading
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.nodes import node_facts
from exporters.sources.kubernetes.pod_facts import pod_facts
from exporters.sources.kubernetes.watch.snapshot import snapshot
from exporters.sources.kubernetes.watch.store import Store
from exporters.sources.slurm.history import rows
from tests.accounting import naive
from tests.accounting.plain_usage import usage
from tests.accounting.readings import proved
from tests.accounting.site import DAY, T0, History
from tests.accounting.test_reconciling import project
from tests.lab import kube_fake

HOUR = 3600
RULES = Rules()
PRODUCT = "NVIDIA-H100-80GB-HBM3"


def at(hour: float) -> int:
    return T0 + int(hour * HOUR)


class Both:
    """A ledger, and what both wrote. ``nodes`` are Kubernetes objects by name, ``slurm`` cards by NodeName."""

    def __init__(
        self, engine: Engine, *, nodes: dict[str, Any] | None = None, slurm: dict[str, int] | None = None
    ) -> None:
        self.engine = engine
        self.rows: list[Record | Reject] = []
        self.slurm = {"gn01": 8} if slurm is None else slurm
        self.store = Store("kube", "scheduled", {"slinky": "lab", "": "lab"})
        for obj in ({"gn01": self.node("gn01")} if nodes is None else nodes).values():
            facts = node_facts(obj)
            self.store.nodes[facts.name] = facts
        self.roots: dict[str, Root] = {}

    @staticmethod
    def node(name: str, gpus: int = 8, labels: dict[str, str] | None = None, **capacity: str) -> Any:
        return kube_fake.node(name, gpus, labels={"nvidia.com/gpu.product": PRODUCT, **(labels or {})}, **capacity)

    def row(self, number: int, start: float, end: float | None, *, tres: str, node: str = "gn01", **more: Any) -> None:
        """A row of sacct; ``submit`` in hours, other fields by their names."""
        submit = at(more.pop("submit", start))
        fields = {
            "JobIDRaw": str(number), "JobID": str(number), "Submit": str(submit), "Eligible": str(submit),
            "Start": str(at(start)), "End": "Unknown" if end is None else str(at(end)),
            "State": "RUNNING" if end is None else "COMPLETED",
            "AllocTRES": f"billing=8,cpu=8,{tres},mem=64G,node=1", "NNodes": "1", "NodeList": node, "User": "alice",
            "UID": "2001", "Account": "vision", "Partition": "gpu", "QOS": "normal", "JobName": f"train-{number}",
            "AdminComment": "", "Cluster": "lab",
        } | more  # fmt: skip
        found = rows.read(rows.form(rows.FIELDS)([fields[name] for name in rows.FIELDS]), "lab")
        self.rows.append(found)

    def pod(
        self, name: str, start: float, end: float | None, *, gpus: int, root: Root | None = None, **more: Any
    ) -> None:
        """A pod of the API, bound and started at ``start`` and, with an ``end``, finished there."""
        times = {"created": at(start), "scheduled": at(start), "started": at(start)}
        if end is not None:
            times["finished"] = at(end)
        obj = kube_fake.pod(
            name, gpus=gpus, namespace=more.pop("namespace", "nlp"), **times, **({"node": "gn01"} | more)
        )
        facts = pod_facts(obj)
        self.roots[facts.uid] = root or Root("Pod", name, facts.uid, {})
        self.store.put_pod(facts, at(24))

    def listen(self, until: int = at(24)) -> None:
        """Both live sources at the beginning and at ``until``, and Slurm's history."""
        recorder = LedgerRecorder(self.engine, gap=90 * DAY)
        for moment in (at(0), until):
            self.store.put_roots(self.roots)
            told = snapshot(self.store, float(moment)) if moment == until else None
            seen = snapshot(Store("kube", "scheduled"), float(moment)) if told is None else told
            nodes = told.nodes if told else _nodes(self.store, moment)
            kube = SourceReading(
                "pods", "kube", moment, seen.jobs, seen.claims, seen.ended, nodes, scheduler="kubernetes"
            )
            cards = [Node(NodeKey(Scheduler.SLURM, "lab", n), 1000 * c, True, "h100") for n, c in self.slurm.items()]
            slurm = SourceReading("slurmctld", "lab", moment, nodes=cards, scheduler="slurm")
            recorder.record(Round(moment, [kube, slurm], [], []))
        self.read_history(until)

    def read_history(self, now: int) -> None:
        ingest_history(self.engine, History(self.rows), now=now, start=T0, overlap=90 * DAY, step=90 * DAY)

    def told(self) -> dict[str, dict[str, float]]:
        """GPU-hours of the day by who (as people call it; nobody is ``-``) and account, after a full check."""
        self.listen()
        self.reconcile()
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for u in usage(self.engine, at(0), at(24)):
            if u.disposition is not None and u.charged:
                who = found[u.job_name if u.job else "-"]
                word = u.disposition.value
                who[word] = round(who.get(word, 0) + u.charged / 1000 / HOUR, 6)
        return dict(found)

    def reconcile(self) -> None:
        places = machines_of(nodes_seen(self.engine), lenders(self.engine))
        reconcile_range(self.engine, at(0), at(24), Site(places.resolve, project, places.stays), RULES, now=at(24))
        more: dict[str, Any] = {"projects": project, "present": places.stays}
        naive.agree(self.engine, at(0), at(24), places.resolve, RULES, **more)
        assert [] == proved(self.engine, places.resolve, rules=RULES, **more)


def _nodes(store: Store, moment: int) -> Any:
    bare = Store("kube", "scheduled")
    bare.nodes.update(store.nodes)
    return snapshot(bare, float(moment)).nodes
