from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.dcgm_text import CardState, InstanceState, Pod, render
from demo.fleet import Fleet, card_at_work, card_uuid, noise
from tests.conftest import TESTDATA
from tests.lab import servers

TRAINING = CardState(
    index=0,
    uuid="GPU-604ac76c-d9cf-fef3-62e9-d92044ab6e52",
    engine=0.963,
    sm=0.88125,
    tensor=0.412,
    dram=0.53,
    power=641.382,
    energy=1234567890.123,
    memory_used=64695 << 20,
    memory_total=(64695 + 16384) << 20,
    nvlink_transmit=178e9,
    nvlink_receive=176.5e9,
    temperature=61.0,
    pods=(Pod("vision", "bert-worker-0", "train"),),
)


def lines_of(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.split("{")[0].split(" ")[-1] == name or f" {name} " in line]


@pytest.mark.parametrize(
    "name", ["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_FB_USED"]
)
def test_a_line_is_dcgm_exporters_to_the_letter(name: str) -> None:
    recorded = lines_of((TESTDATA / "dcgm" / "classic.prom").read_text(), name)[:3]

    assert recorded == lines_of(render("gn01", [TRAINING]), name)


def test_the_page_is_valid_and_has_a_family_once() -> None:
    shared = CardState(1, "GPU-s", pods=(Pod("a", "b"), Pod("c", "d")), hpc_jobs=("1", "2"))
    cut = CardState(2, "GPU-m", instances=(InstanceState(1, "1g.10gb", hpc_jobs=("3",)),))
    families = list(text_string_to_metric_families(render("gn01", [TRAINING, shared, cut], "4.6")))

    assert len({f.name for f in families}) == len(families)
    assert {"gn01"} == {s.labels["hostname"] for f in families for s in f.samples}


@pytest.mark.server("prometheus")
def test_promtool_finds_no_syntax_error_in_the_page(tmp_path: Path) -> None:
    page = render("gn01", [TRAINING])
    said = subprocess.run(
        [servers.program("promtool"), "check", "metrics"], input=page.encode(), capture_output=True, check=False
    )

    # The names are dcgm-exporter's and break Prometheus' conventions (exit 3); a syntax error is another exit.
    assert said.returncode == 3, said.stderr.decode()
    assert b"error" not in said.stderr.lower().replace(b"xid_error", b"")


def test_the_same_second_reads_the_same_and_cards_differ() -> None:
    first, again, other = (card_at_work("gn01", i, 1_790_000_000.0, load=0.8) for i in (0, 0, 1))

    assert first == again
    assert (first.uuid, first.engine) != (other.uuid, other.engine)
    assert re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", card_uuid("gn01", 0))
    assert all(0 <= noise("x", i) < 1 for i in range(1000))


def test_an_idle_card_reads_zero_and_its_energy_still_grows() -> None:
    earlier, later = (card_at_work("gn01", 0, 1_790_000_000.0 + s, load=0.0) for s in (0, 15))

    assert (later.engine, later.memory_used, later.nvlink_transmit) == (0.0, 0, 0.0)
    assert later.energy - earlier.energy == pytest.approx(70.0 * 15)


def test_the_fleet_serves_each_node_at_its_own_url_and_says_it_is_simulated() -> None:
    def readings(node: str, at: float) -> list[CardState]:
        if node == "gn02":
            raise LookupError("gn02 is drained: its driver is gone")
        return [card_at_work(node, 0, at, load=0.5)]

    with Fleet(["gn01", "gn02"], readings, clock=lambda: 1_790_000_000.0) as fleet, httpx2.Client() as client:
        first, second = fleet.targets
        good, gone, unknown = (client.get(url) for url in (first, second, first.replace("gn01", "gn99")))
        index = client.get(first.replace("gn01/metrics", ""))

        assert good.text == render("gn01", readings("gn01", 1_790_000_000.0))
        assert good.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert (gone.status_code, gone.text) == (503, "gn02 is drained: its driver is gone\n")
        assert unknown.status_code == 404
        assert "simulated" in index.text
        assert [r.headers["x-simulated-by"] for r in (good, gone, unknown, index)] == ["meterbridge demo fleet"] * 4


def test_a_taken_port_is_an_error_at_the_start() -> None:
    with Fleet([], lambda _node, _at: []) as fleet:
        port = fleet._port
        with pytest.raises(OSError, match="address already in use"):
            Fleet([], lambda _node, _at: [], port=port).start()
