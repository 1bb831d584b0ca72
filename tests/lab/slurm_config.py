"""Configuration files of the Slurm lab, as text. Pure: nothing is written or started here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class NodeGroup:
    """Equal nodes: ``count`` of them, named ``<prefix>01`` and so on.

    ``gpus`` is GPU type -> cards per node: ``{"h100": 8}``, ``{"a100": 4, "1g.10gb": 7}`` (a MIG profile as a gres
    type), ``{}`` for a node without. ``partitions`` names further partitions than ``all`` that hold them. ``state`` is
    how they begin: ``CLOUD`` are not there until they are wanted.
    """

    count: int
    gpus: Mapping[str, int] = field(default_factory=dict)
    prefix: str = "gn"
    cpus: int = 64
    memory_mb: int = 512_000
    partitions: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    state: str = "UNKNOWN"

    @property
    def names(self) -> list[str]:
        return [f"{self.prefix}{i:02d}" for i in range(1, self.count + 1)]

    @property
    def hostlist(self) -> str:
        return f"{self.prefix}[01-{self.count:02d}]" if self.count > 1 else self.names[0]

    @property
    def cards(self) -> int:
        return sum(self.gpus.values())

    @property
    def gres(self) -> str:
        return ",".join(f"gpu:{kind}:{count}" for kind, count in self.gpus.items())


@dataclass(frozen=True)
class Layout:
    """Where everything is. ``host`` is this machine's own host name, which Slurm insists on."""

    root: Path
    cluster: str
    host: str
    munge_socket: Path
    ctld_port: int
    dbd_port: int
    slurmd_ports: Mapping[str, int]  # node name -> port
    database_port: int
    groups: Sequence[NodeGroup]
    enforce: str
    extra: Sequence[str] = ()

    @property
    def conf(self) -> Path:
        return self.root / "etc" / "slurm.conf"

    @property
    def jwt_key(self) -> Path:
        return self.conf.parent / "jwt.key"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def devices(self) -> Path:
        return self.root / "dev"


# A requeued run waits for its credential to expire before it may start again: 2 minutes by default.
CREDENTIAL_EXPIRES_S = 6


def slurm_conf(layout: Layout) -> str:
    """slurm.conf: real scheduling and accounting, no cgroups, everything it can bind to loopback on loopback."""
    kinds = sorted({kind for group in layout.groups for kind in group.gpus})
    tracked = ",".join(["gres/gpu", *(f"gres/gpu:{kind}" for kind in kinds)])
    lines = [
        f"ClusterName={layout.cluster}",
        f"SlurmctldHost={layout.host}(127.0.0.1)",
        f"SlurmctldPort={layout.ctld_port}",
        "SlurmUser=root",
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket},cred_expire={CREDENTIAL_EXPIRES_S}",
        "AuthAltTypes=auth/jwt",
        f"AuthAltParameters=jwt_key={layout.jwt_key}",
        "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny",
        f"StateSaveLocation={layout.state}/ctld",
        f"SlurmdSpoolDir={layout.state}/slurmd.%n",
        f"SlurmctldPidFile={layout.state}/slurmctld.pid",
        f"SlurmdPidFile={layout.state}/slurmd.%n.pid",
        f"SlurmctldLogFile={layout.log}/slurmctld.log",
        f"SlurmdLogFile={layout.log}/slurmd.%n.log",
        "ProctrackType=proctrack/linuxproc",
        "JobAcctGatherType=jobacct_gather/linux",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core_Memory",
        "PrologFlags=Alloc",
        "ReturnToService=2",
        "SlurmdParameters=config_overrides",
        "MpiDefault=none",
        "GresTypes=gpu",
        f"AccountingStorageTRES={tracked}",
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={layout.dbd_port}",
        f"AccountingStoragePass={layout.munge_socket}",
        f"AccountingStorageEnforce={layout.enforce}",
        "AccountingStoreFlags=job_comment",
        "TrackWCKey=yes",
        "PreemptType=preempt/qos",
        "PreemptMode=REQUEUE",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2,bf_continue",
        "KillWait=1",
        "MinJobAge=300",
        "MaxArraySize=10000",
        "SlurmctldDebug=info",
        "SlurmdDebug=info",
    ]
    for group in layout.groups:
        options = f"CPUs={group.cpus} RealMemory={group.memory_mb} State={group.state}"
        options += f" Gres={group.gres}" if group.gpus else ""
        options += f" Feature={','.join(group.features)}" if group.features else ""
        lines += [
            f"NodeName={name} NodeHostname={layout.host} NodeAddr=127.0.0.1 Port={layout.slurmd_ports[name]} {options}"
            for name in group.names
        ]
    lines.append("PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE DefMemPerCPU=100 State=UP")
    for partition in sorted({name for group in layout.groups for name in group.partitions}):
        nodes = ",".join(group.hostlist for group in layout.groups if partition in group.partitions)
        lines.append(f"PartitionName={partition} Nodes={nodes} MaxTime=INFINITE DefMemPerCPU=100 State=UP")
    return "\n".join([*lines, *layout.extra, ""])


def gres_conf(layout: Layout) -> str:
    """gres.conf: each type's cards are consecutive fake devices, so indices run over the node as on hardware."""
    lines = ["AutoDetect=off"]
    for group in layout.groups:
        first = 0
        for kind, count in group.gpus.items():
            files = (
                f"{layout.devices}/gpu[{first}-{first + count - 1}]" if count > 1 else f"{layout.devices}/gpu{first}"
            )
            lines.append(f"NodeName={group.hostlist} Name=gpu Type={kind} File={files}")
            first += count
    return "\n".join([*lines, ""])


def slurmdbd_conf(layout: Layout, database: str, user: str, password: str) -> str:
    """slurmdbd.conf; Slurm wants it mode 0600."""
    return "\n".join(
        [
            "DbdHost=localhost",
            "DbdAddr=127.0.0.1",
            f"DbdPort={layout.dbd_port}",
            "SlurmUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={layout.munge_socket}",
            "AuthAltTypes=auth/jwt",
            f"AuthAltParameters=jwt_key={layout.jwt_key}",
            "CommunicationParameters=NoInAddrAny",
            f"LogFile={layout.log}/slurmdbd.log",
            f"PidFile={layout.state}/slurmdbd.pid",
            "DebugLevel=info",
            "TrackWCKey=yes",
            "StorageType=accounting_storage/mysql",
            "StorageHost=127.0.0.1",
            f"StoragePort={layout.database_port}",
            f"StorageLoc={database}",
            f"StorageUser={user}",
            f"StoragePass={password}",
            "",
        ]
    )
