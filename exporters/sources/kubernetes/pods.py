"""Kubernetes, live: which pods hold which GPUs, and how each that ended came to its end.

One list and one watch each for pods, nodes and, where the API server has Dynamic Resource Allocation, ResourceClaims
and ResourceSlices; then nothing but events. A poll asks the server only for owners it has not met before. Kubernetes
keeps no history, so an end is repeated in ``ended`` until `Pods.acknowledge`, and with a ``resume_file`` the watch goes
on over a restart where it left off.

It needs the verbs get, list and watch on pods, nodes, namespaces, resourceclaims and resourceslices, and get on the
workloads that own pods (replicasets, deployments, jobs, ...). It reads no secret and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient

from exporters.model import Scheduler, Snapshot
from exporters.sources.base import Source
from exporters.sources.kubernetes.api import MAX_RESPONSE, Credentials, KubeApi, connect
from exporters.sources.kubernetes.owners import Owners
from exporters.sources.kubernetes.pod_facts import HoldFrom
from exporters.sources.kubernetes.slots.resources import NO_RULES, Resources
from exporters.sources.kubernetes.watch import resume
from exporters.sources.kubernetes.watch.collection import PAGE, WATCH_SECONDS
from exporters.sources.kubernetes.watch.informers import Informers
from exporters.sources.kubernetes.watch.snapshot import snapshot
from exporters.sources.kubernetes.watch.store import Store

OWNER_SECONDS = 10.0
"""How long one poll may go on asking for owners."""

SAVE_EVERY = 60.0
"""How often the resume point is written when only its position has moved. The server remembers about five minutes."""


class Pods(Source):
    """One Kubernetes cluster.

    ``kubeconfig`` None: the service account of the own pod; an ``api_client`` goes before both. ``hold_from``: when a
    pod begins to hold (`exporters.sources.kubernetes.pod_facts`). ``slurm_clusters`` maps the Slurm cluster names that
    labels use to the site's own (``""``: where a label names none). ``namespaces`` empty: all of them, by one watch.
    ``rules`` are the site's for resources of devices. ``max_response``: bytes of one page or one event beyond which it
    is refused. ``clock`` dates what the server does not; ``start_timeout`` is how long a poll waits for first lists.
    """

    name = "pods"
    scheduler: Scheduler | None = Scheduler.KUBERNETES

    def __init__(
        self,
        cluster: str,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        api_client: ApiClient | None = None,
        interval: float = 15.0,
        hold_from: HoldFrom = "scheduled",
        slurm_clusters: Mapping[str, str] | None = None,
        resume_file: Path | None = None,
        namespaces: Sequence[str] = (),
        max_response: int = MAX_RESPONSE,
        rules: Resources = NO_RULES,
        clock: Callable[[], float] = time.time,
        page: int = PAGE,
        watch_seconds: int = WATCH_SECONDS,
        pause: float = 1.0,
        start_timeout: float = 60.0,
    ) -> None:
        self.cluster = cluster
        self.interval = interval
        self._access = (kubeconfig, context, api_client)
        self._hold_from: HoldFrom = hold_from
        self._slurm_clusters = dict(slurm_clusters or {})
        self._resume_file = resume_file
        self._namespaces = tuple(namespaces)
        self._max_response = max_response
        self._rules = rules
        self._clock = clock
        self._reflecting: dict[str, Any] = {"page": page, "watch_seconds": watch_seconds, "pause": pause}
        self._start_timeout = start_timeout
        self._connected: _Connected | None = None

    def poll(self, now: float) -> Snapshot:
        """What is held at ``now``, and every end that has not been acknowledged.

        Raises `SourceError` while any of the watches is without an answer: what was known is then not fresh. Where only
        a part cannot be counted (an owner or a device that cannot be read), the snapshot is not ``complete`` and says
        so.
        """
        if self._connected is None:
            self._connected = self._connect()
        c = self._connected
        c.informers.fresh(self._start_timeout)
        deadline = time.monotonic() + OWNER_SECONDS
        c.store.put_roots(c.owners.roots(c.store.rootless(), give_up=lambda: time.monotonic() > deadline))
        c.owners.forget_all_but(c.store.owner_uids())
        before = c.informers.versions()  # events that come in from here on are read again after a restart
        notes = [*c.informers.notes(), *c.owners.problems, *c.notes]
        c.notes.clear()
        found = snapshot(c.store, now, notes)
        self._save(c, now, before)
        return found

    def acknowledge(self, at: float) -> None:
        """The snapshot of ``at`` (and any before it) has been kept: its ends and rejects are not told again.

        An end is told at least once: after a crash between keeping and saving it is told again, with the same identity.
        """
        if self._connected is not None:
            self._connected.store.acknowledge(at)

    def close(self) -> None:
        """End the watches and save the resume point. Safe to call twice."""
        c, self._connected = self._connected, None
        if c is not None:
            c.informers.close()
            self._save(c, self._clock(), c.versions, last=True)

    def _connect(self) -> _Connected:
        kubeconfig, context, client = self._access
        kept, problem = resume.Resume(self.cluster), ""
        if self._resume_file is not None:
            kept, problem = resume.load(self._resume_file, self.cluster)
        api = KubeApi(
            client or connect(kubeconfig, context),
            max_response=self._max_response,
            credentials=Credentials(kubeconfig, context) if kubeconfig and client is None else None,
        )
        store = Store(
            self.cluster,
            self._hold_from,
            self._slurm_clusters,
            kept.kept,
            self._namespaces or ("",),
            kept_at=kept.kept.seen or kept.saved,
            rules=self._rules,
        )
        informers = Informers(
            api, store, self._clock, namespaces=self._namespaces, since=kept.versions, **self._reflecting
        )
        return _Connected(store, informers, Owners(api), [problem] if problem else [], kept)

    def _save(self, c: _Connected, now: float, versions: Mapping[str, str], *, last: bool = False) -> None:
        """Keep the resume point when something changed, or its position has moved and is a minute old.

        ``last``: also when only the last sighting of what is held has moved: a pod that vanishes before the next life
        ends there.
        """
        if self._resume_file is None:
            return
        c.versions = dict(versions) or c.versions
        kept = c.store.kept()
        seen = last and kept.seen != c.saved.kept.seen
        if not seen and kept == c.saved.kept and (c.versions == c.saved.versions or now - c.saved.saved < SAVE_EVERY):
            return
        point = resume.Resume(self.cluster, now, c.versions, kept)
        try:
            resume.save(self._resume_file, point)
        except OSError as e:
            c.notes.append(f"resume file {self._resume_file} cannot be written: {e}; a restart may miss ends")
        else:
            c.saved = point


class _Connected:
    """What exists from the first poll to `Pods.close`."""

    def __init__(
        self, store: Store, informers: Informers, owners: Owners, notes: list[str], saved: resume.Resume
    ) -> None:
        self.store = store
        self.informers = informers
        self.owners = owners
        self.notes = notes
        self.saved = saved
        self.versions = saved.versions
