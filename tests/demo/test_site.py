"""The shipped site is consistent in itself, and the production sources read it."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from demo.devices import Devices, Gap, character
from demo.site import KUBERNETES, MACHINES, DemoSite
from exporters import build
from exporters.config import parse
from exporters.model import Claim, LinkKind, Snapshot
from exporters.sources.base import SourceError
from exporters.sources.kubernetes.pods import Pods
from tests.lab import record_demo
from tests.lab.demo_slurm import Recording
from tests.lab.demo_time import MONTH_END, MONTH_START

DATA = Path(record_demo.DATA)
Row = dict[str, str]


@pytest.fixture(scope="module")
def holders() -> list[Row]:
    text = gzip.decompress((DATA / "holders.csv.gz").read_bytes()).decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_the_shipped_files_are_what_the_kept_recording_makes() -> None:
    built = record_demo.build(Recording.read(record_demo.RECORDING))

    shipped = {path.name: path.read_bytes() for path in DATA.iterdir() if path.suffix != ".md"}
    assert set(built) == set(shipped)
    assert [name for name in sorted(built) if plain(name, built[name]) != plain(name, shipped[name])] == []


def plain(name: str, content: bytes) -> bytes:
    """What is in a file, however this machine's zlib packs it."""
    return gzip.decompress(content) if name.endswith(".gz") else content


def test_the_shipped_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3_000_000


def overlaps(rows: list[Row]) -> Iterator[tuple[Row, Row]]:
    """Pairs of holders of one card at one moment."""
    by_card: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_card[row["machine"], row["card"], row["instance"]].append(row)
    for held in by_card.values():
        for n, a in enumerate(held):
            for b in held[n + 1 :]:
                if int(a["start"]) < int(b["end"]) and int(b["start"]) < int(a["end"]):
                    yield a, b


@pytest.mark.parametrize("scheduler", ["slurm", "kubernetes"])
def test_neither_scheduler_gives_a_card_away_twice(holders: list[Row], scheduler: str) -> None:
    assert not list(overlaps([row for row in holders if row["scheduler"] == scheduler]))


def test_cards_are_shared_across_schedulers_only_where_the_story_says_so(holders: list[Row]) -> None:
    shared = {next(r["name"] for r in pair if r["scheduler"] == "kubernetes") for pair in overlaps(holders)}

    assert {"hpc1-worker-h100", "sft-70b", "sft-70b-2", "tile-export"} == shared


def test_every_machine_has_eight_cards_that_work(holders: list[Row]) -> None:
    seen = {(row["machine"], row["card"]) for row in holders}

    assert {(machine, str(card)) for machine in MACHINES for card in range(8)} >= seen
    assert len(seen) > 0.9 * 8 * len(MACHINES)


@pytest.fixture(scope="module")
def devices() -> Devices:
    return Devices((Gap("gn02", MONTH_START, MONTH_START + 3600),))


def test_joules_only_grow_and_fit_the_watts_beside_them(devices: Devices) -> None:
    for machine in ("k05", "gn01", "mx01"):
        for before, after in pairwise(range(MONTH_START, MONTH_START + 10 * 86_400, 1800)):
            for a, b in zip(devices.readings(machine, before), devices.readings(machine, after), strict=True):
                watts = (b.energy - a.energy) / (after - before)

                assert 69.9 <= watts <= 700, (machine, a.index, before)


def test_a_card_is_as_busy_as_the_work_on_it(devices: Devices, holders: list[Row]) -> None:
    at = MONTH_START + 12 * 86_400
    for row in holders:
        if row["machine"] != "gn01" or not int(row["start"]) <= at < int(row["end"]):
            continue
        card = devices.readings("gn01", at)[int(row["card"])]

        assert card.hpc_jobs == (row["job"],)
        assert card.engine == pytest.approx(character(row["name"]).load(at), rel=0.07)


def test_a_slurmd_pod_and_the_job_inside_it_are_on_one_card(devices: Devices) -> None:
    (card, *_) = devices.readings("k01", MONTH_START + 86_400)

    assert [pod.name for pod in card.pods] == ["hpc1-worker-h100-qk7zd"]
    assert len(card.hpc_jobs) == 1


def test_a_sliced_card_is_seven_instances(devices: Devices) -> None:
    cards = devices.readings("k09", MONTH_START + 86_400)

    assert [7 if card.index in (6, 7) else 0 for card in cards] == [len(card.instances) for card in cards]
    assert sum(bool(i.pods) for card in cards for i in card.instances) >= 3


