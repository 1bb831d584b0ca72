"""Which extended resources are cards or parts of cards, which only look like it, and which are neither. Pure.

What has no rule is never passed over in silence: `looks_like_cards` finds it by its name, so that it is shown as not
metered, and the site's setting ``devices.resources`` gives it a rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from exporters.sources.kubernetes.raw import Raw, quantity

NO_RULE = "looks like an accelerator and has no rule"
"""What is said of a resource or driver that is not metered; the statement finds it by that."""

WHOLE = ("nvidia.com/gpu", "amd.com/gpu")
"""Resources whose slots are whole cards where the node does not say otherwise."""

_BUILT_IN = re.compile(
    r"nvidia\.com/(gpu|mig-[^/]+?)(\.shared)?"
    r"|amd\.com/(gpu|(?P<partition>[sdtqc]px)_nps\d{1,2})"
    r"|nvidia\.com/(G[A-Z]|TU|AD)\d{2,3}[A-Z]{0,3}_(?P<passed>\w+)"
)
"""Cards and slices of device plugins; AMD's partitions by name; whole cards that NVIDIA's sandbox plugin hands to
virtual machines, named by chip and model (``nvidia.com/GA102GL_A10``)."""

PARTS = ("nvidia.com/gpumem", "nvidia.com/gpumem-percentage", "nvidia.com/gpucores")
"""HAMi: how much of each ``nvidia.com/gpu`` that it asks for a container may use."""

_NO_DEVICE = re.compile(
    r"nvidia\.com/(gpumem.*|gpucores|priority|(?i:.*(rdma|roce|sriov|mlnx|mofed|hostdev|ib|nic|vf|cx\d).*))"
    r"|gpu\.intel\.com/(.*monitoring|millicores|memory\.max|tiles)"
    r"|(?!tencent\.com/vcuda-core|elasticgpu\.io/gpu-core).*[-_.](mem|memory|vmem|vmemory|cores?|vcores?|percentage|priority)"
)
"""Names that are no cards: parts of one that another resource counts, what only watches, network devices. Where a maker
offers nothing but cores and memory (hundredths of cards), the cores stand for the cards.
"""

_KINDS = "gpu|npu|tpu|xpu|mlu|gcu|dcu|ppu|vpu|ipu|lpu|gaudi|neuron|ascend|accel|accelerator|dcunum|qaic"
"""Words by which makers and sites call an accelerator, in a resource's name or a driver's."""

_MODELS = (
    r"a10g?|a16|a30|a40|a100|a800|h20|h100|h200|h800|b200|b300|g[bh][23]00|l20|l4|l40s?|p40|p100|v100|t4|k80"
    r"|mi\d{3}[ax]?|(rtx|tesla|quadro|geforce)\w*|nvidia\d*|cuda"
)
"""Cards by which a site names a resource of its own, KubeVirt's for instance."""

_ACCELERATORS = re.compile(
    r"(nvidia\.com|amd\.com|gpu\.intel\.com|habana\.ai|huawei\.com|cambricon\.com|iluvatar\.ai|[\w.-]*metax[\w.-]*"
    r"|qualcomm\.com|furiosa\.ai|rebellions\.ai|graphcore\.ai|tenstorrent\.com|groq\.com|d-matrix\.ai|cerebras\.\w+"
    r"|sambanova\.ai|hailo\.ai|vastaitech\.com|([\w-]+\.)*v?(gpu|npu)s?\.[\w.-]+)/.+"
    r"|google\.com/tpu.*|aws\.amazon\.com/neuron.*|tencent\.com/vcuda-core|elasticgpu\.io/gpu-core"
    rf"|[^/]+/(?i:(.*[-_.])?v?({_KINDS})s?\d*([-_.].*)?)"
    rf"|[^/]+/(?i:(.*[-_.])?({_MODELS})([-_.].*)?)"
)
_DRIVERS = re.compile(rf"(?i:(.*[-_.])?({_KINDS})s?([-_.].*)?)")


@dataclass(frozen=True, slots=True)
class Metered:
    """What one device of a resource is, as the site says: its model, and its part of a card in milliGPU."""

    model: str
    milligpu: int


@dataclass(frozen=True, slots=True)
class Resources:
    """The rules of one site. ``own`` are the settings ``devices.resources``: resource or DRA driver -> what it is."""

    own: Mapping[str, Metered] = field(default_factory=dict)

    def metered(self, name: str) -> bool:
        """Whether a resource has a rule."""
        return name in self.own or ("/" in name and _BUILT_IN.fullmatch(name) is not None)

    def counts(self, resources: Raw) -> dict[str, int]:
        """The cards and parts of cards of a resource map, zeros left out. Raises ValueError for what is no count."""
        counts = {name: quantity(value) for name, value in resources.items() if self.metered(name)}
        return {name: count for name, count in counts.items() if count}

    def unmetered(self, resources: Raw) -> dict[str, int]:
        """What of a resource map looks like cards and has no rule, zeros left out."""
        counts = {
            name: quantity(value)
            for name, value in resources.items()
            if looks_like_cards(name) and not self.metered(name)
        }
        return {name: count for name, count in counts.items() if count}


NO_RULES = Resources()
"""No rules of a site's own."""


def looks_like_cards(name: str) -> bool:
    """Whether a resource seems to be an accelerator, by its name alone.

    >>> [looks_like_cards(n) for n in ("habana.ai/gaudi", "gpu.intel.com/xe", "nvidia.com/A10-12Q", "acme.org/vgpu")]
    [True, True, True, True]
    >>> [
    ...     looks_like_cards(n)
    ...     for n in ("cpu", "nvidia.com/gpumem", "gpu.intel.com/monitoring", "rdma/hca", "acme.org/x")
    ... ]
    [False, False, False, False, False]
    """
    return "/" in name and _NO_DEVICE.fullmatch(name) is None and _ACCELERATORS.fullmatch(name) is not None


def driver_looks_like_cards(driver: str) -> bool:
    """Whether a DRA driver seems to offer accelerators: ``neuron.aws.com``, ``tpu.google.com``."""
    return not driver.startswith("compute-domain.") and _DRIVERS.fullmatch(driver) is not None


def passed_model(resource: str) -> str:
    """The model of a card that is handed to virtual machines whole (``GA102GL_A10`` -> ``A10``), else empty."""
    found = _BUILT_IN.fullmatch(resource)
    return (found["passed"] or "").replace("_", "-") if found else ""


def partition_of(resource: str) -> str:
    """AMD's compute partitioning that a resource is named by (``amd.com/cpx_nps4`` -> ``cpx``), else empty."""
    found = _BUILT_IN.fullmatch(resource)
    return (found["partition"] or "") if found else ""
