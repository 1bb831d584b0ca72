from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from demo.dcgm_text import CardState, InstanceState, Pod
from demo.fleet import Fleet, card_at_work, card_uuid
from exporters.model import Field
from exporters.sources.base import SourceError
from exporters.sources.devices.dcgm import Dcgm
from tests.conftest import TESTDATA
from tests.lab.endpoints import Answer, breaks_off, drips, floods, hangs, says, serving

NODES = [f"gn{i:02d}" for i in range(1, 9)]
CLASSIC = (TESTDATA / "dcgm" / "classic.prom").read_bytes()


def cards(node: str, at: float) -> list[CardState]:
    return [card_at_work(node, i, at, load=0.5, tensor=0.3, busy_seconds=at - 1_790_000_000) for i in range(8)]


@pytest.fixture
def dcgm() -> Iterator[Callable[..., Dcgm]]:
    made = []

    def make(targets: Sequence[str] = (), **settings: object) -> Dcgm:
        made.append(Dcgm(targets=targets, **settings))
        return made[-1]

    yield make
    for source in made:
        source.close()


def test_a_fleet_is_read_card_by_card(dcgm: Callable[..., Dcgm]) -> None:
    with Fleet(NODES, cards, clock=lambda: 1_790_000_100.0) as fleet:
        snapshot = dcgm(fleet.targets).poll(1_790_000_100.0)
        expected = [(node, i, card_uuid(node, i)) for node in NODES for i in range(8)]

        assert expected == [(s.host, s.index, s.uuid) for s in snapshot.samples]
        assert (snapshot.complete, snapshot.problems) == (True, ())
        assert {1_790_000_100.0} == {s.at for s in snapshot.samples}


def test_readings_arrive_in_base_units(dcgm: Callable[..., Dcgm]) -> None:
    card = CardState(
        3, "GPU-x", "NVIDIA H100", 0.5, 0.25, 0.125, 0.75, 350.5, 1234.567, 5 << 20, 80 << 30, 2e9, 1e9, 55.0, xid=31
    )
    with Fleet(["gn01"], lambda _node, _at: [card]) as fleet:
        (sample,) = dcgm(fleet.targets).poll(0.0).samples

        assert sample.values == {
            Field.ENGINE_ACTIVE: 0.5,
            Field.TENSOR_ACTIVE: 0.125,
            Field.MEMORY_ACTIVE: 0.75,
            Field.UTILIZATION: 0.5,
            Field.POWER: 350.5,
            Field.ENERGY: 1234.567,
            Field.MEMORY_USED: float(5 << 20),
            Field.NVLINK_TX_RATE: 2e9,
            Field.NVLINK_RX_RATE: 1e9,
            Field.TEMPERATURE: 55.0,
            Field.XID: 31.0,
        }


def test_both_spellings_served_by_one_fleet_give_the_same_samples(dcgm: Callable[..., Dcgm]) -> None:
    def read(spelling: str) -> object:
        with Fleet(["gn01"], cards, clock=lambda: 1_790_000_100.0, spelling=spelling) as fleet:
            return dcgm(fleet.targets).poll(0.0).samples

    assert read("classic") == read("4.6")


def test_fields_renamed_in_mid_flight_are_the_same_card(dcgm: Callable[..., Dcgm]) -> None:
    pages = {name: (TESTDATA / "dcgm" / f"{name}.prom").read_bytes() for name in ("classic", "renamed")}
    with serving({"/metrics": says(pages["classic"])}) as web:
        source = dcgm([web.at("/metrics")])
        before = source.poll(1.0).samples
        web.answers["/metrics"] = says(pages["renamed"])
        after = source.poll(1.0).samples

        assert before == after


def test_shared_cards_and_mig_instances_come_through(dcgm: Callable[..., Dcgm]) -> None:
    shared = CardState(
        0, "GPU-s", engine=0.8, memory_used=4 << 30, pods=(Pod("dev", "a", uid="1"), Pod("dev", "b")), hpc_jobs=("7",)
    )
    cut = CardState(
        1,
        "GPU-m",
        power=250.0,
        instances=(InstanceState(1, "3g.40gb", engine=0.9), InstanceState(2, "1g.10gb", hpc_jobs=("8", "9"))),
    )
    with Fleet(["mx01"], lambda _node, _at: [shared, cut]) as fleet:
        found = {(s.uuid, s.mig_instance): s for s in dcgm(fleet.targets).poll(0.0).samples}

        assert {("GPU-s", ""), ("GPU-m", ""), ("GPU-m", "1"), ("GPU-m", "2")} == found.keys()
        assert found["GPU-s", ""].pods == (("dev", "a", "1"), ("dev", "b", ""))
        assert found["GPU-s", ""].hpc_jobs == ("7",)
        assert found["GPU-s", ""].values[Field.UTILIZATION] == 0.8
        assert found["GPU-s", ""].values[Field.MEMORY_USED] == float(4 << 30)
        assert found["GPU-m", "1"].values[Field.ENGINE_ACTIVE] == 0.9
        assert found["GPU-m", "2"].hpc_jobs == ("8", "9")
        assert [250.0] == [
            s.values[Field.POWER] for s in found.values() if s.uuid == "GPU-m" and Field.POWER in s.values
        ]


