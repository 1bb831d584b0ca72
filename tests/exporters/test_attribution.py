"""The live join: who holds which card, and that every pool adds up to its capacity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.attribution import attribute, host_names, nodes_up
from exporters.join.machines import machines_of
from exporters.join.shard import Shard
from exporters.join.site_picture import Picture, Reading
from exporters.model import Claim, Demand, Disposition, Field, Job, LinkKey, LinkKind, Node, NodeKey, Sample
from tests.exporters import world as w

NOW = 2000.0


def join(
    claims: list[Claim],
    nodes: list[Node],
    samples: tuple[Sample, ...] = (),
    jobs: list[Job] | None = None,
    *,
    slurm_fresh: bool = True,
    kube_fresh: bool = True,
) -> Picture:
    readings = [
        Reading(
            scheduler,
            cluster,
            fresh,
            [j for j in jobs or [] if j.key.scheduler is scheduler],
            [c for c in claims if c.job.scheduler is scheduler],
            [n for n in nodes if n.key.scheduler is scheduler],
        )
        for scheduler, cluster, fresh in ((w.SLURM, "lab", slurm_fresh), (w.KUBE, "k1", kube_fresh))
    ]
    readings.append(Reading(None, "", True, samples=samples))
    machines = machines_of(nodes, claims)
    return attribute(readings, machines, {}, grace=60, now=NOW)


def summed(picture: Picture) -> dict[Disposition, int]:
    sums = dict.fromkeys(Disposition, 0)
    for held in picture.held:
        sums[held.disposition] += held.milligpu
    for disposition, milligpu in picture.rest.values():
        sums[disposition] += milligpu
    return {d: v for d, v in sums.items() if v}


def test_a_plain_job_holds_its_cards_and_the_rest_is_idle() -> None:
    job = w.slurm_job(18)

    picture = join([w.slurm_claim(job, "gn01", 2000, (2, 3))], [w.slurm_node("gn01")])

    assert {Disposition.CHARGED: 2000, Disposition.IDLE: 6000} == summed(picture)
    assert (2, 3) == picture.held[0].cards


def test_jobs_inside_a_nodeset_pod_are_counted_and_the_pods_rest_is_reserved() -> None:
    job, nodeset = w.slurm_job(18), w.pod_job("worker", "slurm")
    claims = [w.slurm_claim(job, "h100-0", 3000, (0, 1, 2)), w.pod_claim(nodeset, "k01", 8000, w.lends("h100-0"))]

    picture = join(claims, [w.slurm_node("h100-0"), w.kube_node("k01")])

    assert {Disposition.CHARGED: 3000, Disposition.RESERVED: 5000} == summed(picture)
    assert {"k01"} == {machine for machine, _ in picture.capacity}


def test_a_bridged_jobs_pods_pay_and_the_whole_node_remainder_stays_on_the_job() -> None:
    job, pod = w.slurm_job(6001), w.pod_job("solo", "vision")
    claims = [w.slurm_claim(job, "gn05", 8000), w.pod_claim(pod, "gn05", 2000, w.same(job))]

    picture = join(claims, [w.slurm_node("gn05"), w.kube_node("gn05")])

    held = {h.claim.job: h.milligpu for h in picture.held}
    assert {pod.key: 2000, job.key: 6000} == held


def test_pods_inside_a_job_are_shown_under_it_and_its_unused_cards_are_orphaned() -> None:
    job, pod = w.slurm_job(5120), w.pod_job("bert", "vision")
    claims = [w.slurm_claim(job, "gn09", 8000, tuple(range(8))), w.pod_claim(pod, "gn09", 5000, w.inside(job))]

    picture = join(claims, [w.slurm_node("gn09"), w.kube_node("gn09")])

    assert {job.key: 8000} == {h.claim.job: h.milligpu for h in picture.held}
    assert [(pod.key, job.key)] == [(h.claim.job, h.outer.job) for h in picture.shown if h.outer]
    assert {job.key: 3000} == picture.orphaned


def test_a_key_to_a_job_that_is_not_on_the_node_is_disputed_with_its_reason() -> None:
    job, pod = w.slurm_job(4711), w.pod_job("sneaky")
    claims = [w.slurm_claim(job, "gn01", 8000), w.pod_claim(pod, "gn14", 2000, w.inside(job))]

    picture = join(claims, [w.slurm_node("gn01"), w.kube_node("gn14")])

    disputed = [h for h in picture.held if h.disposition is Disposition.DISPUTED]
    assert [(pod.key, 2000)] == [(h.claim.job, h.milligpu) for h in disputed]
    assert "no run of Slurm job 4711" in disputed[0].reason


def test_the_same_known_card_in_two_hands_is_disputed_even_when_the_node_has_room() -> None:
    job, pod = w.slurm_job(18), w.pod_job("vllm")
    claims = [w.slurm_claim(job, "gn01", 2000, (2, 3)), w.pod_claim(pod, "gn01", 1000)]
    readings = w.samples("gn01", NOW, {}, pods={3: (("llm", "vllm-0", ""),)}, jobs={2: ("18",), 3: ("18",)})

    picture = join(claims, [w.slurm_node("gn01"), w.kube_node("gn01")], readings)

    assert {Disposition.CHARGED: 1000, Disposition.DISPUTED: 1000, Disposition.IDLE: 6000} == summed(picture)


def test_what_a_stale_scheduler_could_have_placed_is_unknown_not_idle() -> None:
    picture = join([], [w.slurm_node("gn01"), w.kube_node("gn01")], kube_fresh=False)

    assert {Disposition.UNKNOWN: 8000} == summed(picture)


def test_a_node_is_down_only_when_no_scheduler_would_use_it() -> None:
    both = join([], [w.slurm_node("gn01", up=False), w.kube_node("gn01", up=False)])
    one = join([], [w.slurm_node("gn01", up=False), w.kube_node("gn01")])

    assert {Disposition.DOWN: 8000} == summed(both)
    assert {Disposition.IDLE: 8000} == summed(one)


def test_the_free_rest_of_a_lender_is_down_when_its_slurm_node_is() -> None:
    nodeset = w.pod_job("worker", "slurm")

    picture = join(
        [w.pod_claim(nodeset, "k01", 8000, w.lends("h100-0"))], [w.slurm_node("h100-0", up=False), w.kube_node("k01")]
    )

    assert {Disposition.DOWN: 8000} == summed(picture)


def test_a_job_on_a_machine_without_known_capacity_is_not_lost() -> None:
    job = w.slurm_job(18)

    picture = join([w.slurm_claim(job, "gn99", 2000)], [])

    assert [("gn99", job.key)] == [(machine, c.job) for machine, c in picture.unplaced]


def test_a_card_inside_a_lender_is_the_jobs_though_the_exporter_labels_it_with_the_pod() -> None:
    job, nodeset = w.slurm_job(18), w.pod_job("worker", "slurm")
    labels = dict.fromkeys(range(8), (("slurm", "worker-0", ""),))
    claims = [w.slurm_claim(job, "h100-0", 2000, (4, 5)), w.pod_claim(nodeset, "k01", 8000, w.lends("h100-0"))]

    picture = join(
        claims,
        [w.slurm_node("h100-0"), w.kube_node("k01")],
        w.samples("k01", NOW, {Field.POWER: 300.0}, pods=labels),
    )

    owners = {u.sample.index: [c.job for c, _ in u.shares] for u in picture.cards}
    assert {4: [job.key], 5: [job.key]} == {i: o for i, o in owners.items() if o}


def test_two_pods_on_one_time_sliced_card_share_its_reading() -> None:
    a, b = w.pod_job("a"), w.pod_job("b")
    claims = [w.pod_claim(j, "gn08", 500, profile="shared") for j in (a, b)]
    labels = {0: (("llm", "a-0", ""), ("llm", "b-0", ""))}

    picture = join(claims, [w.kube_node("gn08", 1000)], w.samples("gn08", NOW, {}, count=1, pods=labels))

    assert {a.key: 500, b.key: 500} == {c.job: m for c, m in picture.cards[0].shares}


def test_evidence_for_more_cards_than_the_claim_holds_is_not_used() -> None:
    pod = w.pod_job("vllm")
    labels = dict.fromkeys(range(4), (("llm", "vllm-0", ""),))

    picture = join([w.pod_claim(pod, "gn01", 2000)], [w.kube_node("gn01")], w.samples("gn01", NOW, {}, pods=labels))

    assert () == picture.held[0].cards


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_claims_that_do_not_fit_the_later_has_to_explain_itself_to_the_earlier(order: int) -> None:
    early, late = w.pod_job("early"), w.pod_job("late")
    claims = [w.pod_claim(early, "k01", 5000, start=1000), w.pod_claim(late, "k01", 5000, start=1001)]

    picture = join(claims[::order], [w.kube_node("k01")])

    told = [(h.claim.job, h.disposition, h.milligpu, h.opponent and h.opponent.job, h.reason) for h in picture.held]
    assert [
        (early.key, Disposition.CHARGED, 3000, None, ""),
        (late.key, Disposition.CHARGED, 3000, None, ""),
        (late.key, Disposition.DISPUTED, 2000, early.key, ""),
    ] == sorted(told, key=lambda row: (row[1], row[0]))


def test_a_card_in_dispute_is_in_nobodys_hands() -> None:
    job, pod = w.slurm_job(18), w.pod_job("vllm")
    claims = [w.slurm_claim(job, "gn01", 2000, (2, 3)), w.pod_claim(pod, "gn01", 1000)]
    readings = w.samples("gn01", NOW, {}, pods={3: (("llm", "vllm-0", ""),)}, jobs={2: ("18",), 3: ("18",)})

    picture = join(claims, [w.slurm_node("gn01"), w.kube_node("gn01")], readings)

    rows = [(job_id, gpu) for _, _, job_id, _, gpu, _, _ in picture.card_rows]
    assert [(job.key.id, "2"), (job.key.id, "3")] == rows


def test_what_pods_leave_unused_of_their_job_is_summed_over_its_machines() -> None:
    job, pod = w.slurm_job(5120), w.pod_job("bert", "vision")
    machines = {"gn01": 5000, "gn02": 6000}
    claims = [w.slurm_claim(job, name, 8000) for name in machines]
    claims += [w.pod_claim(pod, name, used, w.inside(job), pod=name) for name, used in machines.items()]

    picture = join(claims, [w.slurm_node(name) for name in machines])

    assert {job.key: 3000 + 2000} == picture.orphaned


def test_a_claim_on_nothing_is_held_by_nobody_and_misses_no_machine() -> None:
    job, pod, lent = w.slurm_job(18), w.pod_job("none"), w.pod_job("lent")
    nothing = [w.pod_claim(pod, "k01", 0, w.inside(job)), w.pod_claim(pod, "k99", 0), w.slurm_claim(job, "k01", 0)]

    picture = join([*nothing, w.pod_claim(lent, "k01", 500, profile="shared")], [w.kube_node("k01")])

    assert [lent.key] == [h.claim.job for h in picture.held]
    assert () == picture.shown
    assert () == picture.unplaced


def test_an_external_job_all_of_whose_cards_are_its_pods_is_not_shown_inside_anything() -> None:
    job, pod, stand_in = w.slurm_job(6001), w.pod_job("solo", "vision"), w.pod_job("wlm", "vision")
    key = LinkKey(LinkKind.STAND_IN, "lab", job.native_id, "node label type=virtual-kubelet")
    claims = [
        w.slurm_claim(job, "gn05", 8000),
        w.pod_claim(pod, "gn05", 8000, w.same(job)),
        w.pod_claim(stand_in, "gn05", 2000, key),
    ]

    picture = join(claims, [w.slurm_node("gn05"), w.kube_node("gn05")])

    assert {pod.key: 8000} == {h.claim.job: h.milligpu for h in picture.held}
    assert () == picture.shown


@pytest.mark.parametrize("stale", [True, False])
def test_the_rest_of_a_lender_is_none_of_a_kubernetes_cluster_that_is_named_as_the_slurm_cluster(stale: bool) -> None:
    nodeset = w.pod_job("worker", "slurm")
    claim = w.pod_claim(nodeset, "k01", 8000, w.lends("h100-0"))
    host = NodeKey(w.KUBE, "lab", "h100-0")
    other = Node(host, 8000, up=stale, model="h100")

    picture = join([replace(claim, node=host)], [w.slurm_node("h100-0"), other], kube_fresh=not stale)

    assert Disposition.RESERVED in summed(picture)


def test_a_node_without_cards_says_nothing_of_a_machines_cards() -> None:
    stale = join([], [w.slurm_node("gn01"), w.kube_node("gn01", 0)], kube_fresh=False)
    up = join([], [w.slurm_node("gn01", up=False), w.kube_node("gn01", 0)])

    assert {Disposition.IDLE: 8000} == summed(stale)
    assert {Disposition.DOWN: 8000} == summed(up)


def test_a_machine_takes_work_where_one_of_its_nodes_does_of_a_scheduler_that_was_read_lately() -> None:
    up, down = w.slurm_node("a"), w.slurm_node("b", up=False)
    place = ("m", "slurm", "lab")

    assert {place: True} == nodes_up({"m": [(up, True), (down, True)]})
    assert {place: True} == nodes_up({"m": [(down, True), (up, True)]})
    assert {place: False} == nodes_up({"m": [(down, True), (up, False)]})
    assert {} == nodes_up({"m": [(up, False)]})


def test_a_host_name_is_known_in_any_letters_and_one_of_two_machines_names_neither() -> None:
    nodes = [
        w.slurm_node("gn01", hostnames=("IP-10-0-0-1", "localhost")),
        w.slurm_node("GN02", hostnames=("localhost",)),
    ]

    names = host_names(nodes, machines_of(nodes, []))

    assert {"gn01": "gn01", "ip-10-0-0-1": "gn01", "gn02": "gn02"} == names


def test_a_reading_is_on_the_machine_that_its_host_names_or_by_rule_on_one_of_that_name() -> None:
    nodes = [w.slurm_node("gn01", hostnames=("ip-10-0-0-1",))]
    hosts = ("IP-10-0-0-1", "GN02.cluster.example", "10.0.0.9")
    readings = tuple(s for host in hosts for s in w.samples(host, NOW, {Field.POWER: 300.0}, count=1))

    picture = join([], [*nodes, w.slurm_node("gn02"), w.slurm_node("10.0.0.9")], readings)

    assert ["10.0.0.9", "gn01", "gn02"] == [use.machine for use in picture.cards]


def test_a_shard_joins_its_own_machines_alone() -> None:
    wide, here, there = (w.slurm_job(n) for n in (1, 2, 3))
    claims = [w.slurm_claim(wide, m, 1000, (0,)) for m in ("gn01", "gn04")]
    claims += [w.slurm_claim(here, "gn04", 1000, (1,)), w.slurm_claim(there, "gn01", 1000, (1,))]
    nodes = [w.slurm_node("gn01"), w.slurm_node("gn04")]
    readings = [Reading(w.SLURM, "lab", True, (), claims, nodes)]

    picture = attribute(readings, machines_of(nodes, claims), {}, grace=60, now=NOW, shard=Shard(0, 2))

    assert {"gn04"} == {h.machine for h in picture.held}
    assert {wide.key, here.key} == {h.claim.job for h in picture.held}
    assert {("gn04", "slurm", "lab")} == picture.nodes_up.keys()


def test_what_several_hold_of_one_machine_is_added_up_under_each_word() -> None:
    first, second = w.pod_job("first"), w.pod_job("second")

    picture = join([w.pod_claim(first, "k01", 2000), w.pod_claim(second, "k01", 1000)], [w.kube_node("k01")])

    assert {"charged": 3000, "idle": 5000} == {word: n for (_, _, word), n in picture.node_rows if n}
    assert 6 == len(picture.node_rows)


def test_a_card_that_is_cut_by_mig_is_named_by_its_own_reading() -> None:
    job = w.slurm_job(18)
    card = w.samples("gn01", NOW, {Field.POWER: 1.0}, count=1)[0]
    instance = replace(card, uuid="MIG-x", mig_instance="7")

    picture = join([w.slurm_claim(job, "gn01", 1000, (0,))], [w.slurm_node("gn01")], (card, instance))

    assert ["GPU-gn01-0"] == [row[5] for row in picture.card_rows]


def test_jobs_that_wait_are_told_by_the_first_shard_alone() -> None:
    demand = Demand(w.slurm_job(9).key, 16000)
    readings = [Reading(w.SLURM, "lab", True, demands=[demand])]

    told = [
        attribute(readings, machines_of([], []), {}, grace=60, now=NOW, shard=shard).demands
        for shard in (Shard(), Shard(0, 2), Shard(1, 2))
    ]

    assert [(demand,), (demand,), ()] == told


amounts = st.integers(min_value=1, max_value=9).map(lambda n: n * 1000)


@given(
    st.lists(st.tuples(st.booleans(), amounts, st.integers(0, 2)), max_size=6),
    st.booleans(),
    st.permutations(range(6)),
)
def test_every_pool_adds_up_to_its_capacity_in_any_order(
    wanted: list[tuple[bool, int, int]], lender: bool, order: list[int]
) -> None:
    claims = []
    for n, (slurm, milligpu, cards) in enumerate(wanted):
        if slurm:
            claims.append(w.slurm_claim(w.slurm_job(n), "gn01", milligpu, tuple(range(min(cards, milligpu // 1000)))))
        else:
            keys: tuple[LinkKey, ...] = (w.lends("gn01"),) if lender and n == 0 else ()
            claims.append(w.pod_claim(w.pod_job(f"p{n}"), "gn01", milligpu, *keys))
    nodes = [w.slurm_node("gn01"), w.kube_node("gn01")]

    picture = join(claims, nodes)
    shuffled = join([claims[i] for i in order if i < len(claims)], nodes)

    assert 8000 == sum(summed(picture).values())
    assert picture.held == shuffled.held
