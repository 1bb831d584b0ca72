"""A fake kubelet, which says that it is one: a real gRPC server (grpcio) with real protocol buffers on a unix socket.

Messages and field numbers are those of PodResources v1; protoc is not needed, since the descriptors are made here.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

STRING, INT, MESSAGE = 9, 3, 11

_MESSAGES: dict[str, dict[int, tuple[str, int | str, bool]]] = {
    "ListPodResourcesResponse": {1: ("pod_resources", "PodResources", True)},
    "PodResources": {
        1: ("name", STRING, False),
        2: ("namespace", STRING, False),
        3: ("containers", "ContainerResources", True),
    },
    "ContainerResources": {
        1: ("name", STRING, False),
        2: ("devices", "ContainerDevices", True),
        3: ("cpu_ids", INT, True),
        4: ("memory", "ContainerMemory", True),
        5: ("dynamic_resources", "DynamicResource", True),
    },
    "ContainerMemory": {1: ("memory_type", STRING, False), 2: ("size", INT, False)},
    "ContainerDevices": {
        1: ("resource_name", STRING, False),
        2: ("device_ids", STRING, True),
        3: ("topology", "TopologyInfo", False),
    },
    "TopologyInfo": {1: ("nodes", "NUMANode", True)},
    "NUMANode": {1: ("ID", INT, False)},
    "DynamicResource": {
        2: ("claim_name", STRING, False),
        3: ("claim_namespace", STRING, False),
        4: ("claim_resources", "ClaimResource", True),
    },
    "ClaimResource": {
        1: ("cdi_devices", "CDIDevice", True),
        2: ("driver_name", STRING, False),
        3: ("pool_name", STRING, False),
        4: ("device_name", STRING, False),
    },
    "CDIDevice": {1: ("name", STRING, False)},
    "AllocatableResourcesResponse": {
        1: ("devices", "ContainerDevices", True),
        2: ("cpu_ids", INT, True),
        3: ("memory", "ContainerMemory", True),
    },
}


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="v1", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, repeated) in fields.items():
            described = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                described.type, described.type_name = MESSAGE, f".v1.{kind}"
            else:
                described.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()


def encode(name: str, content: dict[str, Any]) -> bytes:
    """A message by its name, from what it would be in JSON (with the fields' own names)."""
    message = message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"v1.{name}"))()
    return json_format.ParseDict(content, message).SerializeToString()


class FakeKubelet:
    """Serves ``pods`` and ``allocatable`` devices. ``hangs`` never answers, ``disabled`` refuses the second call."""

    def __init__(
        self,
        socket: Path,
        pods: list[dict[str, Any]] | None = None,
        allocatable: list[dict[str, Any]] | None = None,
        *,
        hangs: bool = False,
        disabled: bool = False,
    ) -> None:
        self.pods = pods or []
        self.allocatable = allocatable or []
        self.hangs = hangs
        self.disabled = disabled
        self.stopping = threading.Event()
        self._threads = ThreadPoolExecutor(4)
        self._server = grpc.server(self._threads)
        handlers = {
            "List": grpc.unary_unary_rpc_method_handler(self._list),
            "GetAllocatableResources": grpc.unary_unary_rpc_method_handler(self._allocatable),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),)
        )
        self._server.add_insecure_port(f"unix:{socket}")

    def __enter__(self) -> FakeKubelet:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.stop(None).wait()
        self._threads.shutdown()

    def _list(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:
        if self.hangs:
            self.stopping.wait()
        return encode("ListPodResourcesResponse", {"pod_resources": self.pods})

    def _allocatable(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        if self.disabled:
            context.abort(grpc.StatusCode.UNKNOWN, "API GetAllocatableResources disabled")
        return encode("AllocatableResourcesResponse", {"devices": self.allocatable})
