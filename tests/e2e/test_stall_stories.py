"""A job that stands still, and what only looks like it: through the exporter, under the shipped rules, in true time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from exporters.fabric_model import PortCounter, PortQuantity
from exporters.model import Field
from tests.e2e.virtual import VirtualSite, minutes, pages, whole

pytestmark = pytest.mark.server("prometheus")

BYTES = PortCounter(PortQuantity.RECEIVE_BYTES)
NAME = "RdmaJobStalled"
MACHINES = [f"gn{n:02}" for n in range(1, 5)]
Card = Mapping[Field, float]

TRAINING: Card = {
    Field.ENGINE_ACTIVE: 0.95,
    Field.TENSOR_ACTIVE: 0.4,
    Field.MEMORY_ACTIVE: 0.5,
    Field.POWER: 620.0,
}
SPINNING: Card = {Field.ENGINE_ACTIVE: 1.0, Field.TENSOR_ACTIVE: 0.0, Field.MEMORY_ACTIVE: 0.001, Field.POWER: 130.0}
WAITING: Card = {Field.ENGINE_ACTIVE: 0.0, Field.TENSOR_ACTIVE: 0.0, Field.MEMORY_ACTIVE: 0.0, Field.POWER: 75.0}


def only(card: Card, *fields: Field) -> Card:
    """A card whose exporter tells no more than these."""
    return {f: v for f, v in card.items() if f in fields}


def trained(site: VirtualSite, card: Card = TRAINING, length: float = 20, **rates: float) -> None:
    """A job that trained for a while, at 1 GB/s on every port."""
    site.rates = lambda _machine, device: {BYTES: rates.get(device, 1e9)}
    site.cards = lambda _machine: card
    site.run(length)


def hang(site: VirtualSite, card: Card = SPINNING, **rates: float) -> None:
    """It stops: keep-alives alone are left, but for what other devices carry."""
    site.rates = lambda _machine, device: {BYTES: rates.get(device, 1e3)}
    site.cards = lambda _machine: card


@pytest.fixture
def site() -> VirtualSite:
    site = VirtualSite(MACHINES)
    site.hold(*whole(101, *MACHINES))
    return site


def test_a_job_that_hangs_is_one_page_within_a_quarter_of_an_hour(site: VirtualSite) -> None:
    trained(site)
    hang(site)
    site.run(20)
    told = site.firing()

    assert {(NAME, "101@900")} == pages(told)
    assert 30 <= minutes(told, NAME)[0] <= 33


def test_an_exporter_that_restarts_before_it_is_told_does_not_forget(site: VirtualSite) -> None:
    trained(site)
    hang(site)
    site.run(5)
    site.restart()
    site.run(2, down=True)
    site.run(10)

    assert 30 <= minutes(site.firing(name=NAME), NAME)[0] <= 33


def test_an_exporter_that_restarts_while_it_hangs_resolves_nothing(site: VirtualSite) -> None:
    trained(site)
    hang(site)
    site.run(15)
    site.restart()
    site.run(3, down=True)
    site.run(25)
    told = minutes(site.firing(name=NAME), NAME)

    assert list(range(told[0], 64)) == told


def test_it_stays_told_for_as_long_as_it_hangs_and_no_longer(site: VirtualSite) -> None:
    trained(site)
    hang(site)
    site.run(120)
    trained(site, length=15)
    told = minutes(site.firing(every=300, name=NAME), NAME)

    assert list(range(35, 155, 5)) == told  # ten minutes longer than it hung: what flickers is one alert


@pytest.mark.parametrize("loud", [2e6, 5e8], ids=["a little", "much"])
def test_one_port_that_talks_hides_nothing(site: VirtualSite, loud: float) -> None:
    trained(site)
    hang(site)
    site.rates = lambda machine, _device: {BYTES: loud if machine == "gn02" else 1e3}
    site.run(15)

    assert {(NAME, "101@900")} == pages(site.firing(name=NAME))


def test_a_rail_to_storage_hides_nothing() -> None:
    site = VirtualSite(MACHINES, ("mlx5_0", "mlx5_1"))
    site.hold(*whole(101, *MACHINES))
    trained(site)
    hang(site, mlx5_1=4e8)
    site.run(15)

    assert {(NAME, "101@900")} == pages(site.firing(name=NAME))


def test_a_machine_whose_cards_are_not_read_hides_nothing(site: VirtualSite) -> None:
    trained(site)
    hang(site)
    site.cards = lambda machine: None if machine == "gn03" else SPINNING
    site.run(15)

    assert {(NAME, "101@900")} == pages(site.firing(name=NAME))


def test_processes_that_wait_without_spinning_stand_still_too(site: VirtualSite) -> None:
    trained(site)
    hang(site, WAITING)
    site.run(20)

    assert {(NAME, "101@900")} == pages(site.firing(name=NAME))


def test_on_shared_machines_where_another_job_drowns_the_silence_it_is_a_ticket() -> None:
    site = VirtualSite(MACHINES)
    half = {"milligpu": 4000}
    site.hold(*whole(101, *MACHINES, **half), *whole(102, *MACHINES, account="nlp", **half))
    indices = {101: (0, 1, 2, 3), 102: (4, 5, 6, 7)}
    site.hold(*((job, site.on(claim, indices[int(job.native_id)])) for job, claim in site.claims))
    trained(site)
    site.cards_of = lambda _machine, index: SPINNING if index < 4 else TRAINING
    site.run(25)
    told = site.firing(name=NAME)

    assert set() == pages(told)
    assert {"101@900"} == {f.labels["job_id"] for fired in told.values() for f in fired}
    assert {"warning"} == {f.severity for fired in told.values() for f in fired}


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ((Field.ENGINE_ACTIVE, Field.TENSOR_ACTIVE, Field.MEMORY_ACTIVE), "critical"),
        ((Field.ENGINE_ACTIVE, Field.TENSOR_ACTIVE, Field.POWER), "critical"),
        ((Field.ENGINE_ACTIVE, Field.TENSOR_ACTIVE), "warning"),
        ((Field.UTILIZATION, Field.POWER), "warning"),
    ],
)
def test_what_is_known_of_the_cards_makes_a_page_or_a_ticket(
    site: VirtualSite, fields: tuple[Field, ...], severity: str
) -> None:
    cards = [c | {Field.UTILIZATION: 1.0} for c in (TRAINING, SPINNING)]
    trained(site, only(cards[0], *fields))
    hang(site, only(cards[1], *fields))
    site.run(20)

    severities = {f.severity for fired in site.firing(name=NAME).values() for f in fired}
    assert severity == min(severities)  # the warning of a page is held back by it


def test_silence_alone_is_a_ticket_after_half_an_hour(site: VirtualSite) -> None:
    site.rates = lambda _machine, _device: {BYTES: 1e9}
    site.run(20)
    hang(site)
    site.cards = lambda _machine: None
    site.run(55)
    told = site.firing(every=300, name=NAME)

    assert ([], 60) == (minutes(told, NAME), minutes(told, NAME, "warning")[0])


# -- what only looks like it ------------------------------------------------------------------------------------------

HEALTHY: dict[str, Card] = {
    "FP64 on the vector cores": TRAINING | {Field.TENSOR_ACTIVE: 0.0, Field.FP64_ACTIVE: 0.6, Field.FP32_ACTIVE: 0.01},
    "FP32 out of registers": TRAINING
    | {Field.TENSOR_ACTIVE: 0.0, Field.MEMORY_ACTIVE: 0.001, Field.FP32_ACTIVE: 0.7, Field.FP64_ACTIVE: 0.0},
    "FP32 out of registers, with the default counters": TRAINING
    | {Field.TENSOR_ACTIVE: 0.0, Field.MEMORY_ACTIVE: 0.001},
    "a stencil, with memory told": {Field.ENGINE_ACTIVE: 1.0, Field.TENSOR_ACTIVE: 0.0, Field.MEMORY_ACTIVE: 0.7},
    "training without the network": TRAINING,
}


@pytest.mark.parametrize("card", HEALTHY)
def test_work_without_the_network_is_no_stall(site: VirtualSite, card: str) -> None:
    trained(site)
    hang(site, HEALTHY[card])
    site.run(40)

    assert {} == {at: fired for at, fired in site.firing(name=NAME).items() if fired}


@pytest.mark.parametrize("card", [SPINNING, WAITING], ids=["spinning", "waiting"])
def test_a_checkpoint_of_eight_minutes_is_no_stall(site: VirtualSite, card: Card) -> None:
    for _ in range(3):
        trained(site, length=12)
        hang(site, card)
        site.run(8)

    assert {} == {at: fired for at, fired in site.firing(name=NAME).items() if fired}


def test_an_exporter_that_comes_back_after_long_judges_nobody_by_half_a_minute(site: VirtualSite) -> None:
    trained(site)
    site.restart()
    site.run(60, down=True)
    hang(site)
    site.run(2)
    trained(site, length=10)

    assert {} == {at: fired for at, fired in site.firing(name=NAME).items() if fired}


def test_a_job_that_never_talked_and_one_on_one_machine_stand_still_for_nobody() -> None:
    site = VirtualSite(MACHINES)
    site.hold(*whole(101, "gn01", "gn02"), *whole(102, "gn03", account="nlp"))
    site.rates = lambda machine, _device: {BYTES: 1e9 if machine == "gn03" else 1e3}
    site.cards = lambda _machine: TRAINING
    site.run(20)
    hang(site)
    site.run(30)

    assert {} == {at: fired for at, fired in site.firing(name=NAME).items() if fired}


def test_a_new_job_on_machines_that_were_silent_is_not_judged_by_what_was_before() -> None:
    site = VirtualSite(MACHINES)
    hang(site)
    site.run(20)
    site.hold(*whole(101, *MACHINES))
    trained(site, length=2)
    hang(site)
    site.run(7)

    assert {} == {at: fired for at, fired in site.firing(name=NAME).items() if fired}
