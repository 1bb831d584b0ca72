"""Wherever the sweep runs it gives the same bytes: in one process, in a pool, on a Dask cluster that loses a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from distributed import Client

from accounting.reconcile.rule import Rules
from accounting.reconcile.sweep import Batch, Columns, Sweep
from accounting.reconcile.sweep import chunk as chunks
from tests.accounting.dask_cluster import Cluster, running
from tests.bench.month import PERIOD, month
from tests.lab.daemons import wait_for


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with running() as started:
        yield started


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Columns:
    """A site of several chunks, one machine each."""
    monkeypatch.setattr(chunks, "ROWS", 1)
    return month(20)


def digest(batches: Iterable[Batch]) -> list[str]:
    """A hash of every column of every batch, and of what was not placed."""
    found = []
    for batch in batches:
        columns = b"".join(column.tobytes() for column in batch.columns.values())
        found.append(hashlib.sha256(columns + repr(batch.unplaced).encode()).hexdigest())
    return found


def texts(sweep: Sweep) -> tuple[list[str], list[str], list[str]]:
    return [*sweep.models], sweep.reasons.prepared.texts, sweep.reasons.decided.texts


def test_a_pool_of_processes_gives_the_same_bytes(site: Columns) -> None:
    one, pool = Sweep(site, Rules(), PERIOD), Sweep(site, Rules(), PERIOD, engine="pool", workers=2)

    assert digest(one) == digest(pool)
    assert texts(one) == texts(pool)
    assert texts(one)[2] != [""]


def test_a_dask_cluster_that_loses_a_worker_on_the_way_gives_the_same_bytes(site: Columns, cluster: Cluster) -> None:
    one, dask = Sweep(site, Rules(), PERIOD), Sweep(site, Rules(), PERIOD, engine="dask", scheduler=cluster.address)
    expected = digest(one)
    with Client(cluster.address) as client:
        client.wait_for_workers(2, timeout=30)
        batches = iter(dask)
        found = digest([next(batches)])
        wait_for(lambda: results_of(client, "one"), 30, "result on worker one")
        cluster.daemons["one"].process.kill()
        found += digest(batches)
        left = [worker["name"] for worker in client.scheduler_info()["workers"].values()]

    assert ["two"] == left
    assert expected == found
    assert texts(one) == texts(dask)


def results_of(client: Client, name: str) -> Any:
    """Keys of results that only this worker has: they must be made once more when it is lost."""
    by_address = {address: worker["name"] for address, worker in client.scheduler_info()["workers"].items()}
    return [keys for address, keys in client.has_what().items() if by_address.get(address) == name and keys]


def test_an_engine_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no engine 'two'; there are one, pool and dask"):
        list(Sweep(month(1), Rules(), PERIOD, engine="two"))  # type: ignore[arg-type]


def test_dask_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the address of a scheduler, such as tcp://host:8786"):
        list(Sweep(month(1), Rules(), PERIOD, engine="dask"))
