"""A pod object, reduced to what metering needs: identity, place, times, GPU request, labels. Pure.

Times. A pod holds its cards from ``scheduled`` (the PodScheduled condition: from then on nobody else can have them); a
pod bound without a scheduler has no such condition and holds from its creation. It holds until its last container's
``finishedAt``, once its phase is terminal; a container that is restarted in place ends nothing. ``deletionTimestamp``
is the moment of the request plus the grace period, in the future: it ends nothing either. Only when the grace is zero
has it happened (the API server's own clock, at the final delete).

A kubelet that rejects a pod (UnexpectedAdmissionError, OutOf..., and after its own restart also one that ran) writes
phase, reason and message anew and drops the rest: such an object tells no time at all, and holds nothing by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exporters.sources.kubernetes.raw import MAX_NUMBER, Raw, cut, items, part, quantity, seconds, texts
from exporters.sources.kubernetes.slots import hami
from exporters.sources.kubernetes.slots.fractions import Fractional, fractional
from exporters.sources.kubernetes.slots.resources import NO_RULES, PARTS, Resources
from exporters.sources.kubernetes.times import condition_since, first_started, last_finished, turned_at

HoldFrom = Literal["scheduled", "started"]
"""Where a pod's claim begins: when it was bound to its node, or when its first container started."""

_USER_KEYS = (
    "meterbridge.io/user",
    "opendatahub.io/username",
    "opendatahub.io/user",
    "hub.jupyter.org/username",
    "slurmjob.slinky.slurm.net/user-id",
)
_QUEUE_KEYS = (
    "kueue.x-k8s.io/queue-name",
    "kueue.x-k8s.io/local-queue-name",
    "scheduling.volcano.sh/queue-name",
    "volcano.sh/queue-name",
    "kai.scheduler/queue",
    "slurmjob.slinky.slurm.net/partition",
)


@dataclass(frozen=True, slots=True)
class OwnerRef:
    """An object's controller: the one owner reference that carries ``controller: true``."""

    api_version: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ClaimRef:
    """A ResourceClaim that a pod uses. ``own``: made for this pod alone (from a template), so nobody shares it."""

    name: str
    own: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What one container may use of each of its ``count`` slots, where it says so (HAMi); 0: it does not say.

    ``memory`` is in MiB, ``memory_percent`` and ``cores`` in percent of a card.
    """

    count: int
    memory: int = 0
    memory_percent: int = 0
    cores: int = 0


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod object says. Times are epoch seconds, None while they have not happened.

    ``requests`` are the effective GPU requests by resource, ``asked`` how much of each slot its containers may use, and
    ``given`` what HAMi's scheduler says that they got;
    ``started`` is the first ``startedAt`` that the object still shows. Of a ``terminal`` pod ``finished`` is its last
    container's end, and ``turned`` when its conditions say that it had ended: both None where it tells neither.
    ``removed`` is the moment of a final delete. ``finalizers`` says that something keeps the object after that moment.
    ``part`` is what it holds of a card that another pod keeps for it, or that it keeps for others.
    """

    uid: str
    namespace: str
    name: str
    version: str
    phase: str
    terminal: bool
    node: str
    created: int
    scheduled: int | None
    started: int | None
    finished: int | None
    turned: int | None
    removed: int | None
    finalizers: bool
    requests: Mapping[str, int]
    asked: tuple[Asked, ...]
    given: tuple[hami.Given, ...]
    part: Fractional | None
    claims: tuple[ClaimRef, ...]
    owner: OwnerRef | None
    labels: Mapping[str, str]
    user: str
    queue: str
    priority: str
    slurm_name: str

    @property
    def proven(self) -> int:
        """The last moment at which the object, by its own times, was as it is."""
        return max(self.created, self.scheduled or 0, self.started or 0)

    def held_from(
        self, hold_from: HoldFrom, started: int | None = None, scheduled: int | None = None, unbound: int = 0
    ) -> int | None:
        """When the pod began to hold, None while it does not, or where nothing dates it.

        ``started`` and ``scheduled`` are what is known from earlier, ``unbound`` when it was last seen without a node.
        """
        if not self.node:
            return None
        first = self.started if started is None else started
        if hold_from == "started":
            return first
        bound = self.scheduled if scheduled is None else scheduled
        if bound is not None:
            return bound
        if first is None and self.terminal:
            return None
        begun = max(self.created, unbound)
        return begun if first is None else min(begun, first)


def pod_facts(raw: Raw, rules: Resources = NO_RULES) -> PodFacts:
    """Read one pod object. Raises ValueError, naming what is wrong, for an object that cannot be metered."""
    meta, spec, status = part(raw, "metadata"), part(raw, "spec"), part(raw, "status")
    uid, name = str(meta.get("uid") or ""), str(meta.get("name") or "")
    created = seconds(meta.get("creationTimestamp"))
    if not uid or not name or created is None:
        raise ValueError("a pod without metadata.uid, name or creationTimestamp")
    labels = {sys.intern(k): sys.intern(v) for k, v in texts(meta, "labels").items()}
    annotations = texts(meta, "annotations")
    phase = str(status.get("phase") or "")
    terminal = phase in ("Succeeded", "Failed")
    node = sys.intern(str(spec.get("nodeName") or ""))
    claims, replaced = _claims(spec, status)
    requests = {k: v for k, v in effective_request(spec, rules).items() if k not in replaced}
    held = fractional(str(meta.get("namespace") or ""), labels, annotations, whole=bool(requests or claims))
    gone = meta.get("deletionTimestamp") if meta.get("deletionGracePeriodSeconds") == 0 else None
    return PodFacts(
        uid=uid,
        namespace=sys.intern(str(meta.get("namespace") or "")),
        name=name,
        version=str(meta.get("resourceVersion") or ""),
        phase=sys.intern(phase),
        terminal=terminal,
        node=node,
        created=created,
        scheduled=condition_since(status, "PodScheduled", "True"),
        started=first_started(status),
        finished=last_finished(status) if terminal else None,
        turned=turned_at(status) if terminal else None,
        removed=seconds(gone),
        finalizers=bool(meta.get("finalizers")),
        requests={} if held is not None and held.keeps else requests,
        asked=_asked(spec) if requests else (),
        given=hami.allocated(annotations) if requests else (),
        part=held,
        claims=claims,
        owner=controller(meta),
        labels=labels,
        user=_first(_USER_KEYS, annotations, labels),
        queue=_first(_QUEUE_KEYS, labels, annotations),
        priority=sys.intern(str(spec.get("priorityClassName") or "")),
        slurm_name=_slurm_name(name, labels, spec),
    )


