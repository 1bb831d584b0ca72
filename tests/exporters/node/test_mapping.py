"""Which number Slurm has for a card: the driver's minor number, of AMD's cards the place of their render node."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporters.node.mapping import cards


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Machine:
    """A /sys and a /proc with cards in them, made for this test: no recording of an AMD machine was at hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/bus/pci/devices").mkdir(parents=True)

    def device(self, address: str, vendor: str, kind: str, render: str = "") -> None:
        folder = self.root / f"sys/devices/pci0000:00/{address}"
        folder.mkdir(parents=True)
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "class").write_text(f"{kind}\n")
        if render:
            (folder / "drm" / render).mkdir(parents=True)
            (folder / "drm" / "card7").mkdir()
        (self.root / "sys/bus/pci/devices" / address).symlink_to(folder)

    def told(self) -> dict[str, tuple[str, str]]:
        found = cards(str(self.root / "sys"), str(self.root / "proc"))
        return {card.place.address: (card.minor, card.uuid) for card in found}


MI300X, DISPLAY, H100 = "0x120000", "0x038000", "0x030200"


def test_amds_cards_are_numbered_by_their_render_nodes_not_by_their_addresses(machine: Machine) -> None:
    machine.device("0000:05:00.0", "0x1002", MI300X, "renderD130")
    machine.device("0000:26:00.0", "0x1002", MI300X, "renderD128")
    machine.device("0000:46:00.0", "0x1002", DISPLAY, "renderD131")
    machine.device("0000:00:02.0", "0x8086", DISPLAY, "renderD129")  # a graphics unit of the processor's
    machine.device("0000:03:00.0", "0x1a03", "0x030000")  # a management controller's screen
    machine.device("0000:47:00.0", "0x1002", "0x040300")  # AMD's, and no card

    assert {
        "0000:26:00.0": ("0", "0000:26:00.0"),
        "0000:05:00.0": ("1", "0000:05:00.0"),
        "0000:46:00.0": ("2", "0000:46:00.0"),
    } == machine.told()


def test_render_nodes_are_numbers_and_no_texts(machine: Machine) -> None:
    machine.device("0000:05:00.0", "0x1002", MI300X, "renderD1000")
    machine.device("0000:26:00.0", "0x1002", MI300X, "renderD999")

    assert ["1", "0"] == [machine.told()[address][0] for address in ("0000:05:00.0", "0000:26:00.0")]


def test_of_partitions_no_number_is_told(machine: Machine) -> None:
    """A card in CPX has eight render nodes, of which seven belong to platform devices: Slurm numbers partitions."""
    machine.device("0000:05:00.0", "0x1002", MI300X, "renderD128")
    (machine.root / "sys/bus/platform/devices/amdgpu_xcp_0").mkdir(parents=True)

    assert {"0000:05:00.0": ("", "0000:05:00.0")} == machine.told()


def test_beside_nvidias_cards_no_number_of_amds_is_told(machine: Machine) -> None:
    machine.device("0000:05:00.0", "0x1002", MI300X, "renderD128")
    machine.device("0000:19:00.0", "0x10de", H100, "renderD129")
    gpu = machine.root / "proc/driver/nvidia/gpus/0000:19:00.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("GPU UUID:        GPU-cccc\nDevice Minor:    2\n")

    assert {"0000:05:00.0": ("", "0000:05:00.0"), "0000:19:00.0": ("2", "GPU-cccc")} == machine.told()
