"""Kubernetes over the lab's Slurm nodes: a NodeSet pod that lends, a PyTorchJob inside a job, a bridge job's pod."""

from __future__ import annotations

import json
import time
from pathlib import Path

from tests.lab.kube_fake import NODE_PATH, POD_PATH, KubeFake, Object, node, pod

NAMESPACE = "pods"
"""Where the bridged pod and the PyTorchJob are."""

OWNERS = (
    ("slinky.slurm.net/v1beta1", "NodeSet", "slurmd", "uid-nodeset", "slurm"),
    ("kubeflow.org/v1", "PyTorchJob", "bert", "uid-bert", NAMESPACE),
)


class KubeOver:
    """The objects of one Kubernetes cluster whose nodes are gn01, gn02 and gn04; gn03 is Slurm's alone."""

    def __init__(self, kube: KubeFake, folder: Path) -> None:
        self.kube = kube
        self.kubeconfig = folder / "kubeconfig"
        user: Object = {"name": "u", "user": {}}
        cluster = {"name": "c", "cluster": {"server": kube.url}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        self.kubeconfig.write_text(
            json.dumps({"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "x"})
        )
        for version, kind, name, uid, namespace in OWNERS:
            plural = kind.lower() + "s"
            told = {"resources": [{"name": plural, "kind": kind, "namespaced": True}], "groupVersion": version}
            kube.others[f"/apis/{version}"] = {"kind": "APIResourceList", **told}
            meta = {"name": name, "namespace": namespace, "uid": uid}
            kube.others[f"/apis/{version}/namespaces/{namespace}/{plural}/{name}"] = {"metadata": meta}
        self.running: list[tuple[str, Object]] = []
        for name in ("gn01", "gn02", "gn04"):
            kube.put(NODE_PATH, node(name, 8))
        labels = {"nodeset.slinky.slurm.net/pod-hostname": "gn02", "slinky.slurm.net/cluster": "slinky"}
        self._owned(0, "slurmd-gn02", "gn02", 8, labels)

    def start(self, name: str, on: str, gpus: int, labels: dict[str, str], **more: object) -> None:
        """A pod is bound to a node now, and runs."""
        now = int(time.time())
        what = {"node": on, "gpus": gpus, "labels": labels, "namespace": NAMESPACE, **more}
        what |= {"created": now, "scheduled": now, "started": now}
        self.running.append((name, what))
        self.kube.put(POD_PATH, pod(name, **what))

    def inside(self, job: str) -> None:
        """A PyTorchJob that a Slurm job made, with the job's label on its two pods."""
        labels = {"meterbridge.io/slurm-job-id": job, "meterbridge.io/slurm-cluster": "lab"}
        for n in range(2):
            self._owned(1, f"bert-worker-{n}", "gn01", 1, labels)

    def _owned(self, owner: int, name: str, on: str, gpus: int, labels: dict[str, str]) -> None:
        version, kind, above, uid, namespace = OWNERS[owner]
        self.start(name, on, gpus, labels, owner=(kind, above, uid), owner_version=version, namespace=namespace)

    def bridged(self, job: str) -> None:
        """The pod of slurm-bridge's external job: six cards of the whole node that Slurm gave."""
        self.start("embed", "gn04", 6, {"scheduler.slinky.slurm.net/slurm-jobid": job})

    def finish(self) -> None:
        """All pods but the NodeSet's succeed now."""
        now = int(time.time())
        for name, what in self.running[1:]:
            self.kube.put(POD_PATH, pod(name, **what, finished=now))