def test_an_exporter_out_of_order_answers_nothing(devices: Devices) -> None:
    with pytest.raises(LookupError, match="gn02"):
        devices.readings("gn02", MONTH_START + 1)
    assert devices.readings("gn02", MONTH_START + 3600)


@pytest.fixture(scope="module")
def polled(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Snapshot]:
    """The month of pods, as the production source sees it."""
    snapshots: dict[float, Snapshot] = {}
    with DemoSite(tmp_path_factory.mktemp("site"), every=6) as site:
        config = parse(site.config_text())
        (source,) = [s for s in build.sources(config, site.clock) if isinstance(s, Pods)]
        for moment in site.moments():
            site.advance(moment)
            site.kubernetes.settle()
            if site.kubernetes_unreadable[0] <= moment < site.kubernetes_unreadable[1]:
                with pytest.raises(SourceError, match="503"):
                    source.poll(moment)
                continue
            snapshots[moment] = source.poll(moment)
            source.acknowledge(moment)
        source.close()
    return snapshots


def test_ends_are_told_as_they_happened_whenever_they_are_seen(polled: dict[float, Snapshot]) -> None:
    ended = [c for s in polled.values() for c in s.ended]
    names = [c.native_id for c in ended]

    assert len(names) == len(set(names)) + 1, "notebook-0 ends twice, under two UIDs"
    assert {"finished", "deleted"} <= {c.end_basis for c in ended}
    assert all(c.end is not None and c.end > c.start for c in ended)
    notebook = sorted((c.start, c.end) for c in ended if c.native_id == "vision/notebook-0")
    assert notebook[0][1] is not None
    assert notebook[0][1] < notebook[1][0]


def test_the_machines_are_the_sites_and_one_of_them_fails(polled: dict[float, Snapshot]) -> None:
    last = polled[max(polled)]

    assert {f"k{n:02d}" for n in range(1, 10)} | {"hy01", "hy02", "br01"} == {n.key.name for n in last.nodes}
    assert sum(n.milligpu for n in last.nodes) == 12 * 8000
    down = {n.key.name for s in polled.values() for n in s.nodes if not n.up}
    assert down == {"k08"}


def test_pods_carry_the_keys_that_tie_them_to_slurm(polled: dict[float, Snapshot]) -> None:
    claims: dict[str, Claim] = {c.unit: c for s in polled.values() for c in (*s.claims, *s.ended)}
    keys = Counter(key.kind for c in claims.values() for key in c.keys)

    assert keys == {LinkKind.LENDS: 5, LinkKind.SAME: 4, LinkKind.INSIDE: 5}
    lenders = {(k.value, c.node.name) for c in claims.values() for k in c.keys if k.kind is LinkKind.LENDS}
    assert lenders == {(f"h100-0{n}", f"k0{n}") for n in range(1, 5)}


def test_workloads_are_named_by_the_owner_at_their_top(polled: dict[float, Snapshot]) -> None:
    kinds = {j.kind for s in polled.values() for j in s.jobs}

    assert {
        "InferenceService", "Deployment", "Job", "JobSet", "NodeSet", "Pod", "PyTorchJob", "RayCluster",
        "StatefulSet",
    } == kinds  # fmt: skip


def test_a_pod_that_no_node_can_hold_waits(polled: dict[float, Snapshot]) -> None:
    assert [d.milligpu for d in polled[max(polled)].demands] == [16_000]


def test_the_settings_are_valid_and_name_every_endpoint(tmp_path: Path) -> None:
    with DemoSite(tmp_path / "site") as site:
        config = parse(site.config_text())

    assert [c.cluster for c in config.kubernetes] == [KUBERNETES]
    assert config.dcgm is not None
    assert [target.split("/")[-2] for target in config.dcgm.targets] == list(MACHINES)
    assert site.period == "2026-10"


def test_site_time_runs_from_the_months_first_second_past_its_last(tmp_path: Path) -> None:
    with DemoSite(tmp_path / "site") as site:
        moments = list(site.moments())
        site.advance(moments[3])
        with pytest.raises(ValueError, match="cannot go back"):
            site.advance(moments[2])

    assert moments[0] == MONTH_START
    assert moments[-1] > MONTH_END
    assert moments == sorted(set(moments))
