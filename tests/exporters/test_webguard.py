from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import httpx2
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from exporters.http import web_guard
from exporters.http.server import Server
from exporters.http.web_config import WebConfig, WebConfigError


def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello)])


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def web_config(tmp_path: Path) -> Path:
    return tmp_path / "web.yml"


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the guard logged as errors."""
    told = [r for r in caplog.records if r.levelno == logging.ERROR and r.name == web_guard.__name__]
    return [r.message for r in told]


def rewrite(path: Path, text: str) -> None:
    """Replace a file the way a careful tool does: its content is never half there, and its inode changes."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


class Listener:
    """A running server behind a web-config file."""

    def __init__(self, web_config: Path) -> None:
        self.server = Server(APP, "127.0.0.1:0", web_config)
        self.server.start()

    def get(
        self, tls: ssl.SSLContext | None = None, auth: tuple[str, str] | None = None, **headers: str
    ) -> httpx2.Response:
        with httpx2.Client(verify=tls or False, auth=auth, headers=headers) as client:
            return client.get(self.server.url + "/")


Listen = Callable[[str], Listener]


@pytest.fixture
def listen(web_config: Path) -> Iterator[Listen]:
    started = []

    def start(text: str) -> Listener:
        web_config.write_text(text)
        started.append(Listener(web_config))
        return started[-1]

    yield start
    for listener in started:
        listener.server.stop()


def test_without_users_everybody_may_ask(listen: Listen) -> None:
    assert listen("").get().text == "hello"


def test_only_a_user_with_the_right_password_may_ask(listen: Listen) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}, other: {hashed('andere')}}}")
    answers = [
        listener.get(auth=auth).status_code
        for auth in (("prom", "secret"), ("other", "andere"), None, ("prom", "andere"), ("nobody", "secret"), ("", ""))
    ]

    assert answers == [200, 200, 401, 401, 401, 401]


def test_no_password_makes_somebody_of_nobody(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_guard, "_NOBODY", hashed("guessed").encode())
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")

    assert listener.get(auth=("nobody", "guessed")).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    ["Bearer cHJvbTpzZWNyZXQ=", "Basic", "Basic !!!", "Basic cHJvbQ==", "Basic /////w==", "Basic cHJvbTpzZWNyZXQ"],
)
def test_a_malformed_authorization_is_refused(listen: Listen, authorization: str) -> None:
    answer = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}").get(Authorization=authorization)

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="meterbridge"')


@pytest.mark.parametrize("password", ["", "ü" * 30, "x" * 100, "with:colon", "nul\0byte"])
def test_any_password_may_be_tried(listen: Listen, password: str) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")

    assert listener.get(auth=("prom", password)).status_code == 401


def test_a_password_that_was_checked_is_not_hashed_again(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = []
    real = bcrypt.checkpw
    monkeypatch.setattr(web_guard.bcrypt, "checkpw", lambda *a: checks.append(1) or real(*a))
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    for _ in range(5):
        listener.get(auth=("prom", "secret"))
        listener.get(auth=("prom", "wrong"))
        listener.get(auth=("nobody", "secret"))

    assert len(checks) == 3


def test_a_user_who_is_taken_out_is_refused_at_once(listen: Listen, web_config: Path) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}, other: {hashed('andere')}}}")
    before = listener.get(auth=("prom", "secret")).status_code
    rewrite(web_config, f"basic_auth_users: {{other: {hashed('andere')}}}")

    assert (before, listener.get(auth=("prom", "secret")).status_code) == (200, 401)


def test_a_changed_password_counts_at_once(listen: Listen, web_config: Path) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    listener.get(auth=("prom", "secret"))
    rewrite(web_config, f"basic_auth_users: {{prom: {hashed('fresh')}}}")

    assert [401, 200] == [listener.get(auth=("prom", p)).status_code for p in ("secret", "fresh")]


