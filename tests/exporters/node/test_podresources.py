"""Who holds which card, as a kubelet says it: over a real gRPC server, and as bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.node.holders import Holders, Holdings
from exporters.node.holding import Basis, Holding
from exporters.node.kubelet.podresources import LIST, holdings, is_gpu
from exporters.node.kubelet.unary import CallError, call
from exporters.node.kubelet.wire import WireError
from tests.exporters.node.fake_kubelet import FakeKubelet, encode

UUIDS = {"0": "GPU-aaaa", "1": "GPU-bbbb"}


def pod(name: str, *containers: dict[str, Any], namespace: str = "vision") -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "containers": list(containers)}


def plugin(resource: str, *ids: str) -> dict[str, Any]:
    topology = {"nodes": [{"ID": 1}]}
    return {"name": "main", "devices": [{"resource_name": resource, "device_ids": list(ids), "topology": topology}]}


def claim(driver: str, device: str) -> dict[str, Any]:
    resource = {
        "driver_name": driver,
        "pool_name": "n1",
        "device_name": device,
        "cdi_devices": [{"name": f"k8s.{driver}/claim=1"}],
    }
    return {"name": "main", "dynamic_resources": [{"claim_name": "c", "claim_resources": [resource]}]}


PODS = [
    pod("whole", plugin("nvidia.com/gpu", "GPU-aaaa", "GPU-bbbb")),
    pod("slice", plugin("nvidia.com/mig-1g.10gb", "MIG-6d0e")),
    pod("shared", plugin("nvidia.com/gpu.shared", "GPU-cccc::1", "GPU-cccc::2")),
    pod("by-index", plugin("nvidia.com/gpu", "3")),
    pod("odd", plugin("nvidia.com/gpu", "nvidia0/gi1/vgpu0")),
    pod("claimed", claim("gpu.nvidia.com", "gpu-1")),
    pod("claimed-slice", claim("gpu.nvidia.com", "gpu-0-mig-9-4-4")),
    pod("channel", claim("compute-domain.nvidia.com", "channel-0")),
    pod("cpu", {"name": "main", "cpu_ids": [1, 2, 300], "memory": [{"memory_type": "memory", "size": 1 << 40}]}),
    pod("nic", plugin("rdma/hca_shared_devices_a", "mlx5_0")),
    pod("bare"),
]

HELD = {
    ("vision/whole", "", "GPU-aaaa"),
    ("vision/whole", "", "GPU-bbbb"),
    ("vision/slice", "", "MIG-6d0e"),
    ("vision/shared", "", "GPU-cccc"),
    ("vision/by-index", "3", ""),
    ("vision/odd", "", ""),
    ("vision/claimed", "1", "GPU-bbbb"),
    ("vision/claimed-slice", "", ""),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "kubelet.sock"


def read(place: Path, timeout: float = 5.0) -> Holdings:
    away = str(place.parent / "away")
    return Holders(away, away, str(place), away, timeout).read(UUIDS)


def test_every_kind_of_device_is_told_with_its_owner(place: Path) -> None:
    with FakeKubelet(place, PODS):
        found = read(place)

    assert HELD == {(h.owner, h.gpu, h.uuid) for h in found.holdings}
    assert len(HELD) == len(found.holdings)
    assert {("kubernetes", Basis.PODRESOURCES, "main", "")} == {
        (h.scheduler, h.basis, h.container, h.pod_uid) for h in found.holdings
    }
    assert {"podresources": True} == found.sources


def test_what_the_kubelet_may_give_is_counted_by_resource(place: Path) -> None:
    devices = [
        {"resource_name": "nvidia.com/gpu", "device_ids": ["GPU-aaaa"]},
        {"resource_name": "nvidia.com/gpu", "device_ids": ["GPU-bbbb"]},
        {"resource_name": "rdma/ib", "device_ids": ["mlx5_0"]},
    ]
    with FakeKubelet(place, PODS, devices):
        assert {"nvidia.com/gpu": 2} == read(place).allocatable


def test_a_kubelet_without_the_second_call_still_tells_who_holds_what(place: Path) -> None:
    with FakeKubelet(place, PODS, disabled=True):
        found = read(place)

    assert (len(HELD), {"podresources": True}) == (len(found.holdings), found.sources)
    assert "API GetAllocatableResources disabled" in str(found.reasons)


def test_a_node_of_thousands_of_pods_is_read_whole(place: Path) -> None:
    many = [pod(f"p{i}" * 40, plugin("nvidia.com/gpu", f"GPU-{i:036d}")) for i in range(3000)]
    with FakeKubelet(place, many):
        found = read(place)

    assert 3000 == len(found.holdings)  # more than HTTP/2's first window of 64 KiB


def test_a_kubelet_that_hangs_is_given_up_in_time(place: Path) -> None:
    with FakeKubelet(place, PODS, hangs=True):
        found = read(place, timeout=0.2)

    assert ({"podresources": False}, ()) == (found.sources, found.holdings)
    # the kubelet is told the deadline, and may be the first to say that it has passed
    assert any(said in str(found.reasons) for said in ("no answer within 0.2 s", "DEADLINE_EXCEEDED"))


def test_a_machine_without_a_kubelet_has_nothing_to_tell(place: Path) -> None:
    assert Holdings() == read(place)


def test_a_socket_that_nobody_listens_on_is_said_to_be_so(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    found = read(place)

    assert {"podresources": False} == found.sources
    assert "Connection refused" in str(found.reasons)


def test_an_answer_beyond_the_limit_is_refused(place: Path) -> None:
    with FakeKubelet(place, PODS), pytest.raises(CallError, match="more than 100 bytes"):
        call(str(place), LIST, max_answer=100)


def test_a_service_that_is_not_there_is_said_to_be_so(place: Path) -> None:
    with FakeKubelet(place), pytest.raises(CallError, match="UNIMPLEMENTED"):
        call(str(place), "/v9.Nothing/List")


@pytest.fixture
def babbler(place: Path) -> Iterator[Path]:
    """A server that speaks something else."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 4)

        thread = threading.Thread(target=answer)
        thread.start()
        yield place
        thread.join()


def test_a_server_that_speaks_something_else_is_refused(babbler: Path) -> None:
    with pytest.raises(CallError):
        call(str(babbler), LIST, timeout=2)


def test_resources_that_are_no_cards_are_not_counted() -> None:
    names = [
        "nvidia.com/gpu",
        "nvidia.com/mig-3g.40gb",
        "amd.com/gpu",
        "nvidia.com/imex-channel",
        "vpc.amazonaws.com/efa",
    ]

    assert names[:3] == [name for name in names if is_gpu(name)]


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_refused(message: bytes) -> None:
    with contextlib.suppress(WireError):
        holdings(message, UUIDS)


@given(st.data())
def test_a_message_cut_off_anywhere_is_refused_or_says_less(data: st.DataObject) -> None:
    message = encode("ListPodResourcesResponse", {"pod_resources": PODS})
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    whole = {(h.owner, h.gpu, h.uuid) for h in holdings(message, UUIDS)}
    try:
        found = holdings(cut, UUIDS)
    except WireError:
        return

    assert {(h.owner, h.gpu, h.uuid) for h in found} <= whole


def test_fields_of_a_newer_kubelet_are_passed_over() -> None:
    newer = encode("ListPodResourcesResponse", {"pod_resources": PODS[:1]}) + b"\xf8\x01\x05\xfd\x01abcd\xfa\x01\x03new"

    assert [Holding("kubernetes", "vision/whole", Basis.PODRESOURCES, "", "GPU-aaaa", "", "main")] == holdings(
        newer, UUIDS
    )[:1]
