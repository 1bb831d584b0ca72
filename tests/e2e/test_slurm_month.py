"""The main job on a real Slurm with Kubernetes over its nodes: live series, the ledger and its statement, and what
sreport says of the same jobs.
"""

from __future__ import annotations

import csv
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from accounting.site import book
from exporters import build
from exporters.config import Config, parse
from exporters.http.server import Server, create_app
from exporters.poll.registry import Collector
from meterbridge import main
from tests.e2e.kube_over import NAMESPACE, KubeOver
from tests.lab.daemons import wait_for
from tests.lab.kube_fake import KubeFake
from tests.lab.prometheus import Prometheus, check_metrics
from tests.lab.slurm import SlurmLab

pytestmark = pytest.mark.server("slurm", "mariadb", "prometheus")

SETTINGS = """
site: lab
slurm:
  - cluster: lab
    environment:
{environment}
    live: {{interval: 1s}}
    history: {{overlap: 1h, since: {since}}}
kubernetes:
  - {{cluster: kube, kubeconfig: "{kubeconfig}", interval: 1s, slurm_clusters: {{slinky: lab, "": lab}}}}
projects:
  - {{project: vision-lab, accounts: [vision]}}
  - {{project: language, accounts: [llm]}}
  - {{project: pods-project, namespaces: [pods]}}
ledger: {{url: "sqlite:///{ledger}", gap: 60s}}
rates: {{currency: CHF, gpu_hour: {{h100: 2.50}}}}
join_interval: 1s
web: {{listen: "127.0.0.1:0"}}
"""


@dataclass
class Month:
    """A lab after its jobs: the settings' file, what was seen live, and the lab itself."""

    lab: SlurmLab
    start: int
    settings: Path
    config: Config
    period: str
    page: str = ""
    cards: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    given: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    queried: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def month(prometheus: Prometheus) -> Iterator[Month]:
    folder = Path(tempfile.mkdtemp(prefix="month-"))
    folder.chmod(0o755)
    with SlurmLab(folder / "slurm", nodes=4) as lab, KubeFake(dra=False) as kube:
        lab.seed({"vision": ["alice"], "llm": ["bob"], "resized": ["carol"], "bridge": ["dave"]})
        over = KubeOver(kube, folder)
        now = datetime.now(UTC)
        text = SETTINGS.format(
            environment="\n".join(f'      {k}: "{v}"' for k, v in lab.environment.items()),
            since=(now - timedelta(days=1)).date(),
            ledger=folder / "ledger.db",
            kubeconfig=over.kubeconfig,
        )
        settings = folder / "meterbridge.yaml"
        settings.write_text(text)
        config = parse(text)
        found = Month(lab, int(now.timestamp()), settings, config, f"{now:%Y-%m}")
        collector = build.collector(config, book.recorder(config))
        server = Server(create_app(collector.page, collector.ready, collector.statuses), config.web.listen)
        collector.start()
        server.start()
        try:
            _play(found, over, collector, prometheus, server.url)
            yield found
        finally:
            prometheus.forget("meterbridge")
            server.stop()
            collector.stop()
    shutil.rmtree(folder)


