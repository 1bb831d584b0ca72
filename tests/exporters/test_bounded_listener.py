"""A listener answers who asks, whatever others do to it: each test has somebody who does his worst."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from exporters.http.bounds import Bounds, share_of_descriptors
from exporters.http.server import Server
from exporters.http.wrong_tries import BURST, PER_SECOND, WrongTries

LONG = b"x" * (32 << 20)


async def healthy(_: Request) -> Response:
    return PlainTextResponse("healthy\n")


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def long(_: Request) -> Response:
    return Response(LONG)


APP = Starlette(routes=[Route("/-/healthy", healthy), Route("/length", length, methods=["POST"]), Route("/long", long)])
BRIEF = Bounds(head_seconds=0.5, body_seconds=0.5, stall_seconds=0.5)

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started = []

    def start(bounds: Bounds, app: object = APP, config_file: Path | None = None) -> Server:
        started.append(Server(app, "127.0.0.1:0", config_file, bounds=bounds))  # type: ignore[arg-type]
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


Connect = Callable[[Server], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with contextlib.ExitStack() as stack:

        def connected(server: Server) -> socket.socket:
            host, _, port = server.url.rpartition("//")[2].rpartition(":")
            return stack.enter_context(socket.create_connection((host, int(port)), timeout=10))

        yield connected


def said(connection: socket.socket) -> bytes:
    """What comes until the other side closes. Raises TimeoutError where it does not within ten seconds."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def is_healthy(server: Server, **client: object) -> bool:
    with httpx2.Client(timeout=10, **client) as asking:  # type: ignore[arg-type]
        return asking.get(server.url + "/-/healthy").text == "healthy\n"


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", b""),
        (b"GET / HT", b"HTTP/1.1 408"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-", b"HTTP/1.1 408"),
        (b"\r\n", b""),
        (b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", b""),
        (b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\nGET /", b"HTTP/1.1 200"),
    ],
)
def test_a_request_that_is_never_whole_is_closed(serve: Serve, connect: Connect, begun: bytes, status: bytes) -> None:
    connection = connect(serve(BRIEF))
    connection.sendall(begun)

    assert said(connection).startswith(status)


def test_bytes_that_drip_do_not_buy_time(serve: Serve, connect: Connect) -> None:
    connection, begun = connect(serve(BRIEF)), time.monotonic()
    with contextlib.suppress(OSError):  # closed while we drip
        while time.monotonic() - begun < 8:
            connection.sendall(b"\r\n")
            time.sleep(0.05)

    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("where", [b"GET /" + b"a" * 70_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000])
def test_headers_without_end_are_refused(serve: Serve, connect: Connect, where: bytes) -> None:
    connection = connect(serve(Bounds()))
    connection.sendall(where)

    assert said(connection).startswith(b"HTTP/1.1 431")


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(serve: Serve) -> None:
    server = serve(Bounds(body_bytes=1000))

    def post(content: object) -> tuple[int, str]:
        answer = httpx2.post(server.url + "/length", content=content)  # type: ignore[arg-type]
        return answer.status_code, answer.text

    assert post(b"x" * 1000) == (200, "1000")
    assert post(b"x" * 1001)[0] == 413
    assert post(iter([b"x" * 600, b"x" * 600]))[0] == 413


def test_the_connection_that_waits_longest_makes_room_and_a_request_under_way_does_not(
    serve: Serve, connect: Connect
) -> None:
    server = serve(Bounds(connections=8))
    idle = [connect(server) for _ in range(8)]
    half = connect(server)
    half.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n")
    for _ in range(4):
        connect(server)

    assert is_healthy(server)
    assert [said(connection) for connection in idle[:6]] == [b""] * 6


def test_a_reader_who_takes_nothing_is_closed(serve: Serve, connect: Connect) -> None:
    connection = connect(serve(BRIEF))
    connection.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(2)

    assert len(said(connection)) < len(LONG)


def test_a_slow_reader_gets_all_of_it(serve: Serve, connect: Connect) -> None:
    connection = connect(serve(Bounds(stall_seconds=5)))
    connection.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    taken = 0
    while part := connection.recv(1 << 20):
        taken += len(part)
        time.sleep(0.005)

    assert taken > len(LONG)


def test_health_is_answered_while_every_request_that_may_be_is_under_way(serve: Serve, connect: Connect) -> None:
    server = serve(Bounds(requests=2, body_seconds=20))
    waiting = [connect(server) for _ in range(2)]
    for connection in waiting:
        connection.sendall(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n")
    deadline = time.monotonic() + 10
    while httpx2.get(server.url + "/long").status_code != 503:
        assert time.monotonic() < deadline

    assert is_healthy(server)
    for connection in waiting:
        connection.sendall(b"abc")
    assert all(b"200 OK" in connection.recv(1000) for connection in waiting)
    assert httpx2.get(server.url + "/nothing").status_code == 404


def test_a_handshake_that_never_ends_makes_room(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "server.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    web = tmp_path / "web.yml"
    web.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}")
    server = serve(Bounds(connections=4), config_file=web)
    for _ in range(8):
        connect(server)

    assert is_healthy(server, verify=ssl.create_default_context(cafile=tmp_path / "ca.crt"))


STARVED = """
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import logging
logging.basicConfig(level="INFO")
from exporters.http.bounds import Bounds
from exporters.http.server import Server
from tests.exporters.test_bounded_listener import APP
server = Server(APP, "127.0.0.1:0", bounds=Bounds())
server.start()
held = [open("/dev/null") for _ in range(30)]
print(server.url, flush=True)
sys.stdin.read()
server.stop()
"""


def test_a_process_with_few_descriptors_answers_beside_three_hundred_who_say_nothing() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARVED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    host, _, port = url.rpartition("//")[2].rpartition(":")
    silent = []
    for _ in range(300):
        connection = socket.create_connection((host, int(port)), timeout=10)
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost")
        silent.append(connection)
    answer = httpx2.get(url + "/-/healthy", timeout=10).text
    for connection in silent:
        connection.close()
    _, log = process.communicate("", timeout=30)

    assert answer == "healthy\n"
    assert log.count("\n") < 1000


def test_a_listener_takes_a_quarter_of_the_descriptors_and_raises_the_soft_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # limits are the process's own: in one that ends here
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 400))
        os.write(write, f"{share_of_descriptors(Bounds(connections=512))}".encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 100) == b"100"
    assert share_of_descriptors(Bounds(connections=3)) == 3
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == hard
    assert soft <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_a_peer_has_a_handful_of_wrong_tries_and_one_every_other_second() -> None:
    now = [0.0]
    tries = WrongTries(lambda: now[0])
    burst = [tries.take("192.0.2.1") for _ in range(int(BURST) + 2)]
    other = tries.take("192.0.2.2")
    now[0] += 1 / PER_SECOND

    assert burst == [True] * int(BURST) + [False] * 2
    assert other
    assert [tries.take("192.0.2.1") for _ in range(2)] == [True, False]


def test_who_was_right_is_not_held_to_his_wrong_tries() -> None:
    tries = WrongTries(lambda: 0.0)
    for _ in range(int(BURST)):
        tries.take("::1")
    tries.give_back("::1")

    assert tries.take("::1")


def test_a_network_of_many_addresses_is_one_peer_and_peers_are_forgotten() -> None:
    tries = WrongTries(lambda: 0.0)
    taken = [tries.take(f"2001:db8::{n}") for n in range(1, 10)]
    for n in range(5000):
        tries.take(f"10.0.{n // 256}.{n % 256}")

    assert taken.count(True) == int(BURST)
    assert len(tries) <= 4096