def test_a_change_that_cannot_be_used_is_said_once_and_the_last_good_state_stays(
    listen: Listen, web_config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    with caplog.at_level(logging.ERROR):
        rewrite(web_config, "basic_auth_users: {prom: plain}")
        answers = [listener.get(auth=a).status_code for a in (("prom", "secret"), ("prom", "plain"), None)]

    assert answers == [200, 401, 401]
    assert ["keeping the last good web config" in text for text in errors_of(caplog)] == [True]


def test_a_file_that_vanishes_leaves_the_last_good_state(
    listen: Listen, web_config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    with caplog.at_level(logging.ERROR):
        web_config.unlink()
        answers = [listener.get(auth=a).status_code for a in (("prom", "secret"), None)]

    assert answers == [200, 401]
    assert ["cannot be read" in text for text in errors_of(caplog)] == [True]


def test_configured_headers_are_on_every_answer(listen: Listen) -> None:
    listener = listen(
        f"http_server_config: {{headers: {{X-Frame-Options: deny}}}}\nbasic_auth_users: {{prom: {hashed('secret')}}}"
    )
    answers = [listener.get(auth=("prom", "secret")), listener.get()]

    assert [(200, "deny"), (401, "deny")] == [(a.status_code, a.headers["x-frame-options"]) for a in answers]


class Authority:
    """A certificate authority with files for a server and for a client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(folder / "ca.crt")

    def issue(self, name: str) -> None:
        cert = self.ca.issue_cert("127.0.0.1")
        cert.cert_chain_pems[0].write_to_path(self.folder / f"{name}.crt")
        cert.private_key_pem.write_to_path(self.folder / f"{name}.key")

    def trusting(self, client: str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        if client:
            context.load_cert_chain(self.folder / f"{client}.crt", self.folder / f"{client}.key")
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path)
    authority.issue("server")
    return authority


TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key"


def test_tls_is_spoken_with_the_files_beside_the_config(listen: Listen, authority: Authority) -> None:
    listener = listen(TLS + "}")

    assert listener.server.url.startswith("https://")
    assert listener.get(authority.trusting()).text == "hello"
    with pytest.raises(httpx2.HTTPError):
        httpx2.get(listener.server.url.replace("https", "http"))


def test_a_client_too_old_for_the_minimum_version_is_refused(listen: Listen, authority: Authority) -> None:
    listener = listen(TLS + ", min_version: TLS13}")
    old = authority.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    assert listener.get(authority.trusting()).text == "hello"
    with pytest.raises(httpx2.ConnectError):
        listener.get(old)


def test_a_client_without_a_certificate_is_refused_where_one_is_required(listen: Listen, authority: Authority) -> None:
    authority.issue("client")
    listener = listen(TLS + ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}")

    assert listener.get(authority.trusting("client")).text == "hello"
    with pytest.raises(httpx2.HTTPError):
        listener.get(authority.trusting())


def test_a_renewed_certificate_is_served_to_the_next_connection(listen: Listen, authority: Authority) -> None:
    listener = listen(TLS + "}")

    def serial() -> str:
        with httpx2.Client(verify=authority.trusting()) as client, client.stream("GET", listener.server.url) as answer:
            return answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()["serialNumber"]

    before = serial()
    authority.issue("server")

    assert before != serial()


def test_a_certificate_without_its_key_keeps_the_old_pair_until_both_are_there(
    listen: Listen, authority: Authority, web_config: Path
) -> None:
    listener = listen(TLS + "}")
    old_key = (authority.folder / "server.key").read_text()
    authority.issue("server")
    new_key = (authority.folder / "server.key").read_text()
    rewrite(authority.folder / "server.key", old_key)
    half = listener.get(authority.trusting()).text
    rewrite(authority.folder / "server.key", new_key)

    assert (half, listener.get(authority.trusting()).text) == ("hello", "hello")


def test_tls_cannot_be_dropped_by_a_change_of_the_file(
    listen: Listen, authority: Authority, web_config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen(TLS + "}")
    rewrite(web_config, "")

    assert listener.get(authority.trusting()).text == "hello"
    assert "TLS can only be switched on or off by a restart" in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TLS + "}", "No such file"),
        ("tls_server_config: {cert_file: web.yml, key_file: web.yml}", "tls_server_config"),
    ],
)
def test_files_that_are_missing_or_no_certificates_stop_the_start(web_config: Path, text: str, says: str) -> None:
    web_config.write_text(text)
    with pytest.raises(WebConfigError, match=says):
        Server(APP, "127.0.0.1:0", web_config)


def tried(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_many_wrong_passwords_neither_grow_the_memory_nor_make_it_forget_who_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checked = []
    monkeypatch.setattr(web_guard, "_matches", lambda password, _: checked.append(password) or password == b"secret")
    guarded = web_guard._Guarded(APP, web_guard.WebGuard(None))
    config = WebConfig(users={"prom": "hash"})

    async def ask(password: str, peer: str) -> int:
        refusal = await guarded._refusal(config, tried("prom", password), peer)
        return 200 if refusal is None else refusal.status_code

    async def try_many() -> list[int]:
        first = await ask("secret", "192.0.2.1")
        wrong = {await ask(str(n), f"10.0.{n // 256}.{n % 256}") for n in range(2 * web_guard._REMEMBERED)}
        return [first, *wrong, await ask("secret", "10.0.0.1")]

    assert asyncio.run(try_many()) == [200, 401, 200]
    assert checked.count(b"secret") == 1
    assert len(guarded._wrong) == web_guard._REMEMBERED


def test_who_guesses_is_refused_without_a_look_and_who_knows_is_let_in(
    listen: Listen, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checks = []
    real = bcrypt.checkpw
    monkeypatch.setattr(web_guard.bcrypt, "checkpw", lambda *a: checks.append(1) or real(*a))
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    known = listener.get(auth=("prom", "secret")).status_code
    guesses = [listener.get(auth=("prom", f"guess {n}")) for n in range(30)]

    assert {401, 429} == {answer.status_code for answer in guesses}
    assert guesses[-1].headers["retry-after"] == "2"
    assert len(checks) < 12
    assert known == listener.get(auth=("prom", "secret")).status_code == 200
    assert "127.0.0.1 tried too many wrong passwords" in caplog.text


@pytest.mark.parametrize("emptied", ["", "basic_auth_users: {}", "http_server_config: {headers: {}}"])
def test_authentication_cannot_be_switched_off_by_a_change_of_the_file(
    listen: Listen, web_config: Path, caplog: pytest.LogCaptureFixture, emptied: str
) -> None:
    listener = listen(f"basic_auth_users: {{prom: {hashed('secret')}}}")
    rewrite(web_config, emptied)

    assert [listener.get(auth=auth).status_code for auth in (None, ("prom", "secret"))] == [401, 200]
    assert "basic_auth_users can only be switched off by a restart" in caplog.text
