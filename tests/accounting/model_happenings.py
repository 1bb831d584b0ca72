"""What can happen at the model site, as values: ``happening`` draws them, and each is a function of the same name."""

from __future__ import annotations

from hypothesis import strategies as st

from exporters.model import LinkKey, LinkKind
from tests.accounting.model_cards import TELLINGS, things
from tests.accounting.model_site import HOUR, NODESET, SLICE, ModelSite, NodeTruth, Run

_number = st.integers(1, 3)
_pick = st.integers(0, 5)
_cards = st.sampled_from([1, 2, 2, 4])
_account = st.sampled_from(["vision", "nlp"])
_flag = st.booleans()


def submit(site: ModelSite, number: int, where: str, cards: int, account: str, start: bool) -> None:
    """A Slurm job, perhaps on several nodes with unequal shares, which history does not tell."""
    if site.busy(number) or (where == NODESET and site.nodeset() is None):
        return
    share = dict.fromkeys(where.split("+"), 1000 * cards)
    if "+" in where:
        share["n3"] = 1000
    site.submit(number, share, account, start=start)


def submit_without_cards(site: ModelSite, number: int, account: str) -> None:
    if not site.busy(number):
        site.submit(number, {}, account, start=True)


def _run(site: ModelSite, pick: int, *, waits: bool = False) -> Run | None:
    found = [r for r in site.runs if (r.end is None and r.start is None if waits else r.runs)]
    return found[pick % len(found)] if found else None


def start_run(site: ModelSite, pick: int) -> None:
    if run := _run(site, pick, waits=True):
        run.start, run.state = site.now, "RUNNING"


def end_run(site: ModelSite, pick: int, state: str) -> None:
    if run := _run(site, pick):
        site.end(run, state)


def cancel_waiting(site: ModelSite, pick: int) -> None:
    if run := _run(site, pick, waits=True):
        site.end(run, "CANCELLED by 0")


def requeue(site: ModelSite, pick: int, again: bool) -> None:
    if run := _run(site, pick):
        site.end(run, "REQUEUED")
        site.submit(run.number, dict(run.nodes), run.account, start=again)


def resize(site: ModelSite, pick: int, cards: int) -> None:
    if (run := _run(site, pick)) and run.nodes:
        site.end(run, "RESIZING")
        site.submit(run.number, {next(iter(run.nodes)): 1000 * cards}, run.account, start=True)


def suspend_or_resume(site: ModelSite, pick: int) -> None:
    if run := _run(site, pick):
        run.state = "RUNNING" if run.state == "SUSPENDED" else "SUSPENDED"


def bridge(site: ModelSite, number: int, cards: list[int], namespace: str, named: bool, labelled: bool) -> None:
    """slurm-bridge: an external job of the whole node, and its pods."""
    if site.busy(number):
        return
    run = site.submit(number, {"n1": 4000}, "bridge", start=True)
    keys = (LinkKey(LinkKind.SAME, "lab", str(number), "label"),) if labelled else ()
    made = [site.pod("n1", 1000 * c, namespace, *keys, owner=f"bridged-{run.submit}") for c in cards]
    if named or not labelled:
        run.names = tuple(LinkKey(LinkKind.SAME, "", f"{p.namespace}/{p.name}", "AdminComment") for p in made)


def unbridge(site: ModelSite, pick: int, late: bool) -> None:
    """The pods of an external job are done, and then it ends; or a pod is seen to end only later."""
    there = [r for r in site.runs if r.runs and r.account == "bridge"]
    if there:
        run = there[pick % len(there)]
        site.end(run, "CANCELLED by 64030")
        for pod in site.pods:
            if not late and pod.end is None and pod.owner == f"bridged-{run.submit}":
                pod.end = site.now


def inside(site: ModelSite, pick: int, cards: int, namespace: str, leave: bool) -> None:
    """A running job on n1 makes a pod that is inside it, if it fits; or it ends, and leaves the pod behind."""
    there = [r for r in site.runs if r.runs and "n1" in r.nodes]
    if there:
        run = there[pick % len(there)]
        site.pod("n1", 1000 * cards, namespace, LinkKey(LinkKind.INSIDE, "lab", str(run.number), "label"))
        if leave:
            site.end(run, "COMPLETED")


def keyed_pod(
    site: ModelSite, number: int, cards: int, node: str, cluster: str, kind: LinkKind, namespace: str
) -> None:
    """A PyTorchJob's pod that says it is inside a job, truly or not."""
    site.pod(node, 1000 * cards, namespace, LinkKey(kind, cluster, str(number), "label"))


def plain_pod(site: ModelSite, node: str, what: str, cards: int, namespace: str) -> None:
    if what == "slice":
        site.pod("n4", 148 if cards == 1 else 142, namespace, profile=SLICE)
    elif what == "shared":
        site.pod(node, 250 * cards, namespace, profile="shared")
    else:
        site.pod(node, 1000 * cards, namespace)


def stand_in(site: ModelSite, namespace: str) -> None:
    site.pod("vk1", 1000, namespace, LinkKey(LinkKind.STAND_IN, "lab", "", "label"))


def end_pod(site: ModelSite, pick: int, remains: bool) -> None:
    there = [p for p in site.pods if p.end is None and p is not site.nodeset()]
    if there:
        pod = there[pick % len(there)]
        pod.end, pod.remains = site.now, remains


