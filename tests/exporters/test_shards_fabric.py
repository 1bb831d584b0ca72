"""The fabric over several shards: their sum says of every port, job and project what one exporter says."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from exporters.exposition.reader import Reader
from exporters.join.shard import Shard
from exporters.model import Field
from exporters.shards.merged_fabric import SUSPECT, MergedFabric
from exporters.shards.merger import Merger
from exporters.shards.merging import NAMES, Pages, Part, merge
from tests.exporters.fabricsite import BYTES, CE, PAUSED, PAUSING, WORKING, Rates, Site, whole
from tests.exporters.test_shards import Rows, rows
from tests.lab.endpoints import says, serving

COUNT = 3
MACHINES = [f"gn{n:02}" for n in range(1, 13)]
SLOW = MACHINES[4]


class Shards:
    """One exporter of all machines, and several that share them, seen through their merged pages."""

    def __init__(self) -> None:
        self.whole = Site(MACHINES)
        self.parts = [(Site(MACHINES, Shard(n, COUNT)), Reader(NAMES), Pages(), Part()) for n in range(COUNT)]
        self.sites = [self.whole, *(site for site, _, _, _ in self.parts)]
        self.fabric = MergedFabric(45.0)

    def step(self, rates: Callable[[str], Rates], values: Mapping[Field, float]) -> tuple[dict[str, Rows], ...]:
        """A round of all; what one exporter says, and what the shards say together."""
        for site in self.sites:
            site.values = values
            site.step({m: rates(m) for m in MACHINES})
        for site, reader, pages, part in self.parts:
            part.step(pages.page(reader.read(body(site))))
        found = [part for _, _, _, part in self.parts]
        suspects = dict(self.fabric.step(found))
        one = Part()
        one.step(Pages().page(Reader(NAMES).read(body(self.whole))))
        return rows(merge([one])), rows(merge(found)) | {SUSPECT: suspects}


def body(site: Site) -> bytes:
    page = site.collector.page()
    assert page is not None
    return page.body()


def held_up(machine: str) -> Rates:
    """One machine pauses all others."""
    more = {BYTES: 1e9, CE: 3.0}
    return {PAUSING: 0.3, PAUSED: 0.0} | more if machine == SLOW else {PAUSED: 0.2, PAUSING: 0.0} | more


def exchanging(machine: str) -> Rates:
    """Every other machine pauses, as all-to-all traffic does: nobody's fault."""
    return {PAUSED: 0.2, PAUSING: 0.2 if MACHINES.index(machine) % 2 else 0.0, BYTES: 1e9}


@pytest.mark.parametrize("rates", [held_up, exchanging], ids=["held up", "exchanging"])
def test_the_sum_of_the_shards_is_what_one_exporter_says_of_the_fabric(rates: Callable[[str], Rates]) -> None:
    shards = Shards()
    for site in shards.sites:
        site.run(*whole(18, *MACHINES[:9]), *whole(19, *MACHINES[9:11], account="llm"), *whole(20, MACHINES[11]))
    for _ in range(8):
        expected, merged = shards.step(rates, WORKING)

        for name, series in expected.items():
            assert pytest.approx(series) == merged[name], name
    roles = {(labels[2], labels[4]): labels[7] for labels in merged[SUSPECT]}
    assert ("slow_receiver" if rates is held_up else None) == roles.get(("18@900", SLOW))
    assert expected["meterbridge_rdma_port_receive_bytes_total"]


def test_suspicion_fades_in_the_sum_as_it_does_in_one_exporter() -> None:
    shards = Shards()
    for site in shards.sites:
        site.run(*whole(18, *MACHINES))
    for _ in range(8):
        shards.step(held_up, WORKING)
    told = []
    for _ in range(16):
        expected, merged = shards.step(lambda _: {PAUSED: 0.0, PAUSING: 0.0, BYTES: 1e9}, WORKING)
        told.append((len(expected[SUSPECT]), len(merged[SUSPECT])))

    assert all(one == together for one, together in told)
    assert (12, 12) == told[0]
    assert (0, 0) == told[-1]


def test_a_page_that_is_read_again_is_no_time_without_pauses() -> None:
    shards = Shards()
    for site in shards.sites:
        site.run(*whole(18, *MACHINES))
    for _ in range(8):
        _, merged = shards.step(held_up, WORKING)
    parts = [part for _, _, _, part in shards.parts]

    again = [dict(shards.fabric.step(parts)) for _ in range(20)]
    _, after = shards.step(held_up, WORKING)

    assert [merged[SUSPECT]] * 20 == again
    assert merged[SUSPECT] == after[SUSPECT]


def test_a_job_without_series_of_its_own_keeps_what_its_shards_say() -> None:
    part = Part()
    suspect = ("slurm", "lab", "99@900", "vision", "gn01", "mlx5_0", "1", "victim", "false")
    part.step({(SUSPECT, suspect): 1.0})

    assert [(suspect, 1.0)] == MergedFabric(45.0).step([part])


def test_the_merged_page_names_the_slow_receiver() -> None:
    shards = Shards()
    for site in shards.sites:
        site.run(*whole(18, *MACHINES))
    served = {f"/{n}": says(b"") for n in range(COUNT)}
    with serving(served) as endpoints:
        merger = Merger([endpoints.at(path) for path in served], timeout=5.0)
        for _ in range(8):
            shards.step(held_up, WORKING)
            served.update({f"/{n}": says(body(site)) for n, (site, _, _, _) in enumerate(shards.parts)})
            merger.step()
        page = merger.page()
        merger.stop()

    assert page is not None
    told = [line for line in page.body().decode().splitlines() if line.startswith(SUSPECT)]
    assert 12 == len(told)
    assert [SLOW] == [line.split('node="')[1][:4] for line in told if "slow_receiver" in line]


def test_a_shard_that_is_away_is_told_and_after_three_rounds_says_nothing_of_the_moment() -> None:
    sites = [Site(["gn01"]), Site(["gn02"])]
    for n, site in enumerate(sites):
        site.run(*whole(18 + n, *site.machines))
        site.step()
        site.step()
    pages = {f"/{n}": says(body(site)) for n, site in enumerate(sites)}
    with serving(pages) as endpoints:
        merger = Merger([endpoints.at("/0"), endpoints.at("/1")], timeout=5.0)
        ready, up, held, counted = [], [], [], []
        for present in (False, True, False, False, False):
            pages["/1"] = says(body(sites[1])) if present else says(b"", "503 Away")
            merger.step()
            page = merger.page()
            assert page is not None
            text = page.body().decode()
            ready.append(merger.ready())
            up.append(['/1"' in line for line in text.splitlines() if "shard_up{" in line and line.endswith(" 1.0")])
            held.append(text.count("\nmeterbridge_job_gpus{"))
            counted.append(text.count("\nmeterbridge_project_gpu_seconds_total{"))
        merger.stop()

    assert [False, True, True, True, True] == ready
    assert [[False], [False, True], [False], [False], [False]] == up
    assert [1, 2, 2, 2, 1] == held
    assert [1, 1, 1, 1, 1] == counted  # of one project: its sum stays
