"""The workload at the top of a pod's owners: ReplicaSet -> Deployment -> InferenceService, Job -> JobSet, and so on.

Every step is one read of the owner's metadata (``PartialObjectMetadata``: no spec, no status, no secret content), and
every answer is remembered, so a workload of a thousand pods costs its chain once. The climb ends at an object without a
controller, at one that is gone, at the first that may not be read, or after 32 steps. Where it ends early, labels that
workload systems put on their pods name the root (`by_labels`), unless the climb has passed it already; where those say
nothing, the last known owner is it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from exporters.sources.kubernetes.api import ApiError
from exporters.sources.kubernetes.claims import Root
from exporters.sources.kubernetes.pod_facts import OwnerRef, PodFacts, controller
from exporters.sources.kubernetes.raw import Raw, items, part, seconds, texts

MAX_DEPTH = 32
"""How many owners are climbed before a chain is taken for a loop."""

ATTEMPTS = 3
"""How often an owner is asked for, one poll apart, when the server fails rather than refuses."""


class Reader(Protocol):
    """What the climb needs of the API server."""

    def get(self, path: str, *, accept: str = ..., timeout: float = ...) -> Raw:
        """The object at ``path``. Raises `ApiError`."""
        ...


PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class _Climb:
    root: Root
    complete: bool  # False: it ended at something that could not be read
    passed: frozenset[tuple[str, str]] = frozenset()  # (kind, name) of every owner on the way, the root included

    def of(self, pod: PodFacts) -> Root:
        """The root of a pod: what was climbed to, or what its labels name when that lies above it."""
        told = None if self.complete else by_labels(pod)
        return self.root if told is None or (told.kind, told.name) in self.passed else told


def by_labels(pod: PodFacts) -> Root | None:
    """The root that a pod's labels name. Only JobSet writes a UID there; the others are known by name."""
    labels = pod.labels
    for label, what, uid in _NAMED:
        if labels.get(label):
            return Root(what, labels[label], labels.get(uid, ""), {})
    if labels.get("app.kubernetes.io/part-of") == "llminferenceservice" and labels.get("app.kubernetes.io/name"):
        return Root("LLMInferenceService", labels["app.kubernetes.io/name"], "", {})
    origin, kind = labels.get("ray.io/originated-from-cr-name"), labels.get("ray.io/originated-from-crd")
    if origin and kind:
        return Root(kind, origin, "", {})
    training = labels.get("training.kubeflow.org/job-name")
    operator = labels.get("training.kubeflow.org/operator-name", "").removesuffix("-controller")
    if training and operator in _TRAINING_KINDS:
        return Root(_TRAINING_KINDS[operator], training, "", {})
    return None


_NAMED = (
    ("jobset.sigs.k8s.io/jobset-name", "JobSet", "jobset.sigs.k8s.io/jobset-uid"),
    ("serving.kserve.io/inferenceservice", "InferenceService", ""),
    ("serving.knative.dev/service", "Service", ""),
)
"""Labels that name a root as it is: label, kind, and the label of its UID; KServe's before that of Knative below it."""

_TRAINING_KINDS = {
    kind.lower(): kind for kind in ("PyTorchJob", "TFJob", "MPIJob", "XGBoostJob", "PaddleJob", "JAXJob")
}


class Owners:
    """Climbs and remembers. One call at a time; within a call the reads run side by side."""

    def __init__(self, reader: Reader, *, workers: int = 4, timeout: float = 5.0) -> None:
        self._reader = reader
        self._workers = workers
        self._timeout = timeout
        self._climbs: dict[str, _Climb] = {}
        self._failures: dict[str, int] = {}
        self._plurals: dict[str, Mapping[str, tuple[str, bool]]] = {}
        self.problems: tuple[str, ...] = ()

    def roots(self, pods: Iterable[PodFacts], *, give_up: Callable[[], bool] = lambda: False) -> dict[str, Root]:
        """Pod UID -> root, for those that could be settled now; the others are worth asking for again.

        ``give_up`` says that no more reads should be begun in this call.
        """
        found: dict[str, Root] = {}
        asked: dict[str, tuple[str, OwnerRef]] = {}
        pods = list(pods)
        for pod in pods:
            if pod.owner is not None and pod.owner.uid not in self._climbs:
                asked[pod.owner.uid] = (pod.namespace, pod.owner)
        if asked:
            problems: set[str] = set()
            with ThreadPoolExecutor(self._workers, thread_name_prefix="owners") as pool:
                done = pool.map(lambda job: None if give_up() else self._try(job[0], job[1], problems), asked.values())
                for uid, climb in zip(asked, done, strict=True):
                    if climb is not None:
                        self._climbs[uid] = climb
                        self._failures.pop(uid, None)
            self.problems = tuple(sorted(problems))
        for pod in pods:
            if pod.owner is None:
                found[pod.uid] = Root("Pod", pod.name, pod.uid, {}, pod.created)
            elif pod.owner.uid in self._climbs:
                found[pod.uid] = self._climbs[pod.owner.uid].of(pod)
        return found

    def forget_all_but(self, owner_uids: set[str]) -> None:
        """Drop what is remembered about owners that no pod has any more."""
        self._climbs = {uid: climb for uid, climb in self._climbs.items() if uid in owner_uids}
        self._failures = {uid: count for uid, count in self._failures.items() if uid in owner_uids}

    def _try(self, namespace: str, ref: OwnerRef, problems: set[str]) -> _Climb | None:
        """One climb; None when the server failed and should be asked again."""
        try:
            return self._climb(namespace, ref)
        except ApiError as e:
            problems.add(f"owners could not be read: {e}")
            self._failures[ref.uid] = self._failures.get(ref.uid, 0) + 1
            if self._failures[ref.uid] < ATTEMPTS:
                return None
            root = Root(ref.kind, ref.name, ref.uid, {})
            return _Climb(root, complete=False, passed=frozenset({(ref.kind, ref.name)}))

    def _climb(self, namespace: str, ref: OwnerRef) -> _Climb:
        passed: set[tuple[str, str]] = set()
        root = Root(ref.kind, ref.name, ref.uid, {})
        for _ in range(MAX_DEPTH):
            passed.add((ref.kind, ref.name))
            try:
                meta = part(self._read(namespace, ref), "metadata")
            except ApiError as e:
                if e.status in (403, 404, 405, 406):
                    break
                raise
            if meta.get("uid") != ref.uid:  # another object has taken the name
                break
            root = Root(ref.kind, ref.name, ref.uid, texts(meta, "labels"), seconds(meta.get("creationTimestamp")))
            above = controller(meta)
            if above is None:
                return _Climb(root, complete=True)
            root = Root(above.kind, above.name, above.uid, {})
            ref = above
        return _Climb(root, complete=False, passed=frozenset(passed))

    def _read(self, namespace: str, ref: OwnerRef) -> Raw:
        base = f"/apis/{ref.api_version}" if "/" in ref.api_version else f"/api/{ref.api_version}"
        if base not in self._plurals:
            listed = self._reader.get(base, timeout=self._timeout)
            self._plurals[base] = {
                str(r.get("kind")): (str(r.get("name")), bool(r.get("namespaced")))
                for r in items(listed, "resources")
                if "/" not in str(r.get("name"))
            }
        plural, namespaced = self._plurals[base].get(ref.kind, ("", False))
        if not plural:
            raise ApiError(404, f"{ref.api_version} has no kind {ref.kind}")
        middle = f"/namespaces/{namespace}" if namespaced else ""
        return self._reader.get(f"{base}{middle}/{plural}/{ref.name}", accept=PARTIAL, timeout=self._timeout)