def _play(month: Month, over: KubeOver, collector: Collector, prometheus: Prometheus, url: str) -> None:
    """Run jobs of many kinds, look at the page at the height of it, and wait until accounting has all."""
    lab = month.lab
    alice, bob = {"user": "alice", "account": "vision"}, {"user": "bob", "account": "llm"}
    restarted = '[ -n "$SLURM_RESTART_COUNT" ] && exec sleep 1; sleep 600'
    jobs = {
        "plain": lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:2", **alice),
        "wide": lab.submit("sleep 600", "-w", "gn01,gn02", "-N2", "--gres=gpu:3", **bob),
        "suspended": lab.submit("sleep 600", "-w", "gn02", "--gres=gpu:1", **alice),
        "requeued": lab.submit(restarted, "-w", "gn02", "--gres=gpu:2", **bob),
        "cpu": lab.submit("sleep 1", **bob),
        "resized": lab.submit("sleep 600", "-w", "gn02,gn03", "-N2", "--gres=gpu:1", user="carol", account="resized"),
        "never": lab.submit("sleep 1", "--gres=gpu:8", "--hold", **alice),
        "array": lab.submit("sleep 2", "-w", "gn03", "--gres=gpu:1", "--array=0-3%2", **bob),
        "bridged": lab.submit("sleep 600", "-w", "gn04", "--exclusive", "--gres=gpu:8", user="dave", account="bridge"),
        "het": lab.submit(
            "sleep 600", "--account=llm", "-w", "gn01", "--gres=gpu:1", ":", "-w", "gn03", "--gres=gpu:2", user="bob"
        ),
    }
    lab.run("scontrol", "update", f"jobid={jobs['bridged']}", 'AdminComment={"pods":["pods/embed"]}')
    for kind in ("plain", "wide", "suspended", "requeued", "resized", "bridged", "het"):
        lab.wait_state(jobs[kind], "RUNNING")
    over.inside(jobs["plain"])
    over.bridged(jobs["bridged"])
    wait_for(lambda: all(_cards(_page(collector), jobs[k]) for k in ("plain", "wide")), 30, "both jobs on the page")
    month.page = _page(collector)
    month.cards = {kind: _cards(month.page, job) for kind, job in jobs.items()}
    month.given = {kind: _given(lab, jobs[kind]) for kind in ("plain", "wide", "suspended", "resized")}
    prometheus.scrape("meterbridge", url + "/metrics")
    month.queried = [
        labels for labels, _ in prometheus.wait(f'meterbridge_job_gpus{{job_id=~"{jobs["plain"]}@.+"}} == 2')
    ]
    lab.run("scontrol", "suspend", jobs["suspended"])
    lab.run("scontrol", "update", f"jobid={jobs['resized']}", "NumNodes=1")
    time.sleep(1.1)  # whole seconds: each part of these runs must have lasted
    lab.run("scontrol", "resume", jobs["suspended"])
    lab.run("scontrol", "requeue", jobs["requeued"])
    time.sleep(1.1)
    wait_for(lambda: all(f'name="{pod}"' in _page(collector) for pod in ("embed", "bert")), 30, "the pods on the page")
    over.finish()
    time.sleep(1.1)
    for kind in ("plain", "wide", "suspended", "resized", "never", "requeued", "bridged", "het"):
        lab.run("scancel", jobs[kind])
    lab.finish(*jobs.values(), timeout=90)


def _page(collector: Collector) -> str:
    page = collector.page()
    return page.body().decode() if page else ""


def _cards(page: str, job: str) -> set[tuple[str, str]]:
    """The cards of a job on the page: (node, index)."""
    lines = [x for x in page.splitlines() if x.startswith("meterbridge_job_card_info") and f'job_id="{job}@' in x]
    return {(x.split('node="')[1].split('"')[0], x.split('gpu="')[1].split('"')[0]) for x in lines}


def _given(lab: SlurmLab, job: str) -> set[tuple[str, str]]:
    """The cards of a running job as scontrol prints them: (node, index)."""
    found = set()
    for nodes, indices in re.findall(
        r"Nodes=(\S+) .*GRES=\S*\(IDX:([\d,-]+)\)", lab.run("scontrol", "-d", "show", "job", job)
    ):
        for node in lab.run("scontrol", "show", "hostnames", nodes).split():
            for part in indices.split(","):
                first, _, last = part.partition("-")
                found |= {(node, str(n)) for n in range(int(first), int(last or first) + 1)}
    return found


def sreport(month: Month) -> dict[str, int]:
    """GPU-seconds per account as Slurm's own report has them, after a forced rollup."""
    start = month.start - month.start % 3600
    end = int(time.time()) // 3600 * 3600 + 3600
    month.lab.rollup(start, end)
    stamps = [
        f"{name}={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(t))}" for name, t in (("Start", start), ("End", end))
    ]
    printed = month.lab.run(
        *("sreport", "-n", "-P", "-t", "seconds", "cluster", "AccountUtilizationByUser", "--tres=gres/gpu"),
        *("Format=Accounts,Login,Used", *stamps),
        environment={"TZ": "UTC"},
    )
    sums: dict[str, int] = defaultdict(int)
    for line in printed.splitlines():
        account, login, used = line.split("|")
        if login:
            sums[account] += int(used)
    return dict(sums)


def meterbridge(month: Month, *words: str) -> str:
    """Run the command as an operator would; its output."""
    result = CliRunner().invoke(main, [words[0], "--config", str(month.settings), *words[1:]])
    assert 0 == result.exit_code, result.output
    return result.output


