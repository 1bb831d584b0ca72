"""Slurm whose history is late, open for ever, lost or of somebody else: nobody pays for what another had.

It was held against faults put into the rules one by one, and finds these kinds: rows and jobs of another cluster taken
(history, live); a runaway not held to its last sighting, or held longer; a lost run not ended, or ended later; an open
run not asked for again; cards in no record idle, from their first minute or all the time, or only where another machine
of the cluster is known in full; a split that was seen and not used; an open claim that goes on past what was read.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exporters.model import Disposition
from tests.hostile.conftest import NewLedger
from tests.hostile.played import examples, pauses
from tests.hostile.site import Meter
from tests.hostile.slurm_acts import ACTS, Act, SlurmSite
from tests.hostile.slurm_said import Cluster
from tests.hostile.truth import TICK, Truth
from tests.hostile.verdict import amount, short


def begun(new_ledger: NewLedger) -> SlurmSite:
    truth = Truth(machines={"s1": 4, "s2": 4, "s3": 2, "far/s1": 4})
    near = Cluster("near", truth, {"s1": 4, "s2": 4})
    far = Cluster("far", truth, {"s3": 2})
    return SlurmSite(truth, Meter(new_ledger(), truth, [near, far]))


@examples(12)
@given(acts=st.lists(st.tuples(pauses, ACTS), min_size=15, max_size=40))
def test_hostile_history(new_ledger: NewLedger, acts: list[tuple[int, Act]]) -> None:
    site = begun(new_ledger)
    site.wait(TICK)
    for seconds, act in acts:
        site.meter.wait(seconds)
        site.act(*act)
        if act[0] in {"book", "day"}:
            assert [] == site.meter.faults(), acts
    for c in site.clusters:
        c.mute.clear()
        c.behind = False
        c.tell()
    site.wait(2 * TICK)
    site.day()
    assert [] == site.meter.faults(), acts
    for n in range(len(site.clusters)):
        site.mend(n)
    site.wait(2 * TICK)
    site.day()
    assert [] == site.meter.faults(), acts
    site.read_all()
    site.book()
    assert [] == site.meter.faults(), acts
    told = [c.key(r) for c in site.clusters for r in c.runs if r.told is not None]
    assert [] == short(site.truth, site.meter.books, told), acts
    assert 0 == amount(site.meter.books, Disposition.DISPUTED), acts
    assert [] == site.meter.books.unproved()
