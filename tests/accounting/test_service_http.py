"""The accounting service behind the listener that the exporter has, too: over a socket, with a password."""

from __future__ import annotations

import base64
import threading
import urllib.error
import urllib.request
from pathlib import Path

import bcrypt
from prometheus_client import CollectorRegistry

from accounting.service.app import create_service
from accounting.service.auth import Principal, Role, Tokens
from accounting.service.loop import Loop, Task
from accounting.statements import summary_csv
from exporters.http.server import Server
from tests.accounting.test_service import PencilBooks, digest
from tests.accounting.usages import PERIOD


def status(url: str, headers: dict[str, str]) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read()


def test_password_and_token_go_together_and_the_loop_lives_as_long_as_the_listener(tmp_path: Path) -> None:
    web = tmp_path / "web.yaml"
    web.write_text(f"basic_auth_users: {{site: '{bcrypt.hashpw(b'open', bcrypt.gensalt(4)).decode()}'}}\n")
    ran = threading.Event()
    loop = Loop([Task("ingest", 3600, ran.set)], CollectorRegistry())
    books, tokens = PencilBooks(), Tokens([(digest("admin-token"), Principal("finance", Role.ADMIN))])
    server = Server(create_service(books, tokens, loop), "127.0.0.1:0", web, lifespan=True)
    server.start()
    try:
        url = f"{server.url}/api/v1/statements/{PERIOD}/summary.csv"
        basic = {"Authorization": "Basic " + base64.b64encode(b"site:open").decode()}
        ingested = ran.wait(10)
        neither, password, token = (status(url, h) for h in ({}, basic, {"X-API-Key": "admin-token"}))
        both = status(url, basic | {"X-API-Key": "admin-token"})
    finally:
        server.stop()

    assert ingested
    assert [401, 401, 401] == [code for code, _ in (neither, password, token)]
    assert (200, "".join(summary_csv(books.statement(PERIOD))).encode()) == both
    assert not loop.alive
