"""Replay: what recorded counters would have fired, on Prometheus' own engine."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from alerts.files import SHIPPED
from alerts.firing import episodes
from alerts.recording import load_recording
from alerts.replay import Replayed, replay
from alerts.thresholds import RulesError, load
from meterbridge import main
from tests.lab.prometheus import promtool

T0 = 1_764_000_000
STEP = 15
ROUNDS = 81  # twenty minutes
PORT = 'device="mlx5_0",port="1"'

Counter = Callable[[int], float]


def openmetrics(series: Mapping[str, Counter], rounds: int = ROUNDS) -> str:
    """Samples with times, as a dump of a Prometheus has them."""
    lines = [f"{name} {value(n):g} {T0 + n * STEP}" for name, value in series.items() for n in range(rounds)]
    return "\n".join([*lines, "# EOF"]) + "\n"


def pages(machines: Mapping[str, Mapping[str, Counter]], rounds: int = ROUNDS) -> str:
    """Pages of node_exporters, one round after the other."""
    lines = []
    for n in range(rounds):
        for offset, (node, series) in enumerate(machines.items()):
            lines += [f"# page at={T0 + n * STEP + offset * 0.5}", f'node_uname_info{{nodename="{node}"}} 1']
            lines += ['node_exporter_build_info{version="1.11.1"} 1', f"node_infiniband_state_id{{{PORT}}} 4"]
            lines += ['node_ethtool_info{bus_info="0000:17:00.0",device="eth2",driver="mlx5_core"} 1']
            lines += [f"{name} {value(n):.0f}" for name, value in series.items()]
    return "\n".join(lines) + "\n"


def during(first: int, last: int, per_round: float, start: float = 0.0) -> Counter:
    """A counter that grows only between two rounds."""
    return lambda n: start + per_round * (min(max(n, first), last) - first)


JOB = {
    'meterbridge_job_info{scheduler="slurm",cluster="hall",job_id="7@1",project="vision",display_id="7"}': lambda _: 1,
    f'meterbridge_rdma_port_job_info{{node="gn01",{PORT},scheduler="slurm",cluster="hall",job_id="7@1",'
    'project="vision",shared="false"}': lambda _: 1,
}
TROUBLE: dict[str, Counter] = {
    **JOB,
    f'meterbridge_rdma_port_pause_transmitted_seconds_total{{node="gn01",{PORT},priority="3"}}': during(20, 50, 6),
    f'meterbridge_rdma_port_pause_received_seconds_total{{node="gn02",{PORT},priority="3"}}': during(21, 49, 2),
    f'meterbridge_rdma_port_retries_exceeded_total{{node="gn02",{PORT},kind="rnr"}}': during(30, 31, 3),
    f'meterbridge_rdma_port_receive_packets_total{{node="gn01",{PORT}}}': during(0, ROUNDS, 15e6),
    f'meterbridge_rdma_port_out_of_sequence_packets_total{{node="gn01",{PORT}}}': during(40, 43, 3000),
}  # fmt: skip
PAUSING = 'node_ethtool_transmitted_prio3_pause_duration{device="eth2"}'
SEQUENCE = f"node_infiniband_out_of_sequence_packets_received_total{{{PORT}}}"
PACKETS = f"node_infiniband_port_packets_received_total{{{PORT}}}"


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[str], Path]:
    """Write a recording."""

    def write(text: str) -> Path:
        path = tmp_path / "recording.txt"
        path.write_text(text)
        return path

    return write


def firing(found: Replayed, at: float) -> set[tuple[str, str, str]]:
    """What fires at an evaluation: alert, severity, node."""
    return {
        (e.alert, e.severity, dict(e.labels)["node"])
        for e in found.episodes
        if e.fired is not None and e.fired <= at and (e.ended is None or at < e.ended)
    }


@pytest.mark.server("prometheus")
def test_replay_fires_exactly_when_prometheus_would(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    found = replay(recorded(openmetrics(TROUBLE)), load())

    names = ("recording", "fabric", "fabric-ecn", "fabric-ordered")
    looks = []
    for n in range(ROUNDS):
        samples = [
            {"labels": f'{{alertname="{alert}", severity="{severity}", node="{node}"}}', "value": 1}
            for alert, severity, node in sorted(firing(found, T0 + n * STEP))
        ]
        expr = 'count by (alertname, severity, node) (ALERTS{alertstate="firing"})'
        looks.append({"expr": expr, "eval_time": f"{n * STEP}s", "exp_samples": samples})
    inputs = [{"series": s, "values": " ".join(f"{v(n):g}" for n in range(ROUNDS))} for s, v in TROUBLE.items()]
    case = {"interval": f"{STEP}s", "input_series": inputs, "promql_expr_test": looks}
    test = {
        "rule_files": [str(SHIPPED / f"{name}.yaml") for name in names],
        "group_eval_order": [f"meterbridge-{name}" for name in names],
        "evaluation_interval": f"{STEP}s",
        "tests": [case],
    }
    (tmp_path / "same.yaml").write_text(yaml.safe_dump(test))
    done = promtool("test", "rules", str(tmp_path / "same.yaml"))

    assert {"RdmaSlowReceiver", "RdmaPortPaused", "RdmaRetriesExceeded", "RdmaOutOfSequence"} == {
        e.alert for e in found.episodes if e.fired is not None
    }
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.server("prometheus")
def test_pages_go_through_the_source_and_its_counters(recorded: Callable[[str], Path]) -> None:
    wrapping = lambda n: (4_294_900_000 + 20_000 * n) % 2**32  # noqa: E731 - out of sequence, far below the packets
    gn01 = {PAUSING: during(20, 60, 6e6), PACKETS: during(0, ROUNDS, 15e9)}
    gn02 = {PAUSING: during(0, 1, 0), PACKETS: during(0, ROUNDS, 15e9), SEQUENCE: wrapping}

    found = replay(recorded(pages({"gn01": gn01, "gn02": gn02})), load())

    fired = {(e.alert, e.severity, dict(e.labels)["node"]) for e in found.episodes if e.fired is not None}
    assert {("RdmaSlowReceiver", "info", "gn01"), ("RdmaSlowReceiver", "warning", "gn01")} == fired
    assert STEP == found.evaluation


@pytest.mark.server("prometheus")
def test_another_threshold_shows_what_it_would_have_done(recorded: Callable[[str], Path]) -> None:
    file = recorded(openmetrics(TROUBLE))

    page = {
        value: [
            e for e in replay(file, load().override({"pausing_critical": value})).episodes if e.severity == "critical"
        ]
        for value in ("0.1", "0.9")
    }
    assert {"0.1": 1, "0.9": 0} == {v: len([e for e in p if e.alert == "RdmaSlowReceiver"]) for v, p in page.items()}


def test_what_fires_goes_on_for_as_long_as_it_is_kept() -> None:
    rule = {"alert": "A", "labels": {"severity": "critical"}}
    steps = [float(n) for n in range(0, 200, 10)]

    held = [0.0, 10.0, 20.0, 50.0, 90.0, 100.0, 190.0]
    found = episodes(rule, [((), held)], steps, 20.0, 30.0)

    assert [(0.0, 20.0, 60.0 + 30.0), (90.0, None, 110.0), (190.0, None, None)] == [
        (e.since, e.fired, e.ended) for e in found
    ]


def test_an_alert_waits_its_time_and_starts_anew_after_a_gap() -> None:
    rule = {"alert": "A", "labels": {"severity": "critical"}}
    steps = [float(n) for n in range(0, 100, 10)]

    found = episodes(rule, [((), [0.0, 10.0, 30.0, 40.0, 50.0, 90.0])], steps, 20.0)

    assert [(0, None, 20), (30, 50, 60), (90, None, None)] == [(e.since, e.fired, e.ended) for e in found]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["rdma", "replay", *(str(w) for w in words)])


@pytest.mark.server("prometheus")
def test_the_command_prints_alert_labels_and_times(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    zipped = tmp_path / "recording.gz"
    zipped.write_bytes(gzip.compress(recorded(openmetrics(TROUBLE)).read_bytes()))

    result = run(zipped, "--threshold", "out_of_sequence_warning=0.5")

    assert 0 == result.exit_code, result.output
    (line,) = [x for x in result.stdout.splitlines() if "RdmaRetriesExceeded" in x and "gn02" in x]
    cells = [cell.strip() for cell in line.split("│")]
    assert ["warning", "2025-11-24T16:07:45Z", "2025-11-24T16:07:45Z"] == [cells[2], cells[4], cells[5]]
    assert "RdmaOutOfSequence" not in result.stdout
    assert "job_id=7@1" in result.stdout


def test_without_prometheus_the_error_says_how_to_get_it(
    recorded: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = recorded(openmetrics(TROUBLE, rounds=2))
    monkeypatch.setenv("PATH", "")

    result = run(file)

    assert 3 == result.exit_code
    assert "replay needs the program prometheus on PATH: install Prometheus" in result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no samples"),
        ("up 1\n", "line 1: a sample needs a time"),
        ("# page at=yesterday\nup 1\n", "line 1: a page begins like"),
        (f"# page at={T0}\nup 1\n# page\n", "line 3: a page begins like"),
        (f"# page at={T0}\nup 1\n", "is neither node_exporter's nor the node agent's"),
    ],
)
def test_what_is_no_recording_is_refused_in_a_sentence(
    recorded: Callable[[str], Path], tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(RulesError, match=words):
        load_recording(recorded(text), tmp_path)


def test_a_truncated_recording_is_refused(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(openmetrics(TROUBLE).encode())[:200])

    result = run(cut)

    assert 3 == result.exit_code
    assert "cannot be read" in result.output


def test_an_unknown_threshold_is_wrong_usage(recorded: Callable[[str], Path]) -> None:
    result = run(recorded(""), "--threshold", "paused_crit=1")

    assert 2 == result.exit_code
    assert "did you mean paused_critical?" in result.output