def effective_request(spec: Raw, rules: Resources = NO_RULES) -> dict[str, int]:
    """GPU resources that the scheduler reserves for a pod: the larger of what its init phase and its main phase need.

    The main phase needs all containers and all sidecars (init containers with ``restartPolicy: Always``). An init
    container needs itself and the sidecars started before it.
    """
    main: dict[str, int] = {}
    for container in items(spec, "containers"):
        _add(main, _request(container, rules))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in items(spec, "initContainers"):
        need = _request(container, rules)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, need)
            continue
        for resource, count in need.items():
            peak[resource] = max(peak.get(resource, 0), count + sidecars.get(resource, 0))
    _add(main, sidecars)
    _add(main, rules.counts(part(spec, "overhead")))
    return {k: max(main.get(k, 0), peak.get(k, 0)) for k in sorted(main.keys() | peak.keys())}


def controller(meta: Raw) -> OwnerRef | None:
    """The controller among the owner references; a Node (static pods) is a place, not a workload."""
    for ref in items(meta, "ownerReferences"):
        if ref.get("controller") and ref.get("kind") != "Node":
            return OwnerRef(
                sys.intern(str(ref.get("apiVersion") or "")),
                sys.intern(str(ref.get("kind") or "")),
                str(ref.get("name") or ""),
                str(ref.get("uid") or ""),
            )
    return None


def _request(container: Raw, rules: Resources) -> dict[str, int]:
    """A container's GPU requests. For extended resources the limit is the request where only it is given."""
    resources = part(container, "resources")
    return rules.counts(part(resources, "limits")) | rules.counts(part(resources, "requests"))


def _asked(spec: Raw) -> tuple[Asked, ...]:
    """What each container says of its slots of ``nvidia.com/gpu``."""
    found = []
    for container in items(spec, "containers"):
        resources = part(container, "resources")
        told = {**part(resources, "limits"), **part(resources, "requests")}
        if "nvidia.com/gpu" in told:
            memory, percent, cores = (_amount(told.get(name, 0)) for name in PARTS)
            found.append(Asked(quantity(told["nvidia.com/gpu"]), memory, percent, cores))
    return tuple(found)


def _amount(value: Any) -> int:
    """A part that a container asks for; what cannot be read is more than any card has, so all of it."""
    try:
        return quantity(value, MAX_NUMBER)
    except ValueError:
        return MAX_NUMBER


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for resource, count in more.items():
        total[resource] = total.get(resource, 0) + count


def _claims(spec: Raw, status: Raw) -> tuple[tuple[ClaimRef, ...], frozenset[str]]:
    """The ResourceClaims in use, and the extended resources that such a claim stands for."""
    made = {str(s.get("name")): str(s.get("resourceClaimName") or "") for s in items(status, "resourceClaimStatuses")}
    refs: list[ClaimRef] = []
    for claim in items(spec, "resourceClaims"):
        named = str(claim.get("resourceClaimName") or "")
        name = named or made.get(str(claim.get("name")), "")
        if name:
            refs.append(ClaimRef(name, own=not named))
    extended = part(status, "extendedResourceClaimStatus")
    if extended.get("resourceClaimName"):
        refs.append(ClaimRef(str(extended["resourceClaimName"]), own=True))
    replaced = frozenset(str(m.get("resourceName")) for m in items(extended, "requestMappings"))
    return tuple(refs), replaced


def _first(keys: tuple[str, ...], *maps: Mapping[str, str]) -> str:
    for key in keys:
        for found in maps:
            if found.get(key):
                return sys.intern(cut(found[key]))
    return ""


def _slurm_name(name: str, labels: Mapping[str, str], spec: Raw) -> str:
    """The Slurm NodeName of a Slinky slurmd pod, else empty.

    The operator writes it as a label; where an older one does not: a StatefulSet-like pod on the host network is named
    after its node, any other after its hostname or, without one, after itself.
    """
    told = labels.get("nodeset.slinky.slurm.net/pod-hostname")
    if told:
        return told
    slinky = "slinky.slurm.net/cluster" in labels or labels.get("app.kubernetes.io/managed-by") == "slurm-operator"
    if labels.get("app.kubernetes.io/name") != "slurmd" or not slinky:
        return ""
    if spec.get("hostNetwork") and labels.get("nodeset.slinky.slurm.net/scaling-mode") == "StatefulSet":
        return str(spec.get("nodeName") or "")
    return str(spec.get("hostname") or name)
