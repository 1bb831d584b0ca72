"""What a port is for: by the site's word, by what the agent tells of it, by what kind of port it is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exporters.fabric_model import Port, PortSample
from exporters.sources.fabric.roles import Facts, Name, Roles, Rule

FAST, SLOW = 5e10, 1.25e10


def samples(*devices: str, hosts: int = 2, slow: tuple[str, ...] = (), pci: str = "") -> list[PortSample]:
    return [
        PortSample(
            Port(f"gn{n:02}", device, "1", netdev=f"e{device}", pci_address=f"{pci}{device}"),
            (),
            1.0,
            True,
            SLOW if device in slow else FAST,
        )
        for n in range(1, hosts + 1)
        for device in devices
    ]


def roles(
    ports: list[PortSample], facts: Mapping[tuple[str, Name], Facts] | None = None, *rules: Rule
) -> dict[tuple[str, str], str]:
    return {(s.port.host, s.port.device): s.port.role for s in Roles(rules).of(ports, facts or {})}


def of_first(found: Mapping[tuple[str, str], str]) -> dict[str, str]:
    return {device: role for (host, device), role in found.items() if host == "gn01"}


def test_ports_of_which_nothing_is_said_are_for_compute() -> None:
    assert {"compute"} == set(roles(samples("mlx5_0", "mlx5_1")).values())


@pytest.mark.parametrize(
    "rule",
    [
        Rule("storage", devices=("mlx5_1",)),
        Rule("storage", devices=("*_1",), nodes=("gn*",)),
        Rule("storage", interfaces=("emlx5_1",)),
        Rule("storage", pci=("*5_1",)),
    ],
)
def test_a_site_says_what_a_port_is_for(rule: Rule) -> None:
    found = roles(samples("mlx5_0", "mlx5_1"), None, rule, Rule("management", devices=("*",), nodes=("gn02",)))

    assert {"mlx5_0": "compute", "mlx5_1": "storage"} == of_first(found)
    assert {("gn02", "mlx5_0"): "management", ("gn02", "mlx5_1"): "storage"}.items() <= found.items()


def test_all_patterns_of_a_rule_must_fit() -> None:
    rule = Rule("storage", devices=("mlx5_1",), nodes=("gn02",))

    assert {"mlx5_0": "compute", "mlx5_1": "compute"} == of_first(roles(samples("mlx5_0", "mlx5_1"), None, rule))


def test_ports_half_as_fast_on_all_machines_are_for_storage() -> None:
    found = roles(samples("mlx5_0", "mlx5_1", "mlx5_2", slow=("mlx5_2",)))

    assert {"mlx5_0": "compute", "mlx5_1": "compute", "mlx5_2": "storage"} == of_first(found)


def test_a_port_that_is_slow_on_one_machine_is_in_trouble_and_for_compute() -> None:
    one = samples("mlx5_0", "mlx5_1", hosts=1, slow=("mlx5_1",))
    two = [*one, *(s for s in samples("mlx5_0", "mlx5_1") if s.port.host == "gn02")]

    assert {"compute"} == set(roles(one).values()) | set(roles(two).values())


@pytest.mark.parametrize(("near", "far"), [("switch", "numa"), ("switch", ""), ("numa", "")])
def test_a_port_less_near_to_gpus_than_others_is_for_storage(near: str, far: str) -> None:
    facts = {
        (h, (d, "1")): Facts(near if d == "mlx5_0" else far) for h in ("gn01", "gn02") for d in ("mlx5_0", "mlx5_1")
    }

    assert {"mlx5_0": "compute", "mlx5_1": "storage"} == of_first(roles(samples("mlx5_0", "mlx5_1"), facts))


def test_the_default_route_leaves_by_a_port_for_management_unless_it_is_the_only_one() -> None:
    facts = {("gn01", ("mlx5_0", "1")): Facts(default_route=True)}

    assert {"mlx5_0": "management", "mlx5_1": "compute"} == of_first(roles(samples("mlx5_0", "mlx5_1"), facts))
    assert {"mlx5_0": "compute"} == of_first(roles(samples("mlx5_0"), facts))


def test_a_bond_beside_ports_that_are_none_is_for_storage_and_alone_for_compute() -> None:
    assert {"mlx5_0": "compute", "mlx5_bond_0": "storage"} == of_first(roles(samples("mlx5_0", "mlx5_bond_0")))
    assert {"mlx5_bond_0": "compute"} == of_first(roles(samples("mlx5_bond_0")))


def test_a_virtual_function_is_counted_by_its_physical_one_where_that_is_read() -> None:
    ports = samples("0", "7", pci="0000:18:00.")
    of = {("gn01", ("7", "1")): Facts(vf_of="0000:18:00.0"), ("gn02", ("7", "1")): Facts(vf_of="0000:9a:00.0")}

    found = roles(ports, of)

    assert ("virtual", "compute") == (found["gn01", "7"], found["gn02", "7"])


def test_what_the_agent_said_stays_known_while_it_is_not_read() -> None:
    facts = {(h, (d, "1")): Facts("switch" if d == "a" else "numa") for h in ("gn01", "gn02") for d in ("a", "b")}
    known = Roles()
    before = known.of(samples("a", "b"), facts)

    assert [s.port.role for s in before] == [s.port.role for s in known.of(samples("a", "b"), {})]
    assert "storage" in {s.port.role for s in before}


def test_a_site_may_say_that_a_machine_has_no_port_for_compute() -> None:
    assert {"storage"} == set(roles(samples("mlx5_0"), None, Rule("storage", devices=("*",))).values())
