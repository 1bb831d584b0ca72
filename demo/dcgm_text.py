"""The page of a dcgm-exporter, from the state of a node's cards. Pure.

Line for line what dcgm-exporter 4.5 writes for a usual choice of counters: families in the order of their DCGM field
numbers, labels in its order, whole numbers for integer fields and six decimals for the others, MiB, millijoules and
percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

Spelling = Literal["classic", "4.6"]
"""How fields and the host label are called: as ever, or as DCGM 4.6 and the exporter after 4.5.3 rename them."""

DRIVER = "580.65.06"
_MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that holds a card."""

    namespace: str
    name: str
    container: str = "main"
    uid: str = ""


@dataclass(frozen=True, slots=True)
class InstanceState:
    """A MIG instance: ratios are of the instance."""

    id: int
    profile: str
    engine: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    memory_used: int = 0
    memory_total: int = 0
    pods: tuple[Pod, ...] = ()
    hpc_jobs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardState:
    """One card at one moment: ratios 0..1, watts, joules since the driver was loaded, bytes, bytes per second, celsius.

    With ``instances`` the card is in MIG mode and only they are served, as the exporter does by default.
    """

    index: int
    uuid: str
    model: str = "NVIDIA H100 80GB HBM3"
    engine: float = 0.0
    sm: float = 0.0
    tensor: float = 0.0
    dram: float = 0.0
    power: float = 70.0
    energy: float = 0.0
    memory_used: int = 0
    memory_total: int = 80 << 30
    nvlink_transmit: float = 0.0
    nvlink_receive: float = 0.0
    temperature: float = 30.0
    xid: int = 0
    pods: tuple[Pod, ...] = ()
    hpc_jobs: tuple[str, ...] = ()
    instances: tuple[InstanceState, ...] = ()


Device = CardState | InstanceState


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    renamed: str
    kind: str
    help: str
    value: Callable[[CardState, Device], str]


def _whole(value: float) -> str:
    return str(int(value))


def _decimal(value: float) -> str:
    return f"{value:f}"


