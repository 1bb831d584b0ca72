"""The live side and the ledger say the same about the same moment: they share the rules, and this holds them to it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from accounting.model import CapacityStretch, CoverageStretch, NodeDay
from accounting.reconcile.rule import Rules, reconcile
from exporters.join.attribution import attribute
from exporters.join.machines import machines_of
from exporters.join.site_picture import Reading
from exporters.model import Claim, Disposition, Node, NodeKey, Scheduler
from tests.exporters.records import bridged, lends, made_by, pod, run

NOW = 1000
SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES
_KEYS = [(), (), (lends("gn09"),), (bridged(1),), (made_by(1),), (made_by(2),), (made_by(9),)]


@st.composite
def claims(draw: st.DrawFn) -> list[Claim]:
    """What is held now: jobs, lenders, pods with true and false keys."""
    sizes = st.sampled_from([1000, 2000, 4000])
    begun = st.integers(NOW - 50, NOW)
    jobs = [run(n, draw(sizes), draw(begun), model="h100") for n in range(1, draw(st.integers(1, 4)))]
    pods = [
        pod(f"p{n}", draw(sizes), draw(begun), None, *draw(st.sampled_from(_KEYS)))
        for n in range(draw(st.integers(0, 4)))
    ]
    return jobs + pods


@given(claims(), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_a_moment_seen_live_is_a_second_in_the_ledger(
    held: list[Claim], slurm_up: bool, kube_up: bool, slurm_read: bool, kube_read: bool
) -> None:
    places = (
        (SLURM, "hpc1", "h100", slurm_up, slurm_read),
        (KUBE, "prod", "NVIDIA-H100-80GB-HBM3", kube_up, kube_read),
    )
    nodes = [Node(NodeKey(s, c, "gn09"), 4000, up, model) for s, c, model, up, _ in places]
    day = NodeDay(
        "gn09",
        NOW,
        NOW + 1,
        tuple(held),
        tuple(CapacityStretch(NOW, NOW + 1, s, c, "gn09", model, 4000, up) for s, c, model, up, _ in places),
        tuple(CoverageStretch(NOW, NOW + 1, s, c) for s, c, _, _, read in places if read),
    )
    readings = [
        Reading(
            s,
            c,
            read,
            claims=[h for h in held if h.job.scheduler is s],
            nodes=[n for n in nodes if n.key.scheduler is s],
        )
        for s, c, _, _, read in places
    ]

    picture = attribute(readings, machines_of(nodes, held), {}, grace=120, now=NOW)
    postings = reconcile(day, Rules(grace=120)).postings

    live = Counter(dict(picture.rest.values()))
    for part in picture.held:
        live[part.disposition] += part.milligpu
    booked = Counter({d: sum(p.quantity for p in postings if p.account == d) for d in Disposition})

    assert +live == +booked
