"""pyslurm as a source. No release of Debian has a Slurm that it is built for, so its place is taken by a stand-in with
its names and shapes (25.11): what is tested is the refusal and the mapping, not pyslurm.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from exporters.sources.base import SourceError
from exporters.sources.slurm.live.pyslurm import PySlurm
from tests.lab.fake_slurm import script


class StandInError(Exception):
    """In the place of pyslurm.PyslurmError."""


def tres(**counts: int) -> SimpleNamespace:
    return SimpleNamespace(gres={name.replace("_", ":"): SimpleNamespace(count=n) for name, n in counts.items()})


def job(number: int, state: str = "RUNNING", layout: dict[str, Any] | None = None, **more: Any) -> SimpleNamespace:
    values = {
        "id": number, "name": "a", "user_name": "alice", "user_id": 7, "account": "vision", "partition": "p",
        "qos": "normal", "state": state, "submit_time": 10, "start_time": 20 if layout else None, "resize_time": None,
        "allocated_nodes": ",".join(layout or ()), "num_nodes": len(layout or ()) or 1, "array_id": None,
        "array_task_id": None, "array_tasks_waiting": None, "heterogeneous_id": 0, "heterogeneous_offset": 0,
        "admin_comment": None, "allocated_tres": None, "requested_tres": None,
    }  # fmt: skip
    return SimpleNamespace(get_resource_layout_per_node=lambda: layout or {}, **(values | more))


def node(name: str, **more: Any) -> SimpleNamespace:
    values = {
        "name": name, "state": "IDLE+DRAIN", "configured_gres": {"gpu:h100": 8}, "hostname": "n1", "reason": "bad fan",
        "reason_user": "root", "reason_time": 5, "comment": None,
    }  # fmt: skip
    return SimpleNamespace(**(values | more))


def stand_in(jobs: list[Any], nodes: list[Any], version: str = "22.5.1") -> SimpleNamespace:
    return SimpleNamespace(
        __version__=version,
        PyslurmError=StandInError,
        Jobs=SimpleNamespace(load=lambda: {item.id: item for item in jobs}),
        Nodes=SimpleNamespace(load=lambda: {item.name: item for item in nodes}),
    )


@pytest.fixture
def scontrol(tmp_path: Path) -> tuple[str, ...]:
    return (script(tmp_path / "scontrol", "echo slurm-wlm 22.05.8"),)


def test_another_release_is_refused_and_both_are_named(scontrol: tuple[str, ...]) -> None:
    source = PySlurm("c", scontrol, library=stand_in([], [node("gn01")], "25.11.2"))

    with pytest.raises(SourceError, match=r"pyslurm 25\.11\.2 is built for Slurm 25\.11, .* runs 22\.05.*via"):
        source.poll(1.0)


def test_a_release_with_sluids_is_refused_unless_runs_are_named_without(tmp_path: Path) -> None:
    scontrol = (script(tmp_path / "scontrol", "echo slurm 26.05.1"),)
    library = stand_in([], [node("gn01")], "26.05.0")

    with pytest.raises(SourceError, match=r"26\.05 names runs by SLUID, which pyslurm does not tell.*identity: submit"):
        PySlurm("c", scontrol, library=library).poll(1.0)
    assert 1 == len(PySlurm("c", scontrol, library=library, identity="submit").poll(1.0).nodes)


def test_the_refusal_ends_when_the_site_is_upgraded(tmp_path: Path, scontrol: tuple[str, ...]) -> None:
    source = PySlurm("c", scontrol, library=stand_in([], [node("gn01")], "25.11.2"))
    with pytest.raises(SourceError, match="misread"):
        source.poll(1.0)
    script(tmp_path / "scontrol", "echo slurm 25.11.0")

    assert 1 == len(source.poll(2.0).nodes)


def test_without_pyslurm_it_says_what_to_do(scontrol: tuple[str, ...]) -> None:
    with pytest.raises(SourceError, match=r"pyslurm cannot be loaded: No module named 'pyslurm'.*slurm\.live\.via"):
        PySlurm("c", scontrol).poll(1.0)


def test_jobs_and_nodes_become_the_nouns_of_the_commands(scontrol: tuple[str, ...]) -> None:
    cards = {"gpu:h100": {"count": 2, "indexes": "2-3"}}
    jobs = [
        job(1, layout={"gn01": {"gres": cards}, "gn02": {"gres": cards}}, allocated_tres=tres(gpu=4, gpu_h100=4)),
        job(2, state="PENDING", array_id=2, array_tasks_waiting="1-3", requested_tres=tres(gpu=2)),
        job(3, layout={"gn02": {"gres": {}}}, heterogeneous_id=3, heterogeneous_offset=1),
        job(4, state="PENDING", submit_time=None),
    ]
    snapshot = PySlurm("c", scontrol, library=stand_in(jobs, [node("gn01")])).poll(30.0)

    assert [("gn01", 2000, (2, 3), "h100"), ("gn02", 2000, (2, 3), "h100")] == [
        (claim.node.name, claim.milligpu, claim.indices, claim.model) for claim in snapshot.claims
    ]
    assert ["1", "2_[1-3]", "3+1"] == [item.display_id for item in snapshot.jobs]
    assert "1@10" == snapshot.jobs[0].key.id
    assert [6000] == [demand.milligpu for demand in snapshot.demands]
    assert ["job 4: it has no submit time"] == [reject.reason for reject in snapshot.rejects]
    [told] = snapshot.nodes
    assert (8000, False, "IDLE+DRAIN: bad fan [root@5]", ("n1",)) == (
        told.milligpu, told.up, told.reason, told.hostnames,
    )  # fmt: skip


def test_its_own_errors_are_told(scontrol: tuple[str, ...]) -> None:
    library = stand_in([], [])

    def away() -> None:
        raise StandInError("Unable to contact slurm controller")

    library.Jobs.load = away

    with pytest.raises(SourceError, match="pyslurm cannot read slurmctld: Unable to contact slurm controller"):
        PySlurm("c", scontrol, library=library).poll(1.0)
