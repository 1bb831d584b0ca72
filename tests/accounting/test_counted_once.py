"""Every way in which a card is counted twice (or not at all), with records as the systems write them, through a ledger.

docs/wrong-answers.md has the table: which wrong answer each of these would be.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from accounting.intake.rejects import rejects
from accounting.store.database import connect
from exporters.sources.kubernetes.claims import Root
from tests.accounting.both import Both

NODESET = {"nodeset.slinky.slurm.net/pod-hostname": "ws-0", "slinky.slurm.net/cluster": "slinky"}
PYTORCH = Root("PyTorchJob", "bert", "uid-bert", {})


@pytest.fixture
def engine(empty_sqlite: Path, tmp_path: Path) -> Iterator[Engine]:
    """No database decides any of this: one is enough."""
    shutil.copy(empty_sqlite, tmp_path / "ledger.db")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield engine
    engine.dispose()


def bridged(number: int) -> dict[str, str]:
    return {"scheduler.slinky.slurm.net/slurm-jobid": str(number)}


def made_by(number: int, cluster: str = "lab") -> dict[str, str]:
    return {"meterbridge.io/slurm-job-id": str(number), "meterbridge.io/slurm-cluster": cluster}


def test_jobs_in_a_nodeset_pod_pay_and_the_pods_rest_is_reserved(engine: Engine) -> None:
    site = Both(engine, slurm={"ws-0": 8})
    site.pod("worker-0", 0, None, gpus=8, labels=NODESET, namespace="slurm", root=Root("NodeSet", "worker", "u", {}))
    site.row(18, 2, 12, tres="gres/gpu=4", node="ws-0")

    assert {"train-18": {"charged": 40.0}, "worker": {"reserved": 152.0}} == site.told()


def test_a_privileged_nodeset_pod_whose_limit_is_less_than_its_jobs_hold_bills_the_jobs(engine: Engine) -> None:
    """slurmd sees all cards of the host, whatever the pod's limit says."""
    site = Both(engine, slurm={"ws-0": 8})
    site.pod("worker-0", 0, None, gpus=1, labels=NODESET, namespace="slurm", root=Root("NodeSet", "worker", "u", {}))
    site.row(18, 2, 12, tres="gres/gpu=8", node="ws-0")

    assert {"train-18": {"charged": 80.0}, "worker": {"reserved": 14.0}, "-": {"idle": 98.0}} == site.told()


def test_a_nodeset_without_cards_of_its_own_leaves_them_to_its_jobs(engine: Engine) -> None:
    """Hybrid: slurmd has ``resources: {}``, and kubelet believes the cards free."""
    site = Both(engine, slurm={"ws-0": 8})
    site.pod("worker-0", 0, None, gpus=0, labels=NODESET, namespace="slurm")
    site.row(18, 2, 12, tres="gres/gpu=8", node="ws-0")

    assert {"train-18": {"charged": 80.0}, "-": {"idle": 112.0}} == site.told()


@pytest.mark.parametrize("comment", ['{"pods":["nlp/a"]}', "JS1:H4sIAJ"])
def test_a_bridged_job_is_charged_once_though_it_ends_as_cancelled(engine: Engine, comment: str) -> None:
    """Slurm gives it the whole node; and an epilog may have written over its AdminComment."""
    site = Both(engine)
    site.row(6001, 2, 12, tres="gres/gpu=8", State="CANCELLED by 64030", AdminComment=comment, Account="bridge")
    site.pod("a", 2, 12, gpus=6, labels=bridged(6001))

    told = site.told()

    assert {"a": {"charged": 60.0}, "train-6001": {"charged": 20.0}, "-": {"idle": 112.0}} == told


def test_a_bridged_job_whose_pods_lost_their_label_is_found_by_its_comment(engine: Engine) -> None:
    site = Both(engine)
    site.row(6001, 2, 12, tres="gres/gpu=8", State="CANCELLED by 64030", AdminComment='{"pods":["nlp/a"]}')
    site.pod("a", 2, 12, gpus=8)

    assert {"a": {"charged": 80.0}, "-": {"idle": 112.0}} == site.told()


def test_a_placeholder_job_without_a_key_is_disputed_where_it_does_not_fit_and_never_charged_twice(
    engine: Engine,
) -> None:
    """A pod scheduler that makes ordinary-looking jobs of root and writes no key: a person must rule."""
    site = Both(engine)
    site.row(7001, 2, 12, tres="gres/gpu=8", User="root", Account="root")
    site.pod("a", 2, 12, gpus=8)

    assert {"train-7001": {"disputed": 80.0}, "-": {"idle": 112.0}} == site.told()