def start_nodeset(site: ModelSite, node: str, cards: int) -> None:
    """The NodeSet's pod comes up, here or elsewhere than before."""
    if site.nodeset() is None:
        key = LinkKey(LinkKind.LENDS, "lab", NODESET, "label")
        site.pod(node, 1000 * cards, "slurm", key, owner="nodeset")
        site.slurm[NODESET] = NodeTruth(cards)


def stop_nodeset(site: ModelSite, kill: bool, remains: bool) -> None:
    if pod := site.nodeset():
        pod.end, pod.remains = site.now, remains
        for run in site.runs:
            if kill and run.runs and NODESET in run.nodes:
                site.end(run, "NODE_FAIL")


def drain_or_resume(site: ModelSite, name: str, counted: bool) -> None:
    if not site.slurm[name].up:
        site.resume_node(name)
    elif not any(e.key.name == name and e.start == site.now for e in site.events):
        site.drain(name, "bad fan", counted=counted)


def cordon_or_not(site: ModelSite, name: str) -> None:
    truth = site.kube[name]
    truth.up, truth.reason = not truth.up, "" if not truth.up else "cordoned"


def leave_or_join(site: ModelSite, name: str) -> None:
    truth = site.slurm[name] if name == "n3" else site.kube[name]
    truth.there = not truth.there


def change_cards(site: ModelSite, name: str, cards: int) -> None:
    (site.slurm if name == "n3" else site.kube)[name].cards = cards


def reslice(site: ModelSite) -> None:
    """A card of n4 is cut into MIG slices, or made whole."""
    site.kube["n4"].sliced = not site.kube["n4"].sliced


def tell_cards(site: ModelSite, pick: int, how: str) -> None:
    """What the live side tells of somebody's cards from now on: all, a part, nothing, or what is not so."""
    if there := things(site):
        site.tellings[there[pick % len(there)].unit] = how


def hide_or_show(site: ModelSite, pick: int) -> None:
    """A record reaches the scheduler's database late, or now. One that was told stays (`tests.hostile` has it lost)."""
    untold = [r for r in site.runs if not r.told]
    if untold:
        run = untold[pick % len(untold)]
        run.hidden = not run.hidden


def change_record(site: ModelSite, pick: int, back: int, milligpu: int) -> None:
    """Somebody mends the accounting database: another end, other cards."""
    done = [r for r in site.runs if r.start is not None and r.end is not None]
    if done:
        run = done[pick % len(done)]
        run.end = min(max(run.start or 0, (run.end or 0) - back * HOUR), site.now)
        run.note += 1
        if milligpu and run.nodes:
            run.nodes[next(iter(run.nodes))] = milligpu


def _of(name: str, *words: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.tuples(st.just(name), *words)


_states = st.sampled_from(["COMPLETED", "FAILED", "CANCELLED by 0", "TIMEOUT", "NODE_FAIL"])
_clusters = st.sampled_from(["lab", "lab", "other", ""])
_kinds = st.sampled_from([LinkKind.INSIDE, LinkKind.INSIDE, LinkKind.SAME])

happening = st.one_of(
    _of("submit", _number, st.sampled_from(["n1", "n3", NODESET, "n1+n3"]), _cards, _account, _flag),
    _of("submit", _number, st.sampled_from(["n1", NODESET]), _cards, _account, st.just(True)),
    _of("submit_without_cards", _number, _account),
    _of("start_run", _pick),
    _of("end_run", _pick, _states),
    _of("cancel_waiting", _pick),
    _of("requeue", _pick, _flag),
    _of("resize", _pick, _cards),
    _of("suspend_or_resume", _pick),
    _of("bridge", _number, st.lists(st.sampled_from([1, 2]), min_size=1, max_size=2), _account, _flag, _flag),
    _of("bridge", _number, st.just([2]), st.just("vision"), _flag, st.just(True)),
    _of("unbridge", _pick, _flag),
    _of("inside", _pick, st.sampled_from([1, 2]), _account, st.just(False)),
    _of("inside", _pick, st.sampled_from([1, 2]), _account, _flag),
    _of("keyed_pod", _number, _cards, st.sampled_from(["n1", "n1", "n2"]), _clusters, _kinds, _account),
    _of(
        "plain_pod",
        st.sampled_from(["n1", "n2", "n4"]),
        st.sampled_from(["cards", "slice", "shared"]),
        _cards,
        _account,
    ),
    _of("stand_in", _account),
    _of("end_pod", _pick, _flag),
    _of("end_pod", _pick, _flag),
    _of("start_nodeset", st.sampled_from(["n2", "n4"]), st.sampled_from([1, 2])),
    _of("stop_nodeset", _flag, _flag),
    _of("drain_or_resume", st.sampled_from(["n1", "n3"]), _flag),
    _of("cordon_or_not", st.sampled_from(["n1", "n2", "n4"])),
    _of("leave_or_join", st.sampled_from(["n3", "n4", "n2"])),
    _of("change_cards", st.sampled_from(["n3", "n2"]), st.sampled_from([2, 4])),
    _of("reslice"),
    _of("tell_cards", _pick, st.sampled_from(TELLINGS)),
    _of("hide_or_show", _pick),
    _of("change_record", _pick, st.integers(-6, 6), st.sampled_from([0, 0, 1000])),
)
