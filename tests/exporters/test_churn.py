"""Jobs that come and go fast: what a long-lived exporter remembers never shows on its page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exporters.exposition.writer import Writer, as_text
from exporters.join.attribution import attribute
from exporters.join.site_picture import Reading
from exporters.model import Field, Snapshot
from exporters.poll.registry import Collector, JoinSettings
from exporters.series import families
from exporters.series.job_names import JobNames
from exporters.series.view import by_job
from tests.bench.site import Queue, projects
from tests.exporters import world as w

NODES, LINGER = 3, 30.0


class Site:
    """A few machines of eight cards each, full of jobs of one card; some of the jobs end and others begin."""

    def __init__(self, turnover: int, max_jobs: int = 1000) -> None:
        self.queue, self.devices = Queue(NODES, 8 * NODES, turnover), w.StubSource("dcgm", "", None)
        self.now = 1_790_100_000.0
        settings = JoinSettings(projects(), linger=LINGER, max_jobs=max_jobs)
        self.collector = Collector([self.queue, self.devices], settings, clock=lambda: self.now)

    def round(self) -> bytes:
        """The page of the next fifteen seconds; energy and power are other ones on each card."""
        self.now += 15.0
        values = [{Field.POWER: 300.0 + n, Field.ENERGY: n + 300 * self.now, Field.MEMORY_USED: 5e9} for n in range(24)]
        samples = [w.samples(f"gn{n:05}", self.now, values[n]) for n in range(NODES)]
        self.devices.says = Snapshot(0, samples=tuple(sample for some in samples for sample in some))
        self.collector.poll_all()
        self.collector.join()
        page = self.collector.page()
        assert page is not None
        return page.body()

    def jobs(self, family: str) -> list[str]:
        """The jobs in a family, in its order."""
        view = self.collector.view()
        assert view is not None
        (found,) = (f for f in families(view) if f.name == family)
        return [labels[found.labels.index("job_id")] for labels, _ in found.rows]


@pytest.mark.parametrize(("turnover", "max_jobs"), [(5, 1000), (0, 1000), (24, 1000), (5, 20)])
def test_the_page_is_that_of_an_exporter_that_remembers_nothing(turnover: int, max_jobs: int) -> None:
    site = Site(turnover, max_jobs)
    for _ in range(8):
        body = site.round()
        view = site.collector.view()

        assert view is not None
        assert as_text(Writer().render(families(replace(view, names=JobNames())))) == body


def test_the_join_is_that_of_an_exporter_that_remembers_nothing() -> None:
    site = Site(5)
    for _ in range(4):
        site.round()
        view = site.collector.view()
        snapshots = [(p.source.scheduler, p.source.cluster, p.snapshot) for p in site.collector._polled]
        readings = [
            Reading(scheduler, cluster, True, s.jobs, s.claims, s.nodes, s.demands, s.samples)
            for scheduler, cluster, s in snapshots
            if s is not None
        ]

        assert view is not None
        assert attribute(readings, view.picture.machines, {}, grace=120, now=site.now) == view.picture


def test_a_job_that_ended_is_shown_for_its_time_marked_final_and_then_no_more() -> None:
    site = Site(5)
    for _ in range(4):
        site.round()
    (ended, *_), shown = sorted(site.jobs("meterbridge_job_final")), site.jobs("meterbridge_job_gpu_seconds_total")

    assert 2 * 5 == len(site.jobs("meterbridge_job_final"))
    assert 24 + 2 * 5 == len(shown)
    assert sorted(shown) == shown == site.jobs("meterbridge_job_info")
    assert ended in shown
    assert ended not in site.jobs("meterbridge_job_gpus")
    assert not {*site.jobs("meterbridge_job_final")} & {*site.jobs("meterbridge_job_gpu_memory_used_bytes")}
    site.round()
    site.round()
    assert ended not in site.jobs("meterbridge_job_gpu_seconds_total")


def test_jobs_that_are_shown_no_more_are_forgotten() -> None:
    site = Site(5)
    for _ in range(9):
        site.round()
    view = site.collector.view()

    assert view is not None
    assert {*site.jobs("meterbridge_job_info")} < {key.id for key in view.jobs}
    assert 24 + 3 * 5 == len(view.jobs)  # those that this very round forgets are still among them


def test_a_number_that_only_some_jobs_have_is_theirs() -> None:
    site = Site(5)
    for _ in range(3):
        site.round()
    view = site.collector.view()
    assert view is not None
    keys = view.meter.holding()
    stranger = w.slurm_job(7).key

    found = by_job(view, {keys[3]: 3.0, keys[1]: 1.0, stranger: 7.0})

    assert {keys[1]: 1.0, keys[3]: 3.0, stranger: 7.0} == dict(found)
    assert [(key, 1.0) for key in keys] == list(by_job(view, dict.fromkeys(keys, 1.0)))


def test_what_an_ended_job_used_stays_what_it_was() -> None:
    site = Site(5)
    for _ in range(4):
        before = site.round()
    final = set(site.jobs("meterbridge_job_final"))
    after = site.round()

    stayed = final & set(site.jobs("meterbridge_job_final"))
    assert 5 == len(stayed)
    for job in stayed:
        counters = [line for line in before.splitlines() if b"_total{" in line and job.encode() in line]
        assert len(counters) > 3
        assert counters == [line for line in after.splitlines() if b"_total{" in line and job.encode() in line]
