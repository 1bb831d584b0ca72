"""What slurmctld tells of one job, whichever form it was read from, and the nouns that follow. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporters.model import Claim, Demand, Job, JobKey, Node, NodeKey, Reject, Scheduler, Snapshot
from exporters.sources.shares import SHARED, by_count
from exporters.sources.slurm import gres, runs
from exporters.sources.slurm.gres import Cards
from exporters.sources.slurm.runs import Phase

SOURCE = "slurmctld"
RECORD_LIMIT = 65_536
"""Characters of a rejected record that are kept."""


PROBLEMS = 10
"""How many records that could not be used are told of in sentences."""


class FormError(ValueError):
    """What was printed as a whole does not have the form it should have."""


@dataclass(frozen=True, slots=True)
class LiveJob:
    """One job of the queue, as read. Times are epoch seconds, 0 when not set.

    ``states`` are the state word and its flags (``CANCELLED``, ``COMPLETING``). ``nodes`` are where it runs (while it
    completes: where it still does), ``node_count`` on how many it ran (some clients count those that are left of a
    completing job). ``detail`` is the GRES per node, in the order of ``nodes``, empty when unknown. ``tres`` is
    allocated, or requested while it waits; ``tasks`` how many tasks of an array wait in this one record. ``resize`` is
    when it was last resized, ``limit`` its time limit in seconds, None where it has none.
    """

    native_id: str
    display_id: str
    name: str
    user: str
    account: str
    partition: str
    qos: str
    states: tuple[str, ...]
    submit: int
    start: int
    resize: int = 0
    sluid: str = ""
    nodes: tuple[str, ...] = ()
    node_count: int = 0
    detail: tuple[str, ...] = ()
    tres: str = ""
    tasks: int = 1
    admin_comment: str = ""
    cluster: str = ""
    limit: int | None = None
    raw: str = field(default="", compare=False)


@dataclass(slots=True)
class Queue:
    """The nouns of a whole queue."""

    jobs: list[Job]
    claims: list[Claim]
    demands: list[Demand]
    rejects: list[Reject]


Slots = Mapping[str, Sequence[tuple[str, int, int]]]
"""What slots of each node share, by the node's name, as `exporters.model.Node` has it."""


def slots_of_nodes(nodes: Iterable[Node | Reject]) -> Slots:
    """What nodes tell of their slots."""
    found: dict[str, dict[tuple[str, int, int], None]] = {}
    for node in nodes:
        if isinstance(node, Node) and node.slots:
            found.setdefault(node.key.name, {}).update(dict.fromkeys(node.slots))
    return {name: [*slots] for name, slots in found.items()}


def nouns(
    items: Iterable[LiveJob | Reject], cluster: str, now: int, cluster_name: str = "", slots: Slots | None = None
) -> Queue:
    """The queue in nouns: jobs that hold or wait, per-node claims, demands. Ended jobs are history's, not told here.

    ``now`` is when the queue was read, in epoch seconds. ``cluster_name`` is the ClusterName of what is asked: a
    federation's clients may show jobs of its other members, which are theirs. ``slots`` are the nodes' own.
    """
    queue = Queue([], [], [], [])
    for item in items:
        if isinstance(item, Reject):
            queue.rejects.append(item)
            continue
        if item.cluster and cluster_name and item.cluster.lower() != cluster_name.lower():
            continue
        try:
            _add(queue, item, cluster, now, slots or {})
        except ValueError as error:
            queue.rejects.append(Reject(SOURCE, item.raw[:RECORD_LIMIT], f"job {item.native_id}: {error}"))
    return queue


def snapshot(queue: Queue, told: Iterable[Node | Reject], now: float) -> Snapshot:
    """What one poll says: a queue, and every node (never none)."""
    found = list(told)
    nodes = tuple(item for item in found if isinstance(item, Node))
    rejects = (*queue.rejects, *(item for item in found if isinstance(item, Reject)))
    if not nodes:
        raise FormError("it names no node")
    return Snapshot(
        at=now,
        jobs=tuple(queue.jobs),
        claims=tuple(queue.claims),
        demands=tuple(queue.demands),
        nodes=nodes,
        rejects=rejects,
        problems=tuple(reject.reason for reject in rejects[:PROBLEMS]),
    )


def unnamed(jobs: Iterable[LiveJob | Reject], busy: Collection[str]) -> tuple[bool, str]:
    """Whether a queue names too few of the jobs to which ``busy`` nodes give something, and that in a sentence.

    Jobs begin between the question for jobs and that for nodes: a few nodes of a busy cluster prove nothing. Raises
    `FormError` where the queue names no job on any node at all.
    """
    named = {node for job in jobs if isinstance(job, LiveJob) for node in job.nodes}
    without = sorted(set(busy) - named)
    if without and not named:
        raise FormError(
            f"no job is named, while {len(without)} nodes give resources to some ({without[0]}): may this user see all "
            "jobs (PrivateData)?"
        )
    if len(without) <= 2 + len(busy) // 10:
        return False, ""
    return True, (
        f"{len(without)} of {len(busy)} busy nodes ({', '.join(without[:3])} ...) have no job in the queue: may this "
        "user see all jobs (PrivateData)?"
    )


