"""Which Slurm job holds which card: the Prolog's and Epilog's files, and cgroups' names."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporters.node.slurm
from exporters.node.cgroups import allowed_cards, find_parents, read_jobs
from exporters.node.holders import Holders
from exporters.node.holding import Basis, Holding
from exporters.node.spool import FILES, LIMIT, TOLD, SpoolError, parse, parse_gpus, read_spool

SCRIPTS = Path(exporters.node.slurm.__path__[0])
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
UUIDS = {"2": "GPU-cccc"}
JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_GPUS": "2,5",
    "SLURM_CLUSTER_NAME": "hall",
    "SLURMD_NODENAME": "gn01",
    "SLURM_JOB_USER": "alice",
    "SLURM_JOB_START_TIME": "1795335000",
}


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "run" / "jobs"


def run(script: str, spool: Path, environment: Mapping[str, str]) -> None:
    """Run a script as slurmd does: with nothing but Slurm's variables. It must succeed and say nothing."""
    env = {"PATH": os.environ["PATH"], "METERBRIDGE_SPOOL": str(spool), **environment}
    done = subprocess.run([SCRIPTS / script], env=env, capture_output=True, check=False, timeout=20)

    assert (0, b"", b"") == (done.returncode, done.stdout, done.stderr)


def held(spool: Path, boot: str = BOOT) -> list[tuple[str, str, str]]:
    found, aside = read_spool(str(spool), boot, UUIDS)

    assert [] == aside
    assert all((h.scheduler, h.basis) == ("slurm", Basis.SPOOL) for h in found)
    return [(h.owner, h.gpu, h.uuid) for h in found]