def test_pods_that_a_job_made_are_paid_by_the_job(engine: Engine) -> None:
    site = Both(engine)
    site.row(18, 2, 12, tres="gres/gpu=8")
    site.pod("bert-worker-0", 3, 11, gpus=4, labels=made_by(18), root=PYTORCH)
    site.pod("bert-worker-1", 3, 11, gpus=4, labels=made_by(18), root=PYTORCH)

    assert {"train-18": {"charged": 80.0}, "-": {"idle": 112.0}} == site.told()


@pytest.mark.parametrize(
    ("labels", "hours"),
    [(made_by(19), (3, 11)), (made_by(18, "other"), (3, 11)), (made_by(18), (3, 14)), (made_by(18), (13, 14))],
)
def test_a_key_that_anybody_can_write_is_verified(
    engine: Engine, labels: dict[str, str], hours: tuple[int, int]
) -> None:
    """Another job's number, another cluster's, another time's: nobody pays for the pod until somebody rules."""
    site = Both(engine)
    site.row(18, 2, 12, tres="gres/gpu=4")
    site.pod("bert-worker-0", *hours, gpus=4, labels=labels, root=PYTORCH)
    told = site.told()

    assert {"charged": 40.0} == told["train-18"]
    assert {"disputed": 4.0 * (hours[1] - hours[0])} == told["bert"]


def test_a_stand_in_on_a_virtual_node_holds_nothing(engine: Engine) -> None:
    virtual = Both.node("vk", 0, {"type": "virtual-kubelet"})
    site = Both(engine, nodes={"gn01": Both.node("gn01"), "vk": virtual})
    site.row(18, 2, 12, tres="gres/gpu=8", User="wlm")
    site.pod("cow-job", 2, 12, gpus=8, node="vk")

    assert {"train-18": {"charged": 80.0}, "-": {"idle": 112.0}} == site.told()


def test_a_pod_in_a_job_in_a_pod_is_counted_once(engine: Engine) -> None:
    site = Both(engine, slurm={"ws-0": 8})
    site.pod("worker-0", 0, None, gpus=8, labels=NODESET, namespace="slurm", root=Root("NodeSet", "worker", "u", {}))
    site.row(18, 2, 12, tres="gres/gpu=8", node="ws-0")
    site.pod("bert-worker-0", 3, 11, gpus=8, labels=made_by(18), root=PYTORCH)

    assert {"train-18": {"charged": 80.0}, "worker": {"reserved": 112.0}} == site.told()


def test_every_run_of_a_requeued_number_is_charged_for_its_own_time(engine: Engine) -> None:
    """Requeued, then requeued by preemption, then done; and the number is used again in the evening."""
    site = Both(engine)
    site.row(18, 1, 3, tres="gres/gpu=8", State="REQUEUED")
    site.row(18, 4, 6, tres="gres/gpu=8", State="PREEMPTED", submit=3)
    site.row(18, 7, 10, tres="gres/gpu=8", submit=6)
    site.row(18, 20, 21, tres="gres/gpu=2", Account="nlp", JobName="another")

    assert {"train-18": {"charged": 56.0}, "another": {"charged": 2.0}, "-": {"idle": 134.0}} == site.told()


def test_a_resized_job_is_charged_for_each_size_once(engine: Engine) -> None:
    """22.05 writes the second row with the first one's start."""
    site = Both(engine)
    site.row(18, 2, 6, tres="gres/gpu=8", State="RESIZING")
    site.row(18, 2, 12, tres="gres/gpu=2", submit=6)

    assert {"train-18": {"charged": 44.0}, "-": {"idle": 148.0}} == site.told()


def test_suspended_time_is_held_time(engine: Engine) -> None:
    site = Both(engine)
    site.row(18, 2, 12, tres="gres/gpu=8", State="SUSPENDED")

    assert {"charged": 80.0} == site.told()["train-18"]


def test_slices_are_parts_of_a_card_and_seven_of_them_are_one(engine: Engine) -> None:
    sliced = Both.node("gn01", **{"nvidia.com/gpu": "7", "nvidia.com/mig-1g.10gb": "7"})
    site = Both(engine, nodes={"gn01": sliced}, slurm={})
    for n in range(7):
        site.pod(f"p{n}", 0, 10, gpus=1, resource="nvidia.com/mig-1g.10gb", root=Root("Job", "sweep", "u", {}))

    told = site.told()

    assert 10.0 >= told["sweep"]["charged"] > 9.9
    assert 192.0 == sum(hours for words in told.values() for hours in words.values())


def test_replicas_of_a_time_sliced_card_are_parts_of_it(engine: Engine) -> None:
    shared = Both.node("gn01", labels={"nvidia.com/gpu.count": "8"}, **{"nvidia.com/gpu.shared": "32"})
    site = Both(engine, nodes={"gn01": shared}, slurm={})
    for n in range(4):
        site.pod(f"p{n}", 0, 10, gpus=1, resource="nvidia.com/gpu.shared", root=Root("Deployment", "chat", "u", {}))

    assert {"chat": {"charged": 10.0}, "-": {"idle": 182.0}} == site.told()


