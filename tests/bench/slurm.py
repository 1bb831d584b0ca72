"""What Slurm's sources cost: one poll of 20,000 jobs of a real slurmctld, 200,000 rows out of a real slurmdbd database.
Both are goals of a site's size, in seconds of processor time, and not ratios.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pymysql

from exporters.model import Record
from exporters.sources.slurm.history.slurmdbd import Slurmdbd
from exporters.sources.slurm.history.windows import windows
from exporters.sources.slurm.live.slurmctld import Slurmctld
from exporters.sources.slurm.rest.rest_http import RestClient
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd
from tests.bench.measure import Figure, figure
from tests.lab.slurm import SlurmLab
from tests.lab.slurm_config import NodeGroup
from tests.lab.slurm_rest import SlurmRest

ARRAYS, TASKS = 2, 10_000
ROWS = 200_000
FIRST, EVERY, LASTS = 1_700_000_000, 13, 3_600
"""The first row is submitted then, one follows every 13 s and runs an hour: a month."""

RUNS = 3
_TICK = os.sysconf("SC_CLK_TCK")


def figures() -> list[Figure]:
    """The poll, by form, and the database's rows. Empty where this machine cannot run the lab (no root)."""
    if os.geteuid() != 0:
        return []
    root = Path(tempfile.mkdtemp(prefix="slurm-bench-"))
    with (
        SlurmLab(root, groups=(NodeGroup(1, {"h100": 8}),), extra=("MaxJobCount=50000",)) as lab,
        SlurmRest(lab) as rest,
    ):
        lab.seed({"vision": ["alice"]})
        return [*_history(lab), *_polls(lab, rest)]


def _polls(lab: SlurmLab, rest: SlurmRest) -> list[Figure]:
    """Each task is a record of its own once it was changed alone: an array as a whole would be one record."""
    for _ in range(ARRAYS):
        options = ("--gres=gpu:1", f"--array=0-{TASKS - 1}", "--begin=now+1day")
        job = lab.submit("sleep 1", *options, user="alice", account="vision")
        lab.run("scontrol", "update", f"jobid={job}_[1-{TASKS - 1}]", "nice=1")
    ways: dict[str, Slurmctld | Slurmrestd] = {
        "slurm_queue_20k_cpu_s": Slurmctld(lab.cluster, environment=lab.environment, timeout=300.0, form="json"),
        "slurm_queue_20k_rest_cpu_s": Slurmrestd(lab.cluster, RestClient(rest.socket, timeout=300.0)),
    }
    return [
        figure(name, [_cpu(lambda source=source: _poll(source)) for _ in range(RUNS)], "s CPU", 2.0, "lower")
        for name, source in ways.items()
    ]


def _poll(source: Slurmctld | Slurmrestd) -> None:
    jobs = len(source.poll(time.time()).jobs)
    if jobs != ARRAYS * TASKS:
        raise RuntimeError(f"the queue has {jobs} jobs, not {ARRAYS * TASKS}")


def _history(lab: SlurmLab) -> list[Figure]:
    """CPU of the database server and of this process together: every row of a month as text, and as records."""
    job = lab.submit("true", "--gres=gpu:2", user="alice", account="vision", name="row")
    lab.finish(job)
    d = lab.database
    _multiply(lab, job)
    source = Slurmdbd(lab.cluster, f"mariadb+pymysql://{d.user}:{d.password}@127.0.0.1:{d.port}/{d.database}")
    end = FIRST + EVERY * (ROWS + 1)
    days = [*windows(FIRST, end, 0, source.step)]
    pid = int((d.root / "pid").read_text())

    def texts() -> int:
        return sum(len(source.fetch(a, b, new=a > FIRST).lines) for a, b in days)

    def records() -> int:
        return sum(len(item.claims) for item in source.records(FIRST, end) if isinstance(item, Record))

    figures = []
    for name, read, goal in (("rows", texts, 1.0), ("records", records, 3.0)):
        spent = []
        for _ in range(RUNS):
            begun, server = time.process_time(), _server_cpu(pid)
            told = read()
            spent.append(time.process_time() - begun + _server_cpu(pid) - server)
            if told != ROWS:
                raise RuntimeError(f"the database told {told} {name}, not {ROWS}")
        figures.append(figure(f"slurmdbd_200k_{name}_cpu_s", spent, "s CPU", goal, "lower"))
    source.close()
    return figures


def _multiply(lab: SlurmLab, job: str) -> None:
    """Two hundred thousand rows like one real one, each with its own id, times and name, on a thousand nodes."""
    d = lab.database
    table = f"{lab.cluster}_job_table"
    start = f"{FIRST}+seq*{EVERY}"
    cards = "CONCAT('\\\\1=', 1 + seq % 8)"
    own = {
        "job_db_inx": "1000000+seq", "id_job": "1000000+seq", "time_submit": start, "time_eligible": start,
        "time_start": start, "time_end": f"{start}+{LASTS}", "job_name": "CONCAT('train-', seq)",
        "nodelist": "CONCAT('gn', seq % 1000)", "tres_alloc": f"REGEXP_REPLACE(tres_alloc, '(100[12])=2', {cards})",
    }  # fmt: skip
    with pymysql.connect(
        host="127.0.0.1", port=d.port, user=d.user, password=d.password, database=d.database, autocommit=True
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")
        columns = [column[0] for column in cursor.description]
        names, values = ", ".join(f"`{c}`" for c in columns), ", ".join(own.get(c, f"`{c}`") for c in columns)
        cursor.execute(
            f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}, seq_1_to_{ROWS} WHERE id_job = {job}"
        )


def _cpu(run: Callable[[], object]) -> float:
    begun = time.process_time()
    run()
    return time.process_time() - begun


def _server_cpu(pid: int) -> float:
    spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(spent[11]) + int(spent[12])) / _TICK