BAD: dict[str, tuple[Answer, str]] = {
    "/drips": (drips(CLASSIC), "no whole answer within 1 s"),
    "/hangs": (hangs, "no whole answer within 1 s"),
    "/floods": (floods(b"DCGM_FI_DEV_POWER_USAGE 1\n" * 4000), "more than 2000000 bytes, the limit"),
    "/cut": (breaks_off(CLASSIC[:500], promised=len(CLASSIC)), "the answer was cut short"),
    "/half-a-line": (says(CLASSIC[:-10]), "the page is cut short: it does not end in a newline"),
    "/empty": (says(b""), "the page is empty"),
    "/binary": (says(bytes(range(256)) * 4 + b"\n"), "the body is not UTF-8 text (at byte 128): not a metrics page"),
    "/html": (says(b"<html><body>Sign in</body></html>\n"), "the page holds no reading of any card"),
    "/no-cards": (says(b"# HELP up Up.\nup 1\n"), "the page holds no reading of any card"),
    "/gone": (says(b"", "500 Internal Server Error"), "HTTP 500 Internal Server Error"),
}


def test_bad_endpoints_cost_the_good_ones_nothing(dcgm: Callable[..., Dcgm]) -> None:
    with (
        Fleet(NODES, cards) as fleet,
        serving({path: answer for path, (answer, _) in BAD.items()}) as web,
    ):
        source = dcgm(
            [web.at(path) for path in BAD] + list(fleet.targets), timeout=1.0, concurrency=4, max_bytes=2_000_000
        )
        started = time.monotonic()
        snapshot = source.poll(1_790_000_100.0)
        took = time.monotonic() - started

        assert [8] * 8 == [sum(s.host == node for s in snapshot.samples) for node in NODES]
        assert not snapshot.complete
        for path, (_, reason) in BAD.items():
            (sentence,) = (p for p in snapshot.problems if web.at(path) in p)
            assert reason in sentence
        assert took < 4


def test_equal_failures_are_one_sentence_however_many(dcgm: Callable[..., Dcgm]) -> None:
    gone = {f"/gone{n}": says(b"", "503 Gone") for n in range(40)}
    with serving({"/ok": says(CLASSIC), **gone}) as web:
        snapshot = dcgm([web.at("/ok"), *(web.at(f"/gone{n}") for n in range(40))]).poll(0.0)

        named = ", ".join(web.at(f"/gone{n}") for n in range(3))
        assert snapshot.problems == (f"40 of 41 endpoints: HTTP 503 Gone ({named}, …)",)


def test_a_hostile_label_loses_its_own_line_and_no_more(dcgm: Callable[..., Dcgm]) -> None:
    hostile = CLASSIC + b'DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-z",hpc_job="18"; drop"} 5\n'
    with serving({"/metrics": says(hostile)}) as web:
        snapshot = dcgm([web.at("/metrics")]).poll(0.0)

        assert len(snapshot.samples) == 2
        assert not snapshot.complete
        assert "1 lines could not be read, the first is line 69 of" in snapshot.problems[0]


def test_a_label_of_64_kilobytes_loses_its_own_lines_and_no_more(dcgm: Callable[..., Dcgm]) -> None:
    long = b'DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-z",pod="' + b"x" * 65536 + b'",namespace="n"} 5\n'
    with serving({"/metrics": says(CLASSIC + long)}) as web:
        snapshot = dcgm([web.at("/metrics")]).poll(0.0)

        assert len(snapshot.samples) == 2
        assert "longer than the limit of 4096" in snapshot.problems[0]
        assert len(snapshot.problems[0]) < 500


def test_values_that_cannot_be_are_dropped_counted_and_said(dcgm: Callable[..., Dcgm]) -> None:
    with serving({"/metrics": says((TESTDATA / "dcgm" / "blanks.prom").read_bytes())}) as web:
        snapshot = dcgm([web.at("/metrics")]).poll(0.0)

        assert snapshot.complete
        assert snapshot.problems[0].startswith("3 readings out of range were dropped (DCGM_FI_DEV_")


def test_no_endpoint_at_all_is_an_error_that_says_what_to_do(dcgm: Callable[..., Dcgm]) -> None:
    with pytest.raises(SourceError, match=r"list them under dcgm\.targets"):
        dcgm().poll(0.0)
    with pytest.raises(SourceError, match="no pod carries the selector's labels"):
        dcgm(discover=tuple).poll(0.0)


def test_a_fleet_that_is_all_dead_is_an_error(dcgm: Callable[..., Dcgm]) -> None:
    with (
        serving({"/gone": says(b"", "503 Gone")}) as web,
        pytest.raises(SourceError, match="1 of 1 endpoints: HTTP 503"),
    ):
        dcgm([web.at("/gone")]).poll(0.0)


