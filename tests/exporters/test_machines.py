"""Which nodes are one machine: by the pod that is the node, by what either side tells, by configuration, by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.join.machines import Machines, Rule, machines_of
from exporters.model import Claim, Node, NodeKey, Scheduler
from exporters.sources.hostnames import short_name
from tests.exporters.records import lends, pod, run

SLURM, KUBE = Scheduler.SLURM, Scheduler.KUBERNETES


def slurm(name: str, *hostnames: str, cluster: str = "hpc1") -> Node:
    return Node(NodeKey(SLURM, cluster, name), 8000, True, "h100", hostnames=hostnames)


def kube(name: str, *hostnames: str, cluster: str = "prod") -> Node:
    return Node(NodeKey(KUBE, cluster, name), 8000, True, "h100", hostnames=hostnames)


def resolve(
    *nodes: Node, claims: Iterable[Claim] = (), rule: Rule = "short_name", names: Mapping[str, str] | None = None
) -> dict[str, str]:
    machines = machines_of(nodes, claims, rule=rule, names=names)
    return {str(n.key): machines.at(n.key, 0) for n in nodes}


def one(*nodes: Node, rule: Rule = "short_name", names: Mapping[str, str] | None = None) -> str:
    """The machine that all these nodes are."""
    (machine,) = set(resolve(*nodes, rule=rule, names=names).values())
    return machine


# the rule


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("gn01", "gn01"),
        ("GN01.cluster.example", "gn01"),
        ("001.rack.example", "001"),
        ("10.0.0.7", "10.0.0.7"),
        ("fd00::7", "fd00::7"),
        ("ip-10-0-0-7.ec2.internal", "ip-10-0-0-7"),
    ],
)
def test_a_short_name_ends_at_the_first_dot_and_an_address_has_none(name: str, short: str) -> None:
    assert short == short_name(name)


def test_nodes_of_both_schedulers_with_the_same_short_name_are_one_machine() -> None:
    assert "gn01" == one(slurm("gn01"), kube("GN01.cluster.example"))


def test_by_full_name_they_are_two() -> None:
    apart = resolve(slurm("gn01"), kube("GN01.cluster.example"), rule="full_name")

    assert ["gn01", "gn01.cluster.example"] == sorted(apart.values())


# what either side tells


def test_the_bridges_label_on_a_kubernetes_node_names_its_slurm_node() -> None:
    assert "ip-10-0-0-7" == one(slurm("gpu-a-003"), kube("ip-10-0-0-7.ec2.internal", "gpu-a-003"))


def test_the_operators_comment_on_a_slurm_node_names_its_kubernetes_node() -> None:
    assert "k01" == one(slurm("h100-001", "k01"), kube("k01.cluster.example"))


def test_a_slurm_node_whose_host_name_a_kubernetes_node_has_as_a_label_is_that_node() -> None:
    assert "worker-7" == one(slurm("h100-001", "gn01.cluster.example"), kube("worker-7", "gn01"))


def test_the_best_name_a_slurm_node_tells_is_tried_first() -> None:
    nodes = (slurm("h100-001", "k01", "k02"), kube("k01"), kube("k02"))

    assert "k01" == resolve(*nodes)["slurm/hpc1/h100-001"]


def test_a_host_name_that_no_kubernetes_node_has_leads_nowhere() -> None:
    assert "h100-001" == resolve(slurm("h100-001", "login1"))["slurm/hpc1/h100-001"]


def test_what_is_told_goes_before_the_rule() -> None:
    nodes = (slurm("gn01"), kube("gn01"), kube("k02", "gn01"))

    assert "k02" == resolve(*nodes)["slurm/hpc1/gn01"]


@given(st.permutations([kube("a", "gn01"), kube("b", "gn01"), slurm("gn01"), slurm("gn02", "b", "a"), kube("gn02")]))
def test_the_order_in_which_nodes_are_told_does_not_matter(nodes: list[Node]) -> None:
    told = [kube("a", "gn01"), kube("b", "gn01"), slurm("gn01"), slurm("gn02", "b", "a"), kube("gn02")]

    assert resolve(*told) == resolve(*nodes)


# configuration


def test_a_configured_name_wins_over_everything() -> None:
    names = {"slurm/hpc1/gn01": "Rack7-U3"}

    assert "rack7-u3" == resolve(slurm("gn01", "k01"), kube("k01", "gn01"), names=names)["slurm/hpc1/gn01"]


def test_a_configured_name_in_other_letter_case_is_the_same_machine() -> None:
    assert "gn01" == one(slurm("node1"), kube("gn01"), names={"slurm/hpc1/node1": "GN01"})


def test_a_configured_name_is_not_cut_at_a_dot_so_it_can_tell_namesakes_apart() -> None:
    names = {"slurm/east/n1": "n1.east", "slurm/west/n1": "n1.west"}
    nodes = (slurm("n1", cluster="east"), slurm("n1", cluster="west"))

    assert ["n1.east", "n1.west"] == sorted(resolve(*nodes, names=names).values())


def test_a_slurm_node_follows_the_kubernetes_node_it_tells_of_to_its_configured_name() -> None:
    assert "rack7-u3" == one(slurm("h100-001", "k01"), kube("k01"), names={"kubernetes/prod/k01": "rack7-u3"})


# names that may mean two machines


def problems(*nodes: Node, rule: Rule = "short_name", names: Mapping[str, str] | None = None) -> tuple[str, ...]:
    return machines_of(nodes, (), rule=rule, names=names).problems


def test_namesakes_in_two_clusters_of_one_scheduler_are_a_problem_that_says_how_to_mend_it() -> None:
    (problem,) = problems(slurm("n1", cluster="east"), slurm("n1", cluster="west"), slurm("n2"), kube("n1"))

    assert problem == (
        "slurm/west/n1 has the name of another Slurm cluster's node, n1, and is taken for a machine of its own, "
        "west/n1: if they are one machine, say so under machines.names"
    )


@pytest.mark.parametrize(
    ("clusters", "places"), [((), ["n1", "west/n1"]), (["west"], ["east/n1", "n1"]), (["x", "east"], ["n1", "west/n1"])]
)
def test_namesakes_of_two_slurm_clusters_are_two_machines_and_the_first_cluster_has_the_name(
    clusters: Sequence[str], places: list[str]
) -> None:
    nodes = [slurm("n1", cluster="west"), slurm("n1", cluster="east"), kube("n1")]
    machines = machines_of(nodes, (), clusters=clusters)

    assert [*places, "n1"] == [machines.static(n.key) for n in sorted(nodes[:2], key=lambda n: n.key.cluster)] + [
        machines.static(nodes[2].key)
    ]


def test_nodes_that_differ_only_after_the_dot_are_a_problem_that_full_names_solve() -> None:
    nodes = (kube("n1.rack1"), kube("n1.rack2"))

    assert problems(*nodes)[0].endswith("which machine each is, or set machines.match to full_name")
    assert () == problems(*nodes, rule="full_name")


def test_namesakes_that_somebody_decided_about_are_no_problem() -> None:
    names = {"slurm/east/n1": "n1", "slurm/west/n1": "n1"}

    assert () == problems(slurm("n1", cluster="east"), slurm("n1", cluster="west"), names=names)


def test_several_slurm_nodes_on_one_host_that_both_sides_tell_of_are_no_problem() -> None:
    assert () == problems(slurm("gn01", "host1"), slurm("gn02", "host1"), kube("host1"))


def test_namesakes_that_a_kubernetes_node_tells_of_are_still_a_problem() -> None:
    nodes = (slurm("n1", cluster="east"), slurm("n1", cluster="west"), kube("n1", "n1"))

    assert 1 == len(problems(*nodes))


def test_namesakes_that_are_pods_are_no_problem_since_each_is_where_its_pod_is() -> None:
    nodes = (slurm("worker-0", cluster="east"), slurm("worker-0", cluster="west"))
    pods = [pod(c, 8000, 0, None, lends("worker-0", c), node=f"k-{c}") for c in ("east", "west")]

    assert () == machines_of(nodes, pods).problems


# NodeSet pods


def slinky(*pods: tuple[str, int, int | None], cluster: str = "hpc1") -> Machines:
    """Slurm node h100-001 as pods on Kubernetes nodes, each ``(node, start, end)``."""
    claims = [pod(f"worker-{n}", 8000, a, b, lends("h100-001", cluster), node=k) for n, (k, a, b) in enumerate(pods)]
    return machines_of([slurm("h100-001")], claims)


NODE = NodeKey(SLURM, "hpc1", "h100-001")


def test_a_slurm_node_is_where_its_pod_runs() -> None:
    machines = slinky(("K01.example", 100, None))

    assert [("k01", 100, 900)] == machines.resolve(NODE, 100, 900)
    assert "k01" == machines.at(NODE, 100.7)
    assert "h100-001" == machines.at(NodeKey(SLURM, "hpc2", "h100-001"), 100)


def test_a_slurm_node_moves_with_its_pod_and_waits_where_it_was_in_between() -> None:
    machines = slinky(("k01", 100, 200), ("k02", 260, 400), ("k01", 400, None))

    assert [("k01", 0, 260), ("k02", 260, 400), ("k01", 400, 900)] == machines.resolve(NODE, 0, 900)
    assert [("k01", 199, 260), ("k02", 260, 261)] == machines.resolve(NODE, 199, 261)
    assert [("k02", 300, 301)] == machines.resolve(NODE, 300, 301)


def test_a_pod_that_replaces_another_on_the_same_machine_changes_nothing() -> None:
    assert [("k01", 0, 900)] == slinky(("k01", 100, 200), ("k01", 230, None)).resolve(NODE, 0, 900)


def test_its_cards_are_there_only_while_a_pod_is() -> None:
    machines = slinky(("k01", 100, 200), ("k01", 200, 230), ("k02", 260, 400))

    assert [("k01", 100, 230), ("k02", 260, 400)] == machines.stays(NODE, 0, 900)
    assert [("k01", 150, 230), ("k02", 260, 300)] == machines.stays(NODE, 150, 300)
    assert [] == machines.stays(NODE, 500, 900)


def test_any_other_nodes_cards_stay() -> None:
    assert [("gn09", 0, 900)] == slinky().stays(NodeKey(SLURM, "hpc1", "gn09"), 0, 900)


def test_a_pod_that_names_no_cluster_is_the_node_of_that_name() -> None:
    assert "k01" == slinky(("k01", 0, None), cluster="").at(NODE, 5)


def test_a_pod_of_another_cluster_is_not() -> None:
    assert "h100-001" == slinky(("k01", 0, None), cluster="hpc2").at(NODE, 5)


def test_a_configured_slurm_node_does_not_move() -> None:
    claims = [pod("worker-0", 8000, 0, None, lends("h100-001"), node="k01")]
    machines = machines_of([slurm("h100-001")], claims, names={"slurm/hpc1/h100-001": "gn77"})

    assert [("gn77", 0, 900)] == machines.resolve(NODE, 0, 900) == machines.stays(NODE, 0, 900)


def test_a_kubernetes_node_of_the_same_name_does_not_move_with_the_pod() -> None:
    assert "h100-001" == slinky(("k01", 0, None)).at(NodeKey(KUBE, "prod", "h100-001"), 5)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.integers(1, 40)), max_size=5),
    st.integers(0, 150),
    st.integers(0, 60),
)
def test_the_stretches_of_a_node_partition_the_time_asked_for(
    pods: list[tuple[str, int, int]], start: int, length: int
) -> None:
    machines = slinky(*((k, a, a + n) for k, a, n in pods))

    stretches = machines.resolve(NODE, start, start + length)
    stays = machines.stays(NODE, start, start + length)

    seconds = [(m, t) for m, a, b in stretches for t in range(a, b)]
    assert list(range(start, start + length)) == [t for _, t in seconds]
    assert all(before[0] != after[0] for before, after in pairwise(stretches))
    assert {(m, t) for m, a, b in stays for t in range(a, b)} <= set(seconds)


# claims


def test_a_claim_is_split_where_its_node_moves_and_an_open_end_stays_open() -> None:
    machines = slinky(("k01", 0, 200), ("k02", 200, None))

    placed = machines.place(run(18, 8000, 100, None, node="h100-001"), now=300)

    assert [("k01", 100, 200), ("k02", 200, None)] == [(m, c.start, c.end) for m, c in placed]


def test_a_claim_of_no_length_is_placed_too() -> None:
    machines = slinky(("k01", 0, 200), ("k02", 200, None))

    assert [("k02", 200, 200)] == [
        (m, c.start, c.end) for m, c in machines.place(run(18, 8000, 200, 200, node="h100-001"), 300)
    ]
    assert [("gn09", 5, 5)] == [(m, c.start, c.end) for m, c in machines.place(run(18, 8000, 5, 5), 300)]


def test_a_claim_that_begins_after_now_is_placed_where_its_node_will_be() -> None:
    assert [("gn09", 500, None)] == [(m, c.start, c.end) for m, c in slinky().place(run(18, 8000, 500), now=300)]


def test_a_node_of_another_scheduler_does_not_move_with_the_pod_though_its_cluster_has_the_same_name() -> None:
    node = kube("h100-0", cluster="hpc1")

    assert "h100-0" == machines_of([node], [pod("worker-0", 8000, 0, None, lends("h100-0"), node="k01")]).at(
        node.key, 5
    )


def test_of_two_kubernetes_nodes_that_have_a_slurm_nodes_name_it_is_the_last_in_whatever_order() -> None:
    told = slurm("gn01"), kube("k01", "gn01"), kube("k02", "gn01")

    for nodes in (told, told[::-1]):
        assert "k02" == resolve(*nodes)["slurm/hpc1/gn01"]