def test_parents_that_repeat_their_pods_request_add_nothing(engine: Engine) -> None:
    """Two Jobs of one JobSet, two pods each: four pods' cards, on one workload."""
    site = Both(engine)
    root = Root("JobSet", "sweep", "uid-set", {})
    for job in "ab":
        for n in range(2):
            owner = ("Job", f"sweep-{job}", f"uid-{job}")
            site.pod(f"sweep-{job}-{n}", 0, 6, gpus=2, owner=owner, root=root)

    assert {"sweep": {"charged": 48.0}, "-": {"idle": 144.0}} == site.told()


@pytest.mark.parametrize(
    ("tres", "hours"),
    [
        ("gres/gpu=8", 8.0),
        ("gres/gpu:h100=8,gres/gpu=8", 8.0),
        ("gres/gpu=8,gres/gpu:h100=8", 8.0),
        ("gres/gpu:a100=2,gres/gpu:h100=4", 6.0),
        ("gres/gpu:nvidia_h100_80gb_hbm3=8", 8.0),
    ],
)
def test_typed_and_untyped_counts_are_the_same_cards_and_types_add_up(engine: Engine, tres: str, hours: float) -> None:
    site = Both(engine)
    site.row(18, 0, 1, tres=tres)

    assert {"charged": hours} == site.told()["train-18"]


def test_a_slurm_job_id_in_a_containers_environment_links_nothing(engine: Engine) -> None:
    """kjob sets it though there is no such Slurm job; here another job happens to have that number."""
    site = Both(engine)
    site.row(1, 0, 10, tres="gres/gpu=4")
    env = {"name": "SLURM_JOB_ID", "value": "1"}
    limits = {"limits": {"nvidia.com/gpu": "4"}}
    spec = {"containers": [{"name": "main", "env": [env], "resources": limits}], "nodeName": "gn01"}
    site.pod("kjob", 0, 10, gpus=4, spec=spec)

    assert {"train-1": {"charged": 40.0}, "kjob": {"charged": 40.0}, "-": {"idle": 112.0}} == site.told()


# what others answer wrongly besides


def test_a_finished_pod_that_nobody_deleted_is_charged_to_its_end_and_not_beyond(engine: Engine) -> None:
    site = Both(engine)
    site.pod("done", 1, 1.25, gpus=8)
    site.pod("failed", 2, 2.5, gpus=8, phase="Failed")

    assert {"done": {"charged": 2.0}, "failed": {"charged": 4.0}, "-": {"idle": 186.0}} == site.told()


def test_a_pod_is_charged_from_its_start_whenever_it_was_looked_at(engine: Engine) -> None:
    """It began one second into an interval, or one second before its end."""
    site = Both(engine)
    site.pod("early", 1 / 3600, None, gpus=1)
    site.pod("late", 24 - 1 / 3600, None, gpus=1)
    told = site.told()

    assert (round(24 - 1 / 3600, 6), round(1 / 3600, 6)) == (told["early"]["charged"], told["late"]["charged"])


def test_a_node_without_any_pod_all_day_is_idle_and_not_absent(engine: Engine) -> None:
    assert {"-": {"idle": 192.0}} == Both(engine).told()


def test_a_job_without_a_single_sample_is_charged_all_the_same(engine: Engine) -> None:
    """Allocation pays; telemetry only decorates. A job of a few seconds has no sample at all."""
    site = Both(engine)
    site.row(18, 0, 2 / 3600, tres="gres/gpu=8")

    assert {"charged": round(16 / 3600, 6)} == site.told()["train-18"]


def test_reading_and_reconciling_again_adds_nothing(engine: Engine) -> None:
    site = Both(engine)
    site.row(18, 2, 12, tres="gres/gpu=4")
    site.pod("a", 2, 6, gpus=4)
    first = site.told()

    assert first == site.told()


def test_one_bad_row_does_not_take_its_batch_with_it(engine: Engine) -> None:
    site = Both(engine)
    site.row(18, 2, 12, tres="gres/gpu=4")
    site.row(19, 12, 2, tres="gres/gpu=4")
    site.row(20, 14, 15, tres="gres/gpu=4")
    told = site.told()

    assert {"train-18": {"charged": 40.0}, "train-20": {"charged": 4.0}, "-": {"idle": 148.0}} == told
    assert ["the job ends (1790820000) before it starts (1790856000)"] == [r.reason for r in rejects(engine)]


def test_a_record_that_came_late_with_an_early_end_is_charged(engine: Engine) -> None:
    """A cursor that is the last end seen would never ask for it."""
    site = Both(engine)
    site.row(20, 10, 20, tres="gres/gpu=4")
    site.told()
    site.row(18, 2, 3, tres="gres/gpu=4")

    assert {"charged": 4.0} == site.told()["train-18"]
