from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.devices import Devices
from demo.fabric_text import FabricText
from demo.site import MACHINES, DemoSite
from exporters import build
from exporters.config import parse
from exporters.series.view import View

END = 1_793_491_200.0


def test_a_page_is_valid_and_has_a_family_once() -> None:
    families = list(text_string_to_metric_families(FabricText(Devices().busy_seconds, END).page("k04", END + 600)))

    assert len({f.name for f in families}) == len(families)


@pytest.mark.parametrize("machine", ["k03", "k04", "gn03"])
def test_what_a_port_counts_never_falls(machine: str) -> None:
    text = FabricText(Devices().busy_seconds, END)
    rounds = [
        [s.value for f in text_string_to_metric_families(text.page(machine, END + at)) for s in f.samples]
        for at in (-86_400.0, -1.0, 0.0, 5.0, 3_600.0, 40_000.0)
    ]

    assert all(a <= b for before, after in pairwise(rounds) for a, b in zip(before, after, strict=True))


def live(site: DemoSite) -> View:
    """The site some minutes after its month, as the demo goes on once the month is over."""
    config = parse(site.config_text())
    collector = build.collector(config, clock=site.clock)
    start = END + 40_000.0
    for n in range(20):
        site.advance(start + 15.0 * n)
        site.kubernetes.settle()
        collector.poll_all()
        view = collector.join()
    collector.stop()
    return view


def test_the_demo_tells_of_a_slow_receiver_and_its_victim(tmp_path: Path) -> None:
    with DemoSite(tmp_path) as site:
        view = live(site)

    assert 2 * len(MACHINES) == len(view.fabric.ports)
    assert {("k04", "slow_receiver"), ("k03", "victim")} == {(s.state.machine, s.role) for s in view.fabric.suspects}
    assert {"pretrain-13b"} == {view.jobs[s.job].name for s in view.fabric.suspects}
