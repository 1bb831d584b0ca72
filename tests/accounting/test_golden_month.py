"""A month of links, and the next one with what was learnt and ruled after the close: golden, and pencil is enough.

October has two machines of twelve cards in all: 12 x 24 x 31 = 8928 GPU-hours. All that happens is on the first:

* gn01, 00:00 to 06:00: run 18 holds four cards (24 GPU-hours). After the close it is told to have ended at 05:00 (20).
* gn01, 06:00 to 12:00: slurm-bridge's job 6001 has all eight cards (48), its pod six of them (36); 12 are left over.
* gn01, 12:00 to 14:00: run 20 has six cards, and a pod that nobody linked has four: two for two hours in dispute (4).
  After the close these are ruled to run 20.
* gn01, 16:00 to 20:00: run 21 has eight cards (32), and its PyTorchJob's two pods use four each.
* gn02, all month: a NodeSet's pod lends four cards (2976); run 19 inside it has two of them for ten hours (20).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from accounting.store.database import connect
from exporters.sources.kubernetes.claims import Root
from tests.accounting.both import Both
from tests.accounting.october import HOUR, SETTLED, Site
from tests.accounting.test_counted_once import NODESET, bridged, made_by


@pytest.fixture
def engine(empty_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield engine
    engine.dispose()


def october(engine: Engine) -> Both:
    both = Both(engine, nodes={n: Both.node(n, c) for n, c in (("gn01", 8), ("gn02", 4))}, slurm={"gn01": 8, "ws-0": 4})
    worker = Root("NodeSet", "worker", "uid-worker", {})
    both.pod("worker-0", 0, None, gpus=4, node="gn02", labels=NODESET, namespace="slurm", root=worker)
    both.row(18, 0, 6, tres="gres/gpu=4")
    both.row(19, 2, 12, tres="gres/gpu=2", node="ws-0")
    both.row(6001, 6, 12, tres="gres/gpu=8", State="CANCELLED by 64030", Account="bridge")
    both.pod("embed", 6, 12, gpus=6, labels=bridged(6001), namespace="vision")
    both.row(20, 12, 14, tres="gres/gpu=6")
    both.pod("loner", 12, 14, gpus=4)
    both.row(21, 16, 20, tres="gres/gpu=8")
    for n in range(2):
        bert = Root("PyTorchJob", "bert", "uid-bert", {})
        both.pod(f"bert-worker-{n}", 16, 20, gpus=4, labels=made_by(21), namespace="vision", root=bert)
    both.listen(SETTLED)
    return both


def test_two_months_of_links_corrections_and_a_ruling_read_as_expected(
    engine: Engine, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    both, site = october(engine), Site(engine, tmp_path)
    site.run("reconcile", "--period", "2026-10")
    site.run("close", "2026-10")
    closed = site.month("2026-10")
    dispute = site.run("disputes", "2026-10").split()[0]
    both.rows = []
    both.row(18, 0, 5, tres="gres/gpu=4")
    both.read_history(SETTLED + HOUR)
    site.now, site.price = SETTLED + HOUR, "3.00"
    site.run("reconcile", "--period", "2026-10")
    site.run("rule", dispute, "--to", "20", "--why", "it asked first", "--author", "ada")

    assert closed == site.month("2026-10")
    for name, month in (("october", "2026-10"), ("november", "2026-11")):
        lines, summary, _ = site.month(month)
        golden(f"links-{name}.csv", lines.decode())
        golden(f"links-{name}-summary.csv", summary.decode())
    assert "every invariant holds\n" == site.run("check")
