"""What nobody recorded, recovered from a real Prometheus' history of kube-state-metrics."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select

from accounting.intake.backfill import RecoveryReport, gaps, recover
from accounting.intake.coverage import recovered_time
from accounting.intake.rejects import rejects
from accounting.store.tables import records
from exporters.model import Claim, Node
from exporters.sources.base import SourceError
from exporters.sources.kubernetes.past.kube_history import KubeHistory
from exporters.sources.kubernetes.past.prometheus import Prometheus as Client
from meterbridge import main
from tests.accounting import views
from tests.accounting.past import BACK, DOWN, HOUR, Past, Seen, served
from tests.accounting.site import T0, kn, node, pod, pod_job
from tests.accounting.test_recording import pods, record, round_
from tests.lab.prometheus import Prometheus

pytestmark = pytest.mark.server("prometheus")

HOLE = (T0 + 10 * HOUR, T0 + 11 * HOUR)
"""Nobody scraped then, either."""

NOW = BACK + HOUR
LATE = DOWN + 3 * HOUR

SEEN = (
    Seen("before", T0, DOWN + HOUR, 2, bound=T0 + 7, done=DOWN + 1234, uuids=("GPU-a", "GPU-b")),
    Seen("inside", DOWN + 600, DOWN + 2 * HOUR, bound=DOWN + 611, done=DOWN + 4567, owner=("Job", "train"),
         uuids=("GPU-c",)),
    Seen("through", T0, NOW, 1, bound=T0 + 9),
    Seen("deleted", DOWN + 1200, DOWN + 2400, 1, "gn02", bound=DOWN + 1190),
    Seen("sampled", DOWN + 3000, DOWN + 3600, 1, "gn02"),
    Seen("lost", DOWN + 3 * HOUR, HOLE[0], 1, "gn02", bound=DOWN + 3 * HOUR),
    Seen("sliced", LATE, LATE + 1200, 1, "gn02", bound=LATE, done=LATE + 1111, resource="nvidia_com_mig_3g_40gb"),
    Seen("shared", LATE, LATE + 1200, 1, "gn02", bound=LATE, resource="nvidia_com_gpu_shared"),
    Seen("nowhere", DOWN + HOUR, DOWN + 2 * HOUR, node=""),
)  # fmt: skip


@pytest.fixture(scope="module")
def history() -> Iterator[Prometheus]:
    past = Past(T0, NOW, [HOLE])
    past.nodes(["gn01", "gn02"])
    for each in SEEN:
        past.pod(each)
    down = {"node": "gn02", "condition": "Ready", "status": "true"}
    past.families["kube_node_status_condition"][tuple(sorted(down.items()))] = [
        (at, float(not DOWN + 2 * HOUR <= at < DOWN + 2 * HOUR + 600)) for at in past.scrapes(T0, NOW)
    ]
    with served(past) as server:
        yield server


@pytest.fixture
def source(history: Prometheus) -> Iterator[KubeHistory]:
    found = KubeHistory("kube", Client(history.url))
    yield found
    found.close()


BEFORE = replace(pod("before", 1, T0 + 7, None, 2), uuids=("GPU-a", "GPU-b"))
THROUGH = pod("through", 1, T0 + 9)
NODES: tuple[Node, ...] = (node(kn(1)), node(kn(2)))


def live(
    engine: Engine, *ats: int, claims: tuple[Claim, ...] = (BEFORE, THROUGH), gone: tuple[Claim, ...] = ()
) -> None:
    """The recorder at these moments, a process of its own each time."""
    jobs = [pod_job("before"), pod_job("through"), pod_job("train")]
    for at in ats:
        record(engine, round_(at, pods(at, claims, gone, NODES, jobs)), gap=HOUR)


def before_and_after(engine: Engine) -> None:
    live(engine, *range(T0 + 60, DOWN + 1, HOUR - 60), DOWN)
    live(engine, BACK, NOW, claims=(THROUGH,))


def spans(engine: Engine) -> dict[str, tuple[object, ...]]:
    """Pod -> run, milliGPU, start, end, basis."""
    return {r[2].removeprefix("pod-"): (r[0], r[3], r[4], r[5], r[12]) for r in views.current_claims(engine)}


def test_what_the_recorder_missed_is_recovered_to_the_second(engine: Engine, source: KubeHistory) -> None:
    before_and_after(engine)
    report = recover(engine, source, now=NOW, start=T0)
    found = spans(engine)

    assert ("uid-before", 2000, T0 + 7, DOWN + 1234, "recovered") == found["before"]
    assert ("uid-train", 1000, DOWN + 611, DOWN + 4567, "recovered") == found["inside"]
    assert ("uid-through", 1000, T0 + 9, None, "") == found["through"]
    assert ("pod-sliced", 500, LATE, LATE + 1111, "recovered") == found["sliced"]
    assert "nowhere" not in found
    assert report.read == report.charged + sum(report.excluded.values()) + report.pending + report.rejected
    aside = {r.kind: r.reason for r in rejects(engine)}
    assert {"changed", "unreadable"} == aside.keys()  # an end that was only assumed is now told
    assert aside["unreadable"].startswith(
        "pod vision/shared: its past does not tell how many cards are behind nvidia_com_gpu_shared"
    )


def test_where_no_time_was_exported_scrapes_bound_it_and_nothing_is_held_that_none_shows(
    engine: Engine, source: KubeHistory
) -> None:
    before_and_after(engine)
    recover(engine, source, now=NOW, start=T0)
    found = spans(engine)

    assert (DOWN + 1190, DOWN + 2400, "recovered by sampling") == found["deleted"][2:]
    assert (DOWN + 3000, DOWN + 3600, "recovered by sampling") == found["sampled"][2:]
    assert (DOWN + 3 * HOUR, HOLE[0] - 30, "recovered by sampling") == found["lost"][2:]


def test_holes_of_prometheus_itself_stay_unknown(engine: Engine, source: KubeHistory) -> None:
    before_and_after(engine)
    report = recover(engine, source, now=NOW, start=T0)

    assert [("kube-state-metrics", "kube", DOWN, HOLE[0] - 30), ("kube-state-metrics", "kube", HOLE[1], BACK)] == (
        views.covered(engine, "history")
    )
    assert [(HOLE[0] - 30, HOLE[1])] == gaps(engine, "kube", DOWN, NOW, 120)
    assert (BACK - DOWN, BACK - DOWN - HOUR - 30) == (report.gap, report.seconds)


def test_again_is_no_news_and_what_the_recorder_tells_later_goes_before(engine: Engine, source: KubeHistory) -> None:
    before_and_after(engine)
    recover(engine, source, now=NOW, start=T0)
    first = views.everything(engine)
    again = recover(engine, source, now=NOW + 1, start=T0)

    assert first == views.everything(engine)
    assert RecoveryReport("kube-state-metrics", "kube", again.gap) == again


def test_recovered_before_the_recorder_is_back_a_pod_is_still_one_pod(engine: Engine, source: KubeHistory) -> None:
    live(engine, *range(T0 + 60, DOWN + 1, HOUR - 60), DOWN)
    recover(engine, source, now=DOWN + 2 * HOUR, start=T0)
    early = spans(engine)
    live(engine, BACK, NOW, claims=(THROUGH,))
    recover(engine, source, now=NOW, start=T0)

    assert ("uid-before", 2000, T0 + 7, DOWN + 1234, "recovered") == early["before"]
    assert early["before"] == spans(engine)["before"]
    assert ("uid-through", 1000, T0 + 9, None, "") == spans(engine)["through"]
    assert len(spans(engine)) == len(views.current_claims(engine))


def test_a_recorder_that_could_only_not_read_its_source_does_not_replace_a_recovered_end_by_a_guess(
    engine: Engine, source: KubeHistory
) -> None:
    recorder = record(engine, round_(DOWN, pods(DOWN, [BEFORE, THROUGH], nodes=NODES)), gap=HOUR)
    recover(engine, source, now=DOWN + 2 * HOUR, start=DOWN)
    recorder.record(round_(BACK, pods(BACK, [THROUGH], nodes=NODES)))

    assert ("uid-before", 2000, T0 + 7, DOWN + 1234, "recovered") == spans(engine)["before"]


def test_a_pod_of_which_nothing_is_heard_once_the_recorder_is_back_ends_with_its_last_scrape(
    engine: Engine, source: KubeHistory
) -> None:
    live(engine, *range(T0 + 60, DOWN + 1, HOUR - 60), DOWN)
    recover(engine, source, now=LATE + 600, start=T0)
    still = spans(engine)["sliced"]
    live(engine, LATE + 660, LATE + 720, claims=(THROUGH,))
    recover(engine, source, now=LATE + 730, start=T0)

    assert (LATE, None, "") == still[2:]
    assert (LATE, LATE + 600, "recovered by sampling") == spans(engine)["sliced"][2:]


def test_the_record_of_a_recovered_claim_is_the_samples_it_was_made_of(engine: Engine, source: KubeHistory) -> None:
    before_and_after(engine)
    recover(engine, source, now=NOW, start=T0)
    raws = [r[0].decode() for r in views.rows(engine, select(records.c.raw).where(records.c.source == source.name))]
    [inside] = [raw for raw in raws if '"inside"' in raw]

    assert (
        f'{{"cards":["GPU-c"],"kube_pod_completion_time":{DOWN + 4567},"kube_pod_container_state_started":null,'
        f'"kube_pod_status_scheduled_time":{DOWN + 611},"namespace":"vision","node":"gn01","owners":[["Job","train"]],'
        '"pod":"inside","requests":[["main","nvidia_com_gpu",false,1]],"uid":"pod-inside"}'
    ) == inside


def test_a_node_that_was_not_ready_meanwhile_was_down(engine: Engine, source: KubeHistory) -> None:
    before_and_after(engine)
    recover(engine, source, now=NOW, start=T0)

    assert ("gn02", DOWN + 2 * HOUR, DOWN + 2 * HOUR + 600, False, None, "NotReady") in [
        (*e[:3], bool(e[3]), *e[4:]) for e in views.events(engine)
    ]


def test_a_prometheus_that_cannot_be_read_says_so_and_changes_nothing(engine: Engine) -> None:
    before_and_after(engine)
    first = views.everything(engine)
    dead = KubeHistory("kube", Client("http://user:secret@127.0.0.1:9"))
    with pytest.raises(SourceError, match=r"Prometheus http://user:\*\*\*@127\.0\.0\.1:9 cannot be read: .*refused"):
        recover(engine, dead, now=NOW, start=T0)

    assert first == views.everything(engine)


SETTINGS = """
kubernetes: [{{cluster: kube, history: {{prometheus: "{url}", since: 2026-10-01}}}}]
projects: [{{project: vision, namespaces: [vision]}}]
ledger: {{url: "{ledger}"}}
rates: {{currency: EUR, default: 2.00, gpu_hour: {{h100: 2.00}}}}
"""


def test_through_the_front_door_the_hours_are_charged_and_the_notes_say_whence(
    engine: Engine, history: Prometheus, tmp_path: Path
) -> None:
    before_and_after(engine)
    path = tmp_path / "meterbridge.yaml"
    path.write_text(SETTINGS.format(url=history.url, ledger=engine.url.render_as_string(hide_password=False)))

    def door(*words: str) -> str:
        with mock.patch("time.time", return_value=float(NOW)):
            result = CliRunner().invoke(main, [words[0], "--config", str(path), *words[1:]])
        assert 0 == result.exit_code, result.output
        return result.output

    said = door("ingest")
    door("reconcile", "--period", "2026-10")
    door("statement", "2026-10", "--out", str(tmp_path))
    notes = (tmp_path / "chargeback-2026-10-notes.txt").read_text()
    rows = list(csv.DictReader((tmp_path / "chargeback-2026-10.csv").read_text().splitlines()))
    train = next(r for r in rows if r["job_name"] == "train")
    explained = door("explain", train["line_id"], "--evidence")

    assert said.startswith(f"kube-state-metrics kube: {BACK - DOWN - HOUR - 30} s of {BACK - DOWN} s that nobody")
    assert {("kube-state-metrics", "kube"): HELD} == recovered_time(engine, T0, NOW)
    assert f"Of what was held on kube, {HELD / 3_600_000:.6f} GPU-hours were not recorded as they happened" in notes
    assert ("2026-10-01T06:10:11Z", "vision") == (train["start"], train["project"])
    assert '"kube_pod_completion_time":' in explained
    assert "every invariant holds\n" == door("check")


HELD = 1000 * (2 * 1234 + (4567 - 611) + (2400 - 1190) + 600 + HOUR - 30) + 500 * 1111
"""Of before (since the recorder was down), inside, deleted, sampled, lost, sliced: two 3g fill a card."""