_FIELDS = (
    _Field(
        "DCGM_FI_DEV_SM_CLOCK",
        "",
        "gauge",
        "SM clock frequency (in MHz).",
        lambda card, _: _whole(1980 if card.engine or card.instances else 345),
    ),
    _Field(
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_GPU_TEMP_CELSIUS",
        "gauge",
        "GPU temperature (in C).",
        lambda card, _: _whole(card.temperature),
    ),
    _Field(
        "DCGM_FI_DEV_POWER_USAGE",
        "DCGM_FI_DEV_BOARD_POWER_WATTS",
        "gauge",
        "Power draw (in W).",
        lambda card, _: _decimal(card.power),
    ),
    _Field(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "",
        "counter",
        "Total energy consumption since boot (in mJ).",
        lambda card, _: _whole(card.energy * 1000),
    ),
    _Field(
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_GPU_UTIL_RATIO",
        "gauge",
        "GPU utilization (in %).",
        # NVML does not have it in MIG mode, and dcgm-exporter leaves blanks out.
        lambda card, _: "" if card.instances else _whole(100 * card.engine),
    ),
    _Field(
        "DCGM_FI_DEV_XID_ERRORS",
        "DCGM_FI_DEV_XID_ERROR",
        "gauge",
        "Value of the last XID error encountered.",
        lambda card, _: _whole(card.xid),
    ),
    _Field(
        "DCGM_FI_DEV_FB_FREE",
        "",
        "gauge",
        "Framebuffer memory free (in MiB).",
        lambda _, device: _whole((device.memory_total - device.memory_used) // _MEBI),
    ),
    _Field(
        "DCGM_FI_DEV_FB_USED",
        "",
        "gauge",
        "Framebuffer memory used (in MiB).",
        lambda _, device: _whole(device.memory_used // _MEBI),
    ),
    _Field(
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        "DCGM_FI_DEV_NVLINK_THROUGHPUT_TOTAL",
        "counter",
        "Total number of NVLink bandwidth counters for all lanes.",
        lambda card, _: "" if card.instances else _whole((card.nvlink_transmit + card.nvlink_receive) // 1_000_000),
    ),
    _Field(
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO",
        "gauge",
        "Ratio of time the graphics engine is active.",
        lambda _, device: _decimal(device.engine),
    ),
    _Field(
        "DCGM_FI_PROF_SM_ACTIVE",
        "DCGM_FI_PROF_SM_UTIL_RATIO",
        "gauge",
        "The ratio of cycles an SM has at least 1 warp assigned.",
        lambda card, device: _decimal(card.sm if device is card else device.engine),
    ),
    _Field(
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "DCGM_FI_PROF_TENSOR_UTIL_RATIO",
        "gauge",
        "Ratio of cycles the tensor (HMMA) pipe is active.",
        lambda _, device: _decimal(device.tensor),
    ),
    _Field(
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "DCGM_FI_PROF_DRAM_UTIL_RATIO",
        "gauge",
        "Ratio of cycles the device memory interface is active sending or receiving data.",
        lambda _, device: _decimal(device.dram),
    ),
    _Field(
        "DCGM_FI_PROF_NVLINK_TX_BYTES",
        "",
        "gauge",
        "The rate of data transmitted over NVLink, headers and payloads (in bytes per second).",
        lambda card, _: "" if card.instances else _whole(card.nvlink_transmit),
    ),
    _Field(
        "DCGM_FI_PROF_NVLINK_RX_BYTES",
        "",
        "gauge",
        "The rate of data received over NVLink, headers and payloads (in bytes per second).",
        lambda card, _: "" if card.instances else _whole(card.nvlink_receive),
    ),
)

_XID_TEXT = {0: "No Error", 31: "GPU memory page fault", 79: "GPU has fallen off the bus", 94: "Contained ECC error"}
_PER_PROCESS = {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED"}


def render(host: str, cards: Sequence[CardState], spelling: Spelling = "classic") -> str:
    """The page of one node."""
    lines = []
    for field in _FIELDS:
        name = field.renamed if spelling == "4.6" and field.renamed else field.name
        samples = [
            f"{name}{{{labels}}} {value}"
            for card in cards
            for device in card.instances or (card,)
            for labels, value in _copies(field, host, card, device, spelling)
        ]
        if samples:
            lines += [f"# HELP {name} {field.help}", f"# TYPE {name} {field.kind}", *samples]
    return "\n".join(lines) + "\n" if lines else ""


def _copies(field: _Field, host: str, card: CardState, device: Device, spelling: Spelling) -> Iterator[tuple[str, str]]:
    """The lines of one reading: one per pod and job that the device is shared by.

    Shared by several pods, ``GPU_UTIL`` and ``FB_USED`` come once for the device and once per pod with its part.
    """
    value = field.value(card, device)
    if not value:
        return
    xid = value if "XID" in field.name else ""
    owners: list[Pod | None] = [*device.pods] or [None]
    parts = len(device.pods)
    if parts > 1 and field.name in _PER_PROCESS:
        owners.insert(0, None)
    mig = (device.profile, device.id) if isinstance(device, InstanceState) else ("", 0)
    for pod, job in product(owners, device.hpc_jobs or ("",)):
        part = str(int(value) // parts) if pod and owners[0] is None else value
        yield _labels(host, card.index, card.uuid, card.model, mig, pod, job, xid, spelling), part


@lru_cache(maxsize=1 << 14)
def _labels(
    host: str,
    index: int,
    uuid: str,
    model: str,
    mig: tuple[str, int],
    pod: Pod | None,
    job: str,
    xid: str,
    spelling: Spelling,
) -> str:
    """The label set of a line. All of a device's lines have the same but for the XID's, round after round."""
    labels = {
        "gpu": str(index),
        "UUID": uuid,
        "pci_bus_id": f"00000000:{0x10 + 0x10 * index:02X}:00.0",
        "device": f"nvidia{index}",
        "modelName": model,
    }
    if mig[0]:
        labels |= {"GPU_I_PROFILE": mig[0], "GPU_I_ID": str(mig[1])}
    labels |= {"hostname" if spelling == "4.6" else "Hostname": host, "DCGM_FI_DRIVER_VERSION": DRIVER}
    attributes = {"err_code": xid, "err_msg": _XID_TEXT.get(int(xid), "Unknown Error")} if xid else {}
    if pod:
        attributes |= {"container": pod.container, "namespace": pod.namespace, "pod": pod.name}
        if pod.uid:
            attributes["pod_uid"] = pod.uid
    if job:
        attributes["hpc_job"] = job
    labels |= dict(sorted(attributes.items()))
    return ",".join(f'{key}="{text}"' for key, text in labels.items())
