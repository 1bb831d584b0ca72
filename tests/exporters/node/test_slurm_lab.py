"""Our Prolog and Epilog as a real slurmd runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import exporters.node.slurm
from exporters.node.files import read_text
from exporters.node.spool import parse, read_spool
from tests.lab.daemons import wait_for
from tests.lab.slurm import SlurmLab

SCRIPTS = Path(exporters.node.slurm.__path__[0])


@pytest.fixture
def spool(slurm_lab: SlurmLab) -> Iterator[Path]:
    """The shared cluster runs our scripts for as long as the test does. Slurm gives a Prolog no environment of ours."""
    folder = slurm_lab.root / "spool"
    lines = []
    for kind in ("Prolog", "Epilog"):
        wrapper = slurm_lab.root / f"{kind.lower()}.sh"
        wrapper.write_text(f"#!/bin/sh\nMETERBRIDGE_SPOOL={folder} exec {SCRIPTS}/{kind.lower()}.sh\n")
        wrapper.chmod(0o755)
        lines.append(f"{kind}={wrapper}\n")
    conf = slurm_lab.layout.conf
    before = conf.read_text()
    conf.write_text(before + "".join(lines))
    slurm_lab.run("scontrol", "reconfigure")
    yield folder
    conf.write_text(before)
    slurm_lab.run("scontrol", "reconfigure")


def cards(lab: SlurmLab, job: str) -> str:
    """The cards that slurmctld says the job has, by index."""
    printed = lab.run("scontrol", "show", "job", "-d", job)
    return printed.partition("(IDX:")[2].partition(")")[0]


def held(spool: Path) -> set[tuple[str, str]]:
    found, aside = read_spool(str(spool), read_text("/proc/sys/kernel/random/boot_id"), {})

    assert [] == aside
    return {(h.owner, h.gpu) for h in found}


@pytest.mark.server("slurm")
def test_a_real_job_drops_its_cards_at_its_start_and_lets_go_at_its_end(slurm_lab: SlurmLab, spool: Path) -> None:
    first = slurm_lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:h100:2", user="alice", account="vision")
    second = slurm_lab.submit("sleep 600", "-w", "gn01", "--gres=gpu:h100:3", user="bob", account="vision")
    cpu = slurm_lab.submit("sleep 600", "-w", "gn01", user="alice", account="vision")
    for job in (first, second, cpu):
        slurm_lab.wait_state(job, "RUNNING")
    wait_for(lambda: len(held(spool)) == 5 if spool.exists() else False, 20, "both jobs' cards")
    first_cards, second_cards = cards(slurm_lab, first), cards(slurm_lab, second)
    running = held(spool)
    text = (spool / f"{first}@gn01").read_text()
    for job in (first, second, cpu):
        slurm_lab.run("scancel", job)
    wait_for(lambda: not held(spool), 20, "the Epilogs")

    spans = {first: first_cards, second: second_cards}
    told = {
        (job, str(index))
        for job, span in spans.items()
        for part in span.split(",")
        for index in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
    }
    assert told == running
    assert {"cluster=lab", "node=gn01", "user=alice", "restart=0", "end="} <= set(text.splitlines())
    assert first == parse(text).job
    assert {f"{first}@gn01.ended", f"{second}@gn01.ended"} == {path.name for path in spool.iterdir()}
