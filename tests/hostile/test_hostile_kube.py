"""Kubernetes whose pods are rejected, evicted, missed and succeeded, on nodes that share their cards in any way.

It was held against faults put into the rules one by one, and finds these kinds: a node without cards while its plugin
is away; a start that a poorer object replaces; an end not taken from the containers, or only when it is told; a pod
that went in a gap and holds until it is missed; replicas, MIG instances of the single strategy, HAMi's slots and AMD's
partitions taken for cards. That a successor ends its predecessor it cannot find: all clocks of this site are one.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporters.model import Disposition
from tests.hostile.conftest import NewLedger
from tests.hostile.kube_acts import ACTS, Act, KubeSite
from tests.hostile.kube_said import SCHEMES, ApiServer, Watched
from tests.hostile.played import examples, pauses
from tests.hostile.site import Meter
from tests.hostile.truth import TICK, Truth
from tests.hostile.verdict import amount


def begun(new_ledger: NewLedger, schemes: list[str]) -> KubeSite:
    nodes = {f"k{n}": SCHEMES[name] for n, name in enumerate(schemes)}
    truth = Truth(machines={name: scheme.cards for name, scheme in nodes.items()})
    api = ApiServer(truth, nodes)
    source = Watched(api)
    return KubeSite(truth, api, source, Meter(new_ledger(), truth, [], [source]))


schemes = st.permutations(sorted(SCHEMES)).map(lambda some: some[:5])


gaps = st.tuples(
    st.integers(0, 4), st.sampled_from(["delete", "succeed"]), st.integers(1, TICK), st.integers(1, TICK), st.just(True)
)
"""Each site begins with some pods, of which one goes in a gap of the watch."""


@examples(12)
@given(nodes=schemes, gap=gaps, acts=st.lists(st.tuples(pauses, ACTS), min_size=15, max_size=40))
def test_hostile_pods(new_ledger: NewLedger, nodes: list[str], gap: Act, acts: list[tuple[int, Act]]) -> None:
    site = begun(new_ledger, nodes)
    site.wait(TICK)
    for node in range(len(nodes)):
        site.begin(node, 1, 30)
    site.wait(2 * TICK)
    site.missed(*gap)
    for seconds, act in acts:
        site.meter.wait(seconds)
        site.act(*act)
        if act[0] in {"book", "day"}:
            assert [] == site.meter.faults(), acts
    site.back(gone=False)
    site.wait(2 * TICK)
    site.book()
    assert [] == site.meter.faults(), acts
    assert 0 == amount(site.meter.books, Disposition.DISPUTED), acts
    assert [] == site.meter.books.unproved()
