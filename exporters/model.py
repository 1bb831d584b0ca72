"""The nouns, frozen. Every other room speaks in these words.

Units, everywhere:

* cards are counted in **milliGPU** (1 card = 1000), as Kubernetes counts milliCPU: integers, never floats;
* times in records are whole **epoch seconds, UTC**, and intervals are half-open ``[start, end)``;
* clocks of the live side (when something was polled) are float epoch seconds;
* telemetry is in Prometheus base units (seconds, bytes, joules, ratios 0..1), converted at the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from exporters.fabric_model import PortSample

MILLI_PER_GPU = 1000
"""One whole card, in milliGPU."""


class Scheduler(StrEnum):
    """Who placed the job."""

    SLURM = "slurm"
    KUBERNETES = "kubernetes"

    __hash__ = str.__hash__  # Enum's own is Python, and half the cost of looking a key up


class Disposition(StrEnum):
    """What one card-second was, in exactly one of six words. Their sum is capacity."""

    CHARGED = "charged"
    RESERVED = "reserved"
    IDLE = "idle"
    DOWN = "down"
    DISPUTED = "disputed"
    UNKNOWN = "unknown"

    __hash__ = str.__hash__  # as the schedulers'


class LinkKind(StrEnum):
    """How one claim lives inside another (docs/links.md has the rule for each)."""

    LENDS = "lends"  # a Slinky NodeSet pod passes its cards on to the Slurm jobs inside it
    SAME = "same"  # a slurm-bridge external job is its pods
    INSIDE = "inside"  # pods made by a Slurm job, holding the cards that job holds
    STAND_IN = "stand_in"  # a pod that only represents a Slurm job (virtual kubelet); holds nothing itself
    OBSERVED = "observed"  # no key, but the same card at the same second


class JobKey(NamedTuple):
    """Identity of one run of a job. Never a bare Slurm job id (ids are recycled), never a pod name.

    As a tuple it is the labels that name the job in every family.
    ``id`` is, for Slurm, the SLUID where the release has one, else ``<JobIDRaw>@<Submit epoch>`` (a requeue gets a
    new Submit, so each run has its own key); for Kubernetes, the UID of the pods' root owner.
    """

    scheduler: Scheduler
    cluster: str
    id: str

    def __str__(self) -> str:
        return f"{self.scheduler}/{self.cluster}/{self.id}"


class NodeKey(NamedTuple):
    """A node as its own scheduler names it. Which machine that is, `exporters.join.machines` resolves."""

    scheduler: Scheduler
    cluster: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheduler}/{self.cluster}/{self.name}"


@dataclass(frozen=True, slots=True)
class Job:
    """What is known about a job besides the cards it holds: names, people, states.

    ``native_id`` is what the scheduler's own commands take: JobIDRaw for Slurm (``"18"``), ``namespace/Kind/name`` for
    Kubernetes. ``display_id`` is what people type: ``6_0``, ``7+1``, ``vision/PyTorchJob/bert-ft``.
    ``account`` is the Slurm account or the Kubernetes namespace; ``partition`` the Slurm partition or the queue label.
    ``labels`` are the Kubernetes labels that a project map may select on (empty for Slurm).
    ``state`` is the scheduler's own word, upper case for Slurm (``RUNNING``), the pod phase for Kubernetes.
    ``start``/``end`` are None while the job has not started / not ended. ``limit`` are the seconds that the scheduler
    lets it run (Slurm's TimeLimit), None where it has no limit or nobody tells: of live jobs, and never recorded.
    """

    key: JobKey
    native_id: str
    display_id: str
    name: str
    user: str
    account: str
    partition: str
    qos: str = ""
    kind: str = ""
    state: str = ""
    submit: int | None = None
    start: int | None = None
    end: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)
    limit: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, order=True)
class LinkKey:
    """A key that a record carries and that may tie it to a claim of the other scheduler. A key is no proof.

    ``kind``/``cluster``/``value``: ``lends`` names the Slurm cluster and NodeName that this pod is;
    ``same`` and ``inside`` name the Slurm cluster and JobIDRaw; ``stand_in`` has an empty value. On a Slurm claim
    ``same`` names a pod that it is, ``namespace/name`` (from AdminComment). An empty cluster means any.
    ``evidence`` is the label or field it was read from, for people.
    """

    kind: LinkKind
    cluster: str
    value: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job holds ``milligpu`` on one node over ``[start, end)``; ``end`` None = still held.

    ``unit`` is what holds: the run's id for Slurm, the pod UID for Kubernetes (a job may have many pods).
    ``(job, unit, node)`` identifies a claim; the same identity with other content is a later version of it.
    ``model`` is the GPU type as the scheduler spells it (``h100``), empty when it does not say.
    ``profile`` is a MIG profile (``1g.10gb``) or ``shared`` for time-sliced replicas, empty for whole cards. A history
    that tells slots of Slurm's (``shard=4``) says so in it, with ``milligpu`` 0: what they weigh only the node tells.
    ``indices`` are GPU indices on the node and ``uuids`` card (or MIG device) UUIDs, as far as known: a card named in
    neither is held by count. ``split_assumed`` marks a share per node that history does not tell (a Slurm job over
    several nodes records only its total): equal parts, the remainder to the first nodes.
    ``native_id`` is what a link key names it by: JobIDRaw for Slurm, ``namespace/name`` of the pod for Kubernetes.
    ``end_basis`` says what ended it: ``finished``, ``deleted`` (seen by the watch), ``vanished`` (missed by a relist),
    or empty. ``keys`` are the link keys found on the record.
    """

    job: JobKey
    unit: str
    node: NodeKey
    milligpu: int
    start: int
    end: int | None
    model: str = ""
    profile: str = ""
    indices: tuple[int, ...] = ()
    uuids: tuple[str, ...] = ()
    keys: tuple[LinkKey, ...] = ()
    split_assumed: bool = False
    end_basis: str = ""
    native_id: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node's capacity and whether it takes work, as one scheduler sees it at one moment.

    A node with cards of several models yields one `Node` per model, all with the same key; one without cards yields one
    with ``milligpu`` 0.

    ``milligpu`` is what the node has (Slurm: configured gres; Kubernetes: capacity), not what is free.
    ``up`` is False when drained, down, not ready, cordoned or in maintenance; ``reason`` says which, in its own words.
    ``model`` is the GPU type; ``hostnames`` other names by which the same machine may be known (NodeHostName, the
    ``kubernetes.io/hostname`` label), best first. ``slots`` are what Slurm shares its cards by, as (kind, milliGPU that
    they share, how many): ``("shard", 4000, 16)``, ``("mps:a100", 2000, 200)``.
    """

    key: NodeKey
    milligpu: int
    up: bool
    model: str = ""
    reason: str = ""
    hostnames: tuple[str, ...] = ()
    slots: tuple[tuple[str, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """A job that waits for ``milligpu`` it does not have yet."""

    job: JobKey
    milligpu: int
    partition: str = ""


class Field(StrEnum):
    """What a device reading may hold. Ratios are 0..1; counters (``*_total``) grow until a device reset."""

    ENGINE_ACTIVE = "engine_active_ratio"
    TENSOR_ACTIVE = "tensor_active_ratio"
    UTILIZATION = "utilization_ratio"
    MEMORY_USED = "memory_used_bytes"
    POWER = "power_watts"
    ENERGY = "energy_joules_total"
    NVLINK_TX_RATE = "nvlink_transmit_bytes_per_second"
    NVLINK_RX_RATE = "nvlink_receive_bytes_per_second"
    NVLINK_TX = "nvlink_transmit_bytes_total"
    NVLINK_RX = "nvlink_receive_bytes_total"
    TEMPERATURE = "temperature_celsius"
    XID = "xid_error_code"
    ROW_REMAP_FAILURE = "row_remap_failure"
    ROW_REMAP_PENDING = "row_remap_pending"
    REMAPPED_ROWS = "uncorrectable_remapped_rows_total"
    DOUBLE_BIT_ERRORS = "ecc_double_bit_errors_total"
    THERMAL_THROTTLE = "thermal_throttle_seconds_total"
    CLOCK_EVENT_REASONS = "clock_event_reasons"
    MEMORY_ACTIVE = "memory_active_ratio"
    FP64_ACTIVE = "fp64_active_ratio"
    FP32_ACTIVE = "fp32_active_ratio"
    FP16_ACTIVE = "fp16_active_ratio"
    MEMORY_TEMPERATURE = "memory_temperature_celsius"
    SINGLE_BIT_ERRORS = "ecc_single_bit_errors_total"
    PCIE_REPLAYS = "pcie_replays_total"
    PCIE_GENERATION = "pcie_link_generation"
    PCIE_GENERATION_MAX = "pcie_link_generation_max"
    PCIE_WIDTH = "pcie_link_width"
    PCIE_WIDTH_MAX = "pcie_link_width_max"
    NVLINK_CRC_FLIT_ERRORS = "nvlink_crc_flit_errors_total"
    NVLINK_CRC_DATA_ERRORS = "nvlink_crc_data_errors_total"
    NVLINK_REPLAY_ERRORS = "nvlink_replay_errors_total"
    NVLINK_RECOVERY_ERRORS = "nvlink_recovery_errors_total"
    NVLINK_HEALTH = "nvlink_health"
    NVSWITCH_FATAL_HEALTH = "nvswitch_fatal_health"
    NVSWITCH_NONFATAL_HEALTH = "nvswitch_nonfatal_health"
    SXID_FATAL = "nvswitch_fatal_sxid"
    SXID_NONFATAL = "nvswitch_nonfatal_sxid"
    FABRIC_MANAGER = "fabric_manager_status"


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of one device (a card or a MIG instance), once per round, whatever number of copies were served.

    ``host`` is the ``Hostname``/``hostname`` label; ``uuid`` the physical card's UUID; ``index`` its index as NVML and
    DCGM number cards, ``minor`` N of its /dev/nvidiaN, which is Slurm's number for it (-1: not told).
    ``mig_profile``/``mig_instance`` are set for a MIG instance (``GPU_I_PROFILE``, ``GPU_I_ID``).
    ``pods`` are the ``(namespace, name, uid)`` of every pod any copy was labelled with (uid empty when not served),
    ``hpc_jobs`` every ``hpc_job`` label. ``at`` is when the round was fetched.
    """

    host: str
    uuid: str
    index: int
    model: str
    values: Mapping[Field, float]
    at: float
    mig_profile: str = ""
    mig_instance: str = ""
    pods: tuple[tuple[str, str, str], ...] = ()
    hpc_jobs: tuple[str, ...] = ()
    minor: int = -1


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that could not be used, set aside with its reason; the batch goes on and nothing is lost.

    ``record`` is the raw record as read (bytes decoded with surrogateescape, cut at a documented limit).
    ``reason`` names what is wrong and, where possible, how to mend it.
    """

    source: str
    record: str
    reason: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a history source: the raw text as read, and what it says.

    ``raw`` is byte-exact (surrogateescape). ``excluded`` is the reason why it holds no cards (``no gpu``,
    ``never started``), empty otherwise. ``pending`` is True while the job still waits or runs (it will be read again).
    ``doubt`` names what else is known against it (``runaway``), where it holds less than it tells.
    """

    source: str
    raw: str
    job: Job
    claims: tuple[Claim, ...] = ()
    excluded: str = ""
    pending: bool = False
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """A stretch of a node's history: over ``[start, end)`` it was not available, or its capacity was other than now.

    From ``sacctmgr show event``. ``end`` None = still so. ``milligpu`` None = the record does not say; ``cards`` is
    what it says of their models: (model, milliGPU) of each, empty where it names none.
    """

    key: NodeKey
    start: int
    end: int | None
    up: bool
    milligpu: int | None = None
    reason: str = ""
    cards: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one source said in one poll. A source fills only what it can know.

    ``ended`` are claims that ended since the source's previous poll (Kubernetes: it keeps no history, so each end is
    told once, and the recorder must keep it). ``complete`` is False when part of the system could not be read (some
    dcgm targets down); ``problems`` then says what, in sentences for people. ``unmetered`` are devices that look like
    cards and have no rule, by resource.
    """

    at: float
    jobs: tuple[Job, ...] = ()
    claims: tuple[Claim, ...] = ()
    ended: tuple[Claim, ...] = ()
    nodes: tuple[Node, ...] = ()
    demands: tuple[Demand, ...] = ()
    samples: tuple[Sample, ...] = ()
    rejects: tuple[Reject, ...] = ()
    complete: bool = True
    problems: tuple[str, ...] = ()
    ports: tuple[PortSample, ...] = ()
    unmetered: Mapping[str, int] = field(default_factory=dict)