def phase_of(states: Sequence[str]) -> Phase:
    """What a state word and its flags mean together. Raises ValueError for words that mean nothing here."""
    if "REVOKED" in states:  # the sibling of a federated job that runs on another cluster: nothing waits here
        return Phase.ENDED
    phases = {runs.PHASES.get(word) for word in states} - {None}
    if not phases:
        raise ValueError(f"unknown job state {'+'.join(states)!r}: does this Slurm release have a new one?")
    if "COMPLETING" in states:  # whatever comes next (PENDING after a requeue): its cards are nobody else's yet
        return Phase.HOLDS
    if Phase.WAITS in phases:
        return Phase.WAITS
    return Phase.HOLDS if Phase.HOLDS in phases or "RESIZING" in states else Phase.ENDED


def _add(queue: Queue, item: LiveJob, cluster: str, now: int, slots: Slots) -> None:
    phase = phase_of(item.states)
    if phase is Phase.ENDED:
        return
    completing = "COMPLETING" in item.states
    # Of a job that was requeued and still completes, the start is already a guess at its next one.
    start = min(item.start, now) if completing else item.start
    began = max(start, item.resize)
    resized = phase is Phase.HOLDS and item.resize > start > 0
    submit = item.resize if resized else item.submit
    if submit <= 0:
        raise ValueError("it has no submit time")
    key = JobKey(Scheduler.SLURM, cluster, runs.run_id(item.native_id, submit, sluid=item.sluid, resized=resized))
    job = Job(
        key=key,
        native_id=item.native_id,
        display_id=item.display_id,
        name=item.name,
        user=item.user,
        account=item.account,
        partition=item.partition,
        qos=item.qos,
        state="COMPLETING" if completing else item.states[0],
        submit=submit,
        start=began if phase is Phase.HOLDS else None,
        limit=item.limit,
    )
    if phase is Phase.WAITS:
        milligpu = sum(cards.milligpu for cards in gres.cards_of(item.tres)) + _slots_asked(item.tres, slots)
        milligpu *= item.tasks
        if milligpu:
            queue.demands.append(Demand(key, milligpu, item.partition))
        queue.jobs.append(job)
        return
    if began <= 0:
        raise ValueError("it runs but has no start time")
    hands, assumed = _hands(item)
    keys = runs.bridge_keys(item.admin_comment)
    parts = (*runs.parts_on(cluster, hands), *_on_slots(item, cluster, slots))
    assumed = assumed or (not item.detail and len(item.nodes) > 1)
    queue.claims += runs.claims_of(key, item.native_id, parts, began, None, keys, split_assumed=assumed)
    queue.jobs.append(job)


def _slots_asked(tres: str, slots: Slots) -> int:
    """What a waiting job's slots are in milliGPU: its node is not known yet, so as little as on any that has them."""
    asked = 0
    for kind, count in gres.slots_in(gres.parse_tres(tres)).items():
        shares = (gres.shares_for(kind, found) for found in slots.values())
        asked += min((by_count(*share, count) for share in shares if share), default=0)
    return asked


def _on_slots(item: LiveJob, cluster: str, slots: Slots) -> Iterator[runs.Part]:
    """What the job has on each of its nodes of slots on their cards. Raises ValueError where a node tells of none."""
    if item.detail:
        told = [(node, gres.parse_slots(text)) for node, text in zip(item.nodes, item.detail, strict=True)]
    elif item.nodes and (shared := gres.slots_in(gres.parse_tres(item.tres))):
        dealt = runs.slots_on(cluster, item.nodes, shared)
        told = [(part.node.name, dict([gres.slots_of(part.profile) or ("", 0)])) for part in dealt]
    else:
        return
    for node, some in told:
        for kind, count in some.items():
            model = kind.partition(":")[2]
            shares = gres.shares_for(kind, slots.get(node, ()))
            if shares is None:
                raise ValueError(f"it holds {count} of {kind} on {node}, which does not tell how many it has")
            key = NodeKey(Scheduler.SLURM, cluster, node)
            yield runs.Part(key, by_count(*shares, count), model, SHARED, (), kind)


def _hands(item: LiveJob) -> tuple[list[tuple[str, Sequence[Cards]]], bool]:
    """What the job has on each of its nodes, and whether that is assumed from the total."""
    if item.detail:
        if len(item.detail) != len(item.nodes):
            raise ValueError(f"it has GRES details of {len(item.detail)} nodes but runs on {len(item.nodes)}")
        return [(node, gres.parse_gres(text)) for node, text in zip(item.nodes, item.detail, strict=True)], False
    cards = gres.cards_of(item.tres)
    if not cards or ("COMPLETING" in item.states and not item.nodes):
        return [], False
    if not item.nodes:
        raise ValueError("it holds cards but names no node")
    count = max(item.node_count, len(item.nodes), gres.nodes_in(item.tres))
    return list(zip(item.nodes, runs.deal(cards, count), strict=False)), count > 1