def test_a_job_holds_its_cards_from_prolog_to_epilog(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    during = held(spool)
    run("epilog.sh", spool, JOB)

    assert [("4711", "2", "GPU-cccc"), ("4711", "5", "")] == during
    assert [] == held(spool)


def test_the_record_says_all_that_slurm_says(spool: Path) -> None:
    run("prolog.sh", spool, JOB | {"SLURM_JOB_RESTART_COUNT": "2", "SLURM_JOB_SLUID": "sEKNKTV3WPV500"})

    expected = {
        "job": "4711", "gpus": "2,5", "boot": BOOT, "cluster": "hall", "node": "gn01", "user": "alice",
        "sluid": "sEKNKTV3WPV500", "restart": "2", "start": "1795335000", "end": "",
    }  # fmt: skip
    assert expected == dict(line.split("=", 1) for line in (spool / "4711@gn01").read_text().splitlines())


def test_an_ended_job_is_kept_for_a_while_with_its_end(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    run("epilog.sh", spool, JOB)

    record = parse((spool / "4711@gn01.ended").read_text())
    assert record.end is not None
    assert record.end > 1_700_000_000


def test_what_ended_over_an_hour_ago_is_swept_away_and_what_runs_stays(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    run("epilog.sh", spool, JOB)
    run("prolog.sh", spool, JOB | {"SLURM_JOB_ID": "4712"})
    half = spool / ".4713@gn01.99"
    half.write_text("job=47")
    for path in (spool / "4711@gn01.ended", spool / "4712@gn01", half):
        os.utime(path, (1e9, 1e9))
    run("prolog.sh", spool, JOB | {"SLURM_JOB_ID": "4714"})
    run("epilog.sh", spool, JOB | {"SLURM_JOB_ID": "4714"})

    assert ["4712@gn01", "4714@gn01.ended"] == sorted(path.name for path in spool.iterdir())


def test_a_requeued_job_holds_what_its_new_run_was_given(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    run("epilog.sh", spool, JOB)
    run("prolog.sh", spool, JOB | {"SLURM_JOB_GPUS": "7"})

    assert [("4711", "7", "")] == held(spool)


def test_two_slurm_nodes_on_one_machine_do_not_overwrite_each_other(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    run("prolog.sh", spool, JOB | {"SLURMD_NODENAME": "gn02", "SLURM_JOB_GPUS": "0"})
    run("epilog.sh", spool, JOB)

    assert [("4711", "0", "")] == held(spool)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GPU_DEVICE_ORDINAL": "1"}, [("1", "1", "")]),
        ({"CUDA_VISIBLE_DEVICES": "MIG-6d0e,MIG-6d0f"}, [("1", "", "MIG-6d0e"), ("1", "", "MIG-6d0f")]),
        (
            {"SLURM_JOB_GPUS": "0-2", "CUDA_VISIBLE_DEVICES": "9"},
            [("1", "0", ""), ("1", "1", ""), ("1", "2", "GPU-cccc")],
        ),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({}, []),
    ],
)
def test_the_cards_are_found_where_the_release_puts_them(
    spool: Path, environment: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    run("prolog.sh", spool, {"SLURM_JOB_ID": "1", **environment})

    assert expected == (held(spool) if spool.exists() else [])


HOSTILE = [
    "",
    "x",
    "1 2",
    "../../etc/cron.d/x",
    "$(touch {0})",
    "`touch {0}`",
    "1;touch {0}",
    "1\njob=2",
    "-rf",
    "*",
    "'\"\\",
]


@pytest.mark.parametrize("variable", [*JOB, "SLURM_JOB_RESTART_COUNT", "SLURM_JOB_SLUID"])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_do_nothing_and_forge_nothing(spool: Path, variable: str, value: str) -> None:
    trap = spool.parent.parent / "trap"
    environment = JOB | {variable: value.format(trap)}
    run("prolog.sh", spool, environment)
    run("epilog.sh", spool, environment)
    run("prolog.sh", spool, environment)
    found, _ = read_spool(str(spool), BOOT, {})

    assert not trap.exists()
    assert {h.owner for h in found} <= {"4711"}
    assert {path.parent for path in spool.parent.parent.rglob("*") if path.is_file()} <= {spool}


def test_a_spool_that_cannot_be_written_harms_no_job(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")

    run("prolog.sh", in_the_way / "jobs", JOB)
    run("epilog.sh", in_the_way / "jobs", JOB)


def test_a_record_appears_whole_and_is_never_written_through_what_lies_in_its_place(spool: Path) -> None:
    spool.mkdir(parents=True)
    victim = spool.parent / "victim"
    victim.write_text("precious")
    (spool / "4711@gn01").symlink_to(victim)
    run("prolog.sh", spool, JOB)

    assert "precious" == victim.read_text()
    assert [("4711", "2", "GPU-cccc"), ("4711", "5", "")] == held(spool)


def test_the_epilog_of_an_unknown_job_does_nothing(spool: Path) -> None:
    run("epilog.sh", spool, JOB)

    assert not spool.exists()


def test_leftovers_of_an_earlier_boot_are_no_holdings(spool: Path) -> None:
    run("prolog.sh", spool, JOB)

    assert [] == held(spool, boot="another-boot")


def test_hostile_and_broken_files_are_set_aside_and_the_others_are_read(spool: Path, tmp_path: Path) -> None:
    run("prolog.sh", spool, JOB)
    good = (spool / "4711@gn01").read_text()
    secret = tmp_path / "secret"
    secret.write_text(good)
    (spool / "link").symlink_to(secret)
    os.mkfifo(spool / "fifo")
    (spool / "folder").mkdir()
    (spool / "cut").write_text(good[:20])
    (spool / "no-end").write_text("job=1\ngpus=0\n")
    (spool / "no-card").write_text("job=1\ngpus=\nend=\n")
    (spool / "no-job").write_text("job=a b\ngpus=0\nend=\n")
    (spool / "binary").write_bytes(b"\xff\x00\xfe")
    (spool / "huge").write_text(good + "x=" + "y" * LIMIT)
    (spool / "open").write_text(good)
    (spool / "open").chmod(0o666)
    (spool / "1@n.ended").write_text("of no concern any more")

    found, aside = read_spool(str(spool), BOOT, {})

    assert [("4711", "2"), ("4711", "5")] == [(h.owner, h.gpu) for h in found]
    assert {
        "link", "fifo", "folder", "cut", "no-end", "no-card", "no-job", "binary", "huge", "open",
    } == {name for _, name, _ in aside}  # fmt: skip
    assert all(reason for _, _, reason in aside)


@pytest.mark.parametrize("gpus", ["0-9999", ",".join(["0-9999"] * 9000), ",".join(str(n) for n in range(300))])
def test_more_cards_than_a_machine_has_are_refused_without_counting_them_up(gpus: str) -> None:
    tracemalloc.start()
    with pytest.raises(SpoolError, match="more than 256 cards"):
        parse_gpus(gpus)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 20


def test_files_that_somebody_pours_in_are_neither_all_read_nor_all_named(spool: Path) -> None:
    run("prolog.sh", spool, JOB)
    for n in range(FILES + 100):
        (spool / f"junk{n:05}").touch()

    found, aside = read_spool(str(spool), BOOT, {})

    assert {"4711"} == {h.owner for h in found}
    assert TOLD + 1 == len(aside)
    assert "files, of which" in aside[-1][2] or "more, the last files" in aside[-1][2]


@given(st.text(alphabet="job=gpusend,-0129\n@x ", max_size=60))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    try:
        record = parse(text)
    except SpoolError:
        return

    assert record.job.isdecimal()
    assert record.gpus


def cgroup(root: Path, path: str, devices: str | None = None) -> None:
    folder = root / path
    folder.mkdir(parents=True)
    if devices is not None:
        (folder / "devices.list").write_text(devices)


def owners(root: Path) -> list[tuple[str, str, str]]:
    found = read_jobs(find_parents(str(root)), UUIDS)

    assert all((h.scheduler, h.basis) == ("slurm", Basis.CGROUP) for h in found)
    return [(h.owner, h.gpu, h.uuid) for h in found]


def test_cgroup_v1_names_the_job_and_its_cards(tmp_path: Path) -> None:
    cgroup(tmp_path, "devices/slurm/uid_1001/job_11", "c 1:3 rwm\nc 195:2 rwm\nc 195:5 rw\nc 195:255 rwm\n")
    cgroup(tmp_path, "devices/slurm_gn01/uid_1002/job_12", "a *:* rwm\n")
    cgroup(tmp_path, "devices/slurm/uid_1002/job_13", "c 1:3 rwm\nc *:* m\n")
    cgroup(tmp_path, "devices/slurm/uid_1002/other")
    cgroup(tmp_path, "devices/system.slice/job_14", "c 195:1 rwm\n")

    assert [("11", "2", "GPU-cccc"), ("11", "5", ""), ("12", "", "")] == sorted(owners(tmp_path))


def test_cgroup_v2_names_the_owner_alone_by_job_id_or_sluid(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    cgroup(tmp_path, "system.slice/slurmstepd.scope/job_21/step_0/user/task_0")
    cgroup(tmp_path, "system.slice/gn01_slurmstepd.scope/sEKNKTV3WPV500/step_0")
    cgroup(tmp_path, "system.slice/slurmstepd.scope/system")
    pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-1.scope"
    cgroup(tmp_path, f"{pod}/system.slice/slurmstepd.scope/job_22/step_batch")
    cgroup(tmp_path, "user.slice/job_23")

    assert [("21", "", ""), ("22", "", ""), ("sEKNKTV3WPV500", "", "")] == sorted(owners(tmp_path))


def test_cgroups_speak_only_where_no_spool_is(tmp_path: Path, spool: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("")
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    cgroup(tmp_path, "system.slice/slurmstepd.scope/job_31")
    holders = Holders(str(tmp_path), str(spool), str(tmp_path / "away"), "/proc")
    without = holders.read({})
    run("prolog.sh", spool, JOB)
    with_spool = holders.read({})

    assert ((Holding("slurm", "31", Basis.CGROUP),), {"cgroup": True}) == (without.holdings, without.sources)
    assert ({"4711"}, {"spool": True}) == ({h.owner for h in with_spool.holdings}, with_spool.sources)


def test_a_machine_without_slurm_has_no_basis_for_it(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu\n")
    cgroup(tmp_path, "system.slice/sshd.service")

    assert {} == Holders(str(tmp_path), str(tmp_path / "no"), str(tmp_path / "no"), "/proc").read({}).sources


@pytest.mark.parametrize(
    ("devices", "cards"),
    [
        ("c 136:* rwm\nc 195:0 rwm\nc 195:1 rw", ("0", "1")),  # every terminal is not every card
        ("c 195:* rwm", None),
        ("a *:* rwm", None),
        ("c 195:254 rwm\nc 195:255 rwm\nc 1:3 rwm", ()),  # what controls the cards is none
        ("b 195:3 rwm", ()),
    ],
)
def test_the_cards_that_a_cgroup_allows(devices: str, cards: tuple[str, ...] | None) -> None:
    assert cards == allowed_cards(devices)