@pytest.fixture(scope="module")
def statement(month: Month, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the month's statement, after an ingest that found everything."""
    out = tmp_path_factory.mktemp("statement")
    meterbridge(month, "ingest")
    meterbridge(month, "reconcile", "--period", month.period)
    meterbridge(month, "statement", month.period, "--out", str(out))
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def charged_seconds(folder: Path, period: str) -> dict[str, Decimal]:
    """Charged GPU-seconds per account, from the printed hours (exact where a run is a few cards and seconds)."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows(folder / f"chargeback-{period}.csv"):
        if row["disposition"] == "charged":
            sums[row["account_or_namespace"]] += Decimal(row["charged_gpu_hours"]) * 3600
    return sums


def test_the_live_page_names_the_very_cards_that_slurm_gave(month: Month) -> None:
    assert [2, 6, 1, 2] == [len(cards) for cards in month.given.values()]
    assert month.given == {kind: month.cards[kind] for kind in month.given}


def test_prometheus_scrapes_the_exporter_and_a_query_returns_the_job(month: Month) -> None:
    assert ["slurm"] == [labels["scheduler"] for labels in month.queried]


def test_the_fleet_on_the_page_adds_up_to_its_cards(month: Month) -> None:
    lines = [x for x in month.page.splitlines() if x.startswith("meterbridge_fleet_gpus")]

    assert 32.0 == sum(float(x.rsplit(" ", 1)[1]) for x in lines)


def test_promtool_has_nothing_to_say_about_the_live_page(month: Month) -> None:
    assert [] == check_metrics(month.page.encode())


def test_gpu_seconds_per_account_equal_sreport_exactly(month: Month, statement: Path) -> None:
    ours = {account: round(seconds) for account, seconds in charged_seconds(statement, month.period).items()}
    theirs = sreport(month)

    assert {k: theirs[k] for k in ("vision", "llm")} == {k: ours[k] for k in ("vision", "llm")}


def test_a_bridged_job_and_its_pod_are_what_sreport_has_for_the_job(month: Month, statement: Path) -> None:
    ours = charged_seconds(statement, month.period)
    lines = [r for r in rows(statement / f"chargeback-{month.period}.csv") if r["account_or_namespace"] == "bridge"]

    assert ours[NAMESPACE] > 0
    assert sreport(month)["bridge"] == round(ours["bridge"] + ours[NAMESPACE])
    assert {("charged", "pods-project")} == {(r["disposition"], r["project"]) for r in lines}


def test_pods_inside_a_job_and_the_pod_that_lends_are_shown_and_add_nothing(month: Month, statement: Path) -> None:
    lines = rows(statement / f"chargeback-{month.period}.csv")
    bert = [r for r in lines if r["job_name"] == "bert"]
    lender = {r["disposition"] for r in lines if r["job_name"] == "slurmd"}

    assert {("", "0.000000")} == {(r["disposition"], r["charged_gpu_hours"]) for r in bert}
    assert {"reserved"} == lender - {"unknown"}
    assert [] == [r for r in lines if r["disposition"] == "disputed"]


def test_a_resized_job_is_counted_once_where_an_old_sreport_counts_it_twice(month: Month, statement: Path) -> None:
    printed = month.lab.run("sacct", "-X", "-D", "-n", "-P", "-A", "resized", "-o", "Submit,Start,End,AllocTRES",
                            environment={"SLURM_TIME_FORMAT": "%s"})  # fmt: skip
    parts = [line.split("|") for line in printed.splitlines()]
    cards = [int(tres.split("gres/gpu=")[1].split(",")[0]) for *_, tres in parts]
    once = sum(
        n * (int(end) - max(int(submit), int(start))) for n, (submit, start, end, _) in zip(cards, parts, strict=True)
    )
    as_printed = sum(n * (int(end) - int(start)) for n, (_, start, end, _) in zip(cards, parts, strict=True))

    assert 2 == len(parts)
    assert once == round(charged_seconds(statement, month.period)["resized"])
    assert as_printed == sreport(month)["resized"]
    assert (as_printed > once) == (month.lab.release < (24, 0))


def test_the_statement_adds_up_to_the_fleets_capacity_to_the_second(month: Month, statement: Path) -> None:
    *parts, capacity = rows(statement / f"chargeback-{month.period}-summary.csv")

    assert "capacity" == capacity["disposition"]
    assert float(capacity["gpu_seconds"]) == sum(float(r["gpu_seconds"]) for r in parts)


def test_everything_again_changes_no_byte(month: Month, statement: Path, tmp_path: Path) -> None:
    time.sleep(1)
    meterbridge(month, "ingest")
    meterbridge(month, "statement", month.period, "--out", str(tmp_path))

    for name in (f"chargeback-{month.period}.csv", f"chargeback-{month.period}-summary.csv"):
        assert (statement / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_line_is_explained_down_to_the_row_that_sacct_printed(month: Month, statement: Path) -> None:
    line = next(r for r in rows(statement / f"chargeback-{month.period}.csv") if r["user"] == "alice")

    text = meterbridge(month, "explain", line["line_id"], "--evidence")

    assert line["job_id"].split("@")[0] in text
    assert "gres/gpu=2" in text or "gres/gpu=8" in text


def test_check_finds_every_invariant_held(month: Month, statement: Path) -> None:
    assert "every invariant holds" in meterbridge(month, "check")
