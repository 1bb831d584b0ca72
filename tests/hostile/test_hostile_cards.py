"""A machine of both schedulers, whose cards Slurm and NVML number differently: two jobs on two cards are never one.

Held against faults put into the rules, it finds a recorded card that goes by NVML's number. That an assumption gives
way to what is known of a card is held by `tests.exporters.test_card_evidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exporters.model import Disposition, Field, Sample, Scheduler, Snapshot
from exporters.sources.base import Source
from tests.hostile.conftest import NewLedger
from tests.hostile.kube_acts import ACTS as PODS
from tests.hostile.kube_acts import Act, KubeSite
from tests.hostile.kube_said import ApiServer, Scheme, Watched
from tests.hostile.played import examples, pauses
from tests.hostile.site import Meter
from tests.hostile.slurm_acts import ACTS as JOBS
from tests.hostile.slurm_acts import SlurmSite
from tests.hostile.slurm_said import Cluster
from tests.hostile.truth import TICK, Truth
from tests.hostile.verdict import amount, short

CARDS = 4
LABELS = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3", "nvidia.com/gpu.count": str(CARDS)}


class Devices(Source):
    """What dcgm-exporter and the node agent tell of the cards, in full or in part. ``cut``: nothing at all."""

    name, cluster = "dcgm", ""
    scheduler: Scheduler | None = None
    interval = TICK

    def __init__(self, api: ApiServer, slurm: Cluster, tells: set[str]) -> None:
        self.api, self.slurm, self.tells = api, slurm, tells

    def poll(self, now: float) -> Snapshot:
        return Snapshot(now, samples=tuple(self._card(c, now) for c in range(CARDS)))

    def _card(self, card: int, now: float) -> Sample:
        pods = [p for p in self.api.pods.values() if p.held and p.held.end is None and card in p.held.cards]
        jobs = [r for r in self.slurm.running() if card in r.nodes.get("s1", ())]
        return Sample(
            "s1", f"GPU-{card}", card, "NVIDIA H100 80GB HBM3", {Field.ENGINE_ACTIVE: 0.5}, now,
            pods=tuple(("team", p.name, p.uid) for p in pods) if "pods" in self.tells else (),
            hpc_jobs=tuple(str(r.number) for r in jobs) if "jobs" in self.tells else (),
            minor=self.slurm.minors["s1"][card] if "minors" in self.tells else -1,
        )  # fmt: skip


class Hybrid:
    """Both kinds of acts on one machine."""

    def __init__(self, new_ledger: NewLedger, minors: Sequence[int], tells: set[str]) -> None:
        self.truth = Truth(machines={"s1": CARDS, "s2": CARDS})
        self.slurm = Cluster("near", self.truth, {"s1": CARDS, "s2": CARDS}, minors={"s1": minors, "s2": minors[::-1]})
        self.far = Cluster("far", self.truth, {})
        self.api = ApiServer(self.truth, {"s1": Scheme("nvidia.com/gpu", CARDS, labels=LABELS)})
        source = Watched(self.api)
        self.meter = Meter(new_ledger(), self.truth, [self.slurm], [source, Devices(self.api, self.slurm, tells)])
        self.jobs = SlurmSite(self.truth, self.meter)
        self.pods = KubeSite(self.truth, self.api, source, self.meter)

    def meet(self, number: int, cards: int, more: int) -> None:
        """A job and then a pod on the machine, each seen by some rounds."""
        self.jobs.begin(0, number, {"s1": cards}, "vision")
        self.meter.wait(TICK)
        self.pods.begin(0, more, 0)
        self.meter.wait(2 * TICK)
        self.jobs.day()

    def act(self, which: str, act: Act) -> None:
        name, *words = act
        if which == "both":
            self.meet(*words)
            return
        if which == "jobs" and name not in _QUIET:
            words = [0, *words[1:]]
        (self.jobs if which == "jobs" else self.pods).act(name, *words)


_QUIET = {"day", "wait", "leave", "read", "book"}
_SAME = (
    "begin",
    "day",
    "end",
    "finish",
    "brief",
    "delete",
    "wait",
    "read",
    "book",
    "succeed",
    "leave",
    "restart",
    "plugin",
)


def _some(acts: st.SearchStrategy[Act]) -> st.SearchStrategy[Act]:
    """Acts of jobs on one node: on several it would be a guess what they have of each."""
    return acts.filter(lambda act: act[0] in _SAME and not any(isinstance(w, dict) and len(w) > 1 for w in act))


hybrid: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("jobs"), _some(JOBS)),
    st.tuples(st.just("pods"), _some(PODS)),
    st.tuples(st.just("both"), st.tuples(st.just("meet"), st.integers(1, 4), st.integers(1, 2), st.integers(1, 2))),
)
histories = st.lists(st.tuples(pauses, hybrid), min_size=15, max_size=40)
tellings = st.sets(st.sampled_from(["pods", "jobs", "minors"]))


histories = st.lists(st.tuples(pauses, hybrid), min_size=15, max_size=40)


@examples(12)
@given(minors=st.permutations(range(CARDS)), tells=tellings, acts=histories)
def test_hostile_cards(new_ledger: NewLedger, minors: list[int], tells: set[str], acts: list[Any]) -> None:
    site = Hybrid(new_ledger, minors, tells)
    site.meter.wait(TICK)
    for seconds, (which, act) in acts:
        site.meter.wait(seconds)
        site.act(which, act)
        if act[0] in {"book", "day"}:
            assert [] == site.meter.faults(), acts
    site.meter.wait(2 * TICK)
    site.meter.ingest()
    site.pods.book()
    assert [] == site.meter.faults(), acts
    told = [site.slurm.key(r) for r in site.slurm.runs if r.told is not None]
    assert [] == short(site.truth, site.meter.books, told), acts
    assert 0 == amount(site.meter.books, Disposition.DISPUTED), acts
    assert [] == site.meter.books.unproved()
