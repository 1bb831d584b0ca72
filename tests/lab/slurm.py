"""A real Slurm on this machine: MariaDB, munged, slurmdbd, slurmctld and any number of slurmd with fake GPUs.

    with SlurmLab(Path(mkdtemp()), nodes=2) as lab:
        lab.seed({"vision": ["alice"]})
        job = lab.submit("sleep 2", "--gres=gpu:2", user="alice", account="vision")
        lab.finish(job)
        print(lab.run("sacct", "-X", "-P", "-j", job))

It needs root (slurmd starts jobs for other users) and listens on loopback. Users and host names exist inside the lab
only: nss_wrapper shows them to the lab's own processes, the machine's files are not touched. Everything lives under
``root``, which is removed at the end; make it with ``tempfile.mkdtemp`` (pytest's tmp_path is closed to the users that
jobs run as). Releases 22.05, 24.11 and 26.05 have been seen to work.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.lab import ports, servers, slurm_files
from tests.lab.daemons import Daemon, sweep, wait_for
from tests.lab.mariadb import MariaDB
from tests.lab.slurm_config import Layout, NodeGroup
from tests.lab.suites import Suite

ENDED = (
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY",
)  # fmt: skip
UNENDED = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "RESIZING", "REQUEUED")


class SlurmLab:
    """One cluster. ``groups`` says exactly which nodes there are; without it, ``nodes`` equal ones with ``gpus`` cards.

    ``environment`` is what a client command needs to talk to this cluster; `run` uses it. ``cluster`` is its name.
    ``extra`` are further lines for slurm.conf, ``enforce`` is AccountingStorageEnforce. ``suite`` is the Debian suite
    whose Slurm it is; without it, this machine's. ``beside`` is a lab whose slurmdbd keeps this cluster, too; that must
    be up, and end later.
    """

    def __init__(
        self,
        root: Path,
        nodes: int = 4,
        gpus: int = 8,
        gpu_type: str = "h100",
        *,
        groups: Sequence[NodeGroup] | None = None,
        cluster: str = "lab",
        users: Sequence[str] = ("alice", "bob", "carol", "dave"),
        enforce: str = "associations,limits,qos",
        extra: Sequence[str] = (),
        suite: Suite | None = None,
        beside: SlurmLab | None = None,
    ) -> None:
        if os.geteuid() != 0:
            raise PermissionError("the Slurm lab must run as root: slurmd starts jobs for other users")
        self.root = root
        self.suite = suite
        self.beside = beside
        self.cluster = cluster
        self.users = tuple(users)
        self.groups = tuple(groups) if groups is not None else (NodeGroup(nodes, {gpu_type: gpus}),)
        self.database = MariaDB(root / "mariadb", "slurm_acct", "slurm", secrets.token_hex(8))
        self._munge_folder = root / "munge"
        names = self.node_names
        ctld, dbd, *slurmds = ports.free(2 + len(names))
        self.layout = Layout(
            root=root,
            cluster=cluster,
            host=socket.gethostname().split(".")[0],
            munge_socket=self._munge_folder / "socket" if beside is None else beside.layout.munge_socket,
            ctld_port=ctld,
            dbd_port=dbd if beside is None else beside.layout.dbd_port,
            slurmd_ports=dict(zip(names, slurmds, strict=True)),
            database_port=self.database.port,
            groups=self.groups,
            enforce=enforce,
            extra=extra,
        )
        self._daemons: dict[str, Daemon] = {}

    # -- what it is ----------------------------------------------------------------------

    @property
    def node_names(self) -> list[str]:
        """Every node, in slurm.conf order."""
        return [name for group in self.groups for name in group.names]

    @property
    def capacity(self) -> dict[str, int]:
        """Node name -> cards."""
        return {name: group.cards for group in self.groups for name in group.names}

    @functools.cached_property
    def release(self) -> tuple[int, int]:
        """Slurm's release, as (22, 5)."""
        self.root.mkdir(exist_ok=True)
        command = self.command("slurmctld", "-V")
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        major, minor, *_ = printed.split()[-1].split(".")
        return int(major), int(minor)

    def command(self, program: str, *words: str) -> tuple[str, ...]:
        """One of Slurm's programs with its words, as something that can be run here (with `environment`)."""
        if self.suite is None:
            return (servers.program(program), *words)
        folder = next(folder for folder in ("bin", "sbin") if (self.suite.folder / "usr" / folder / program).exists())
        return self.suite.words(self.root, f"/usr/{folder}/{program}", *words)

    @property
    def environment(self) -> dict[str, str]:
        """What a client command's environment needs besides the usual."""
        library = next(Path("/usr/lib").glob("*/libnss_wrapper.so"), Path("libnss_wrapper.so"))
        return {
            "SLURM_CONF": str(self.layout.conf),
            "LD_PRELOAD": str(library),
            "NSS_WRAPPER_PASSWD": str(self.root / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.root / "group"),
            "NSS_WRAPPER_HOSTS": str(self.root / "hosts"),
        }

    # -- life ----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Bring everything up and wait until every node is idle."""
        slurm_files.write(self.layout, self.database, self.users, self.release)
        if self.beside is None:
            self._start_munge()
            self.database.start()
            self.start_accounting()
        self.run("sacctmgr", "-i", "add", "cluster", self.cluster)
        self._start("slurmctld", "slurmctld", "-D", "-c").ready(lambda: self._answers("scontrol", "ping"))
        there = [name for group in self.groups for name in group.names if group.state != "CLOUD"]
        for name in there:
            self.start_node(name, wait=False)
        for name in there:
            self._daemons[name].ready(lambda name=name: self.node_states()[name] == "idle")

    def stop(self) -> None:
        """End every process of the lab, running jobs included, and remove its files."""
        for name in ("slurmctld", *self.node_names, "slurmdbd", "munged"):
            if name in self._daemons:
                self._daemons[name].terminate()
        for daemon in self._daemons.values():
            daemon.stop(patience=2)
        sweep("SLURM_CONF", str(self.layout.conf), self.root)
        if self.beside is None:
            self.database.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def start_node(self, name: str, *, wait: bool = True, booted: bool = False) -> None:
        """Start one node's slurmd. ``booted``: it says that its machine has just begun, as a resumed one must."""
        daemon = self._start(name, "slurmd", "-D", "-N", name, *(["-b"] if booted else []))
        if wait:
            daemon.ready(lambda: self.node_states()[name] == "idle")

    def stop_node(self, name: str) -> None:
        """Kill one node's slurmd, as a crash does; slurmctld notices later."""
        self._daemons.pop(name).stop(patience=0.5)

    def stop_controller(self) -> None:
        """Stop slurmctld: clients get no answer."""
        self._daemons.pop("slurmctld").stop()

    def start_controller(self) -> None:
        """Start slurmctld again from its saved state."""
        self._start("slurmctld", "slurmctld", "-D").ready(lambda: self._answers("scontrol", "ping"))

    def stop_accounting(self) -> None:
        """Stop slurmdbd: sacct gets no answer, and slurmctld keeps what it has to tell."""
        self._daemons.pop("slurmdbd").stop()

    def start_accounting(self) -> None:
        """Start slurmdbd; once in a while its first talk with a new-born MariaDB fails, and it ends."""
        for patience in (2, 1, 0):
            daemon = self._start("slurmdbd", "slurmdbd", "-D")
            try:
                daemon.ready(lambda: self._answers("sacctmgr", "-n", "show", "cluster"))
            except RuntimeError:
                if not patience:
                    raise
            else:
                return

    # -- use -----------------------------------------------------------------------------

    def run(self, *command: str, stdin: str | None = None, environment: Mapping[str, str] | None = None) -> str:
        """Run a client command and return what it printed; RuntimeError with its words when it fails."""
        env = {**os.environ, **self.environment, **(environment or {})}
        done = subprocess.run(
            self.command(*command), env=env, input=stdin, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout

    def seed(
        self,
        accounts: Mapping[str, Sequence[str]],
        qos: Mapping[str, Sequence[str]] | None = None,
        *,
        parent: str = "root",
    ) -> None:
        """Make accounts with their users (they must be among the lab's ``users``), and QOS with their settings.

        ``qos={"urgent": ["Priority=1000", "Preempt=normal"]}``; every account may use every QOS.
        """
        for name, settings in (qos or {}).items():
            self.run("sacctmgr", "-i", "add", "qos", name)
            if settings:
                self.run("sacctmgr", "-i", "modify", "qos", name, "set", *settings)
        for account, users in accounts.items():
            self.run(
                "sacctmgr",
                "-i",
                "add",
                "account",
                account,
                f"parent={parent}",
                f"Description={account}",
                "Organization=lab",
            )
            if users:
                self.run("sacctmgr", "-i", "add", "user", ",".join(users), f"account={account}")
        if qos:
            self.run("sacctmgr", "-i", "modify", "account", "root", "set", f"QOS+={','.join(qos)}")

    def submit(self, script: str, *options: str, user: str = "", account: str = "", name: str = "") -> str:
        """Submit a batch job and return its id (of an array, the array's; of het components, the leader's).

        ``script`` is the body of a shell script; ``options`` go to sbatch as they are. Output goes nowhere.
        """
        command = ["sbatch", "--parsable", "--output=/dev/null", "--error=/dev/null", "--chdir=/"]
        command += [f"--uid={user}", f"--gid={user}"] if user else []
        command += [f"--account={account}"] if account else []
        command += [f"--job-name={name}"] if name else []
        return self.run(*command, *options, stdin=f"#!/bin/sh\n{script}\n").strip().split(";")[0]

    def node_states(self) -> dict[str, str]:
        """Node name -> state word as sinfo prints it (``idle``, ``mixed``, ``drained``, ``down*`` ...)."""
        printed = self.run("sinfo", "-h", "-N", "-o", "%N %T", "-p", "all")
        return dict(line.split() for line in printed.splitlines())

    def state(self, job: str) -> str:
        """A job's state in the queue, empty when the queue has forgotten it."""
        printed = self.run("squeue", "-h", "-t", "all", "-o", "%T", "-j", job)
        return printed.split("\n")[0].strip()

    def wait_state(self, job: str, *states: str, timeout: float = 30) -> str:
        """Wait until the queue shows a job in one of ``states``."""
        return str(wait_for(lambda: (s := self.state(job)) in states and s, timeout, f"{job} in {'/'.join(states)}"))

    def finish(self, *jobs: str, timeout: float = 60) -> None:
        """Wait until accounting shows every run of these jobs (every task of an array, every component) ended.

        A short job's row first comes from its end, nameless and without ReqTRES; its start fills them in seconds later.
        """

        def all_ended() -> bool:
            printed = self.run("sacct", "-D", "-X", "-n", "-P", "-a", "-j", ",".join(jobs), "-o", "JobID,End,ReqTRES")
            rows = [line.split("|") for line in printed.splitlines()]
            seen = {row[0].split("_")[0].split("+")[0] for row in rows}
            return seen >= set(jobs) and all(row[1] != "Unknown" and row[2] for row in rows)

        wait_for(all_ended, timeout, f"end of {', '.join(jobs)} in accounting", poll=0.2)

    def idle(self, timeout: float = 60) -> None:
        """Wait until nothing waits, runs or completes."""
        wait_for(lambda: not self.run("squeue", "-h").strip(), timeout, "empty queue", poll=0.2)

    def rollup(self, start: int, end: int) -> None:
        """Make slurmdbd sum up ``[start, end)`` (epoch seconds) now: sreport prints nothing before."""
        stamp = "%Y-%m-%dT%H:%M:%S"
        window = [time.strftime(stamp, time.gmtime(t)) for t in (start, end)]
        self.run("sacctmgr", "-i", "rollup", *window, environment={"TZ": "UTC"})

    # -- inside --------------------------------------------------------------------------

    def _start(self, name: str, *command: str) -> Daemon:
        words = self.command(*command) if command[0] != "munged" else (servers.program("munged"), *command[1:])
        daemon = Daemon(name, words, self.layout.log / f"{name}.out", self.environment)
        self._daemons[name] = daemon
        return daemon

    def _answers(self, *command: str) -> bool:
        env = {**os.environ, **self.environment}
        done = subprocess.run(self.command(*command), env=env, capture_output=True, check=False, timeout=30)
        return done.returncode == 0 and b"DOWN" not in done.stdout

    def _start_munge(self) -> None:
        folder = self._munge_folder
        key = folder / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        command = [
            "munged", "--force", "--foreground", f"--key-file={key}", f"--socket={self.layout.munge_socket}",
            f"--pid-file={folder / 'pid'}", f"--log-file={folder / 'log'}", f"--seed-file={folder / 'seed'}",
        ]  # fmt: skip
        self._start("munged", *command).ready(self.layout.munge_socket.exists)