def test_discovered_and_listed_endpoints_are_read_once_each(dcgm: Callable[..., Dcgm]) -> None:
    with serving({"/a": says(CLASSIC), "/b": says(CLASSIC)}) as web:
        dcgm([web.at("/a")], discover=lambda: (web.at("/a"), web.at("/b"))).poll(0.0)

        assert sorted(web.hits) == ["/a", "/b"]


def test_discovery_that_fails_later_leaves_the_known_endpoints(dcgm: Callable[..., Dcgm]) -> None:
    with serving({"/a": says(CLASSIC)}) as web:
        answers = iter([(web.at("/a"),)])

        def discover() -> tuple[str, ...]:
            for answer in answers:
                return answer
            raise SourceError("the API server is gone")

        source = dcgm(discover=discover)
        source.poll(0.0)
        snapshot = source.poll(1.0)

        assert len(snapshot.samples) == 2
        assert not snapshot.complete
        assert snapshot.problems == ("endpoints not discovered anew, reading 1 known ones: the API server is gone",)


def test_discovery_that_fails_at_once_is_an_error(dcgm: Callable[..., Dcgm]) -> None:
    def discover() -> tuple[str, ...]:
        raise SourceError("the API server is gone")

    with pytest.raises(SourceError, match="the API server is gone"):
        dcgm(discover=discover).poll(0.0)


def test_endpoints_that_left_are_forgotten(dcgm: Callable[..., Dcgm]) -> None:
    with serving({f"/{n}": says(CLASSIC) for n in range(20)}) as web:
        urls = [[web.at(f"/{n}")] for n in range(20)]
        source = dcgm(discover=urls.pop)
        for _ in range(20):
            source.poll(0.0)

        assert len(source._fanout.endpoints) == 1


def test_a_closed_source_says_so(dcgm: Callable[..., Dcgm]) -> None:
    source = dcgm(["http://127.0.0.1:9/metrics"])
    source.close()
    source.close()

    with pytest.raises(SourceError, match="dcgm: closed"):
        source.poll(0.0)


def named(host: str, uuid: str, gpu: str = "0") -> bytes:
    labels = f'gpu="{gpu}",UUID="{uuid}",modelName="H100",Hostname="{host}"'
    return f"DCGM_FI_DEV_POWER_USAGE{{{labels}}} 300\n".encode()


def test_a_page_that_is_named_after_its_own_pod_is_of_the_node_that_discovery_found_it_on(
    dcgm: Callable[..., Dcgm],
) -> None:
    with serving({"/": says(named("nvidia-dcgm-exporter-cwbcm", "GPU-a"))}) as web:
        snapshot = dcgm(discover=lambda: {web.at("/"): "gn01"}).poll(0.0)

    assert [("gn01", "GPU-a")] == [(s.host, s.uuid) for s in snapshot.samples]
    assert snapshot.complete


def test_cards_of_another_machine_in_a_page_are_refused_named_and_counted(dcgm: Callable[..., Dcgm]) -> None:
    forged = named("gn01", "GPU-a") + named("GN02.site.example", "GPU-b") + named("gn02", "GPU-c", "1")
    with serving({"/1": says(forged), "/2": says(named("gn02", "GPU-d"))}) as web:
        snapshot = dcgm(discover=lambda: {web.at("/1"): "gn01", web.at("/2"): "gn02.site.example"}).poll(0.0)

    assert [("gn01", "GPU-a"), ("gn02.site.example", "GPU-d")] == [(s.host, s.uuid) for s in snapshot.samples]
    assert not snapshot.complete
    assert "the page of gn01 has 1 cards of gn02, another machine: they were refused" in " ".join(snapshot.problems)


@pytest.mark.parametrize("gpu", ["9" * 30, "-1", "1.5", "", "\u0663", "1024"])
def test_a_card_with_an_absurd_number_is_left_out_and_said(dcgm: Callable[..., Dcgm], gpu: str) -> None:
    with serving({"/": says(named("gn01", "GPU-a") + named("gn01", "GPU-b", gpu))}) as web:
        snapshot = dcgm([web.at("/")]).poll(0.0)

    assert ["GPU-a"] == [s.uuid for s in snapshot.samples]
    assert "1 lines name no card" in " ".join(snapshot.problems)


def test_one_broken_page_is_one_endpoints_fault(dcgm: Callable[..., Dcgm]) -> None:
    broken = "# HELP \u00a0 b\n".encode() + named("gn02", "GPU-b")
    with serving({"/a": says(named("gn01", "GPU-a")), "/b": says(broken)}) as web:
        snapshot = dcgm([web.at("/a"), web.at("/b")]).poll(0.0)

    assert "GPU-a" in [s.uuid for s in snapshot.samples]
    assert not snapshot.complete
