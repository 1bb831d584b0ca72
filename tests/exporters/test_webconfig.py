from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from exporters.http.web_config import Tls, WebConfig, WebConfigError, parse_web_config, read_web_config

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
FOLDER = Path("/etc/meterbridge")


def parse(text: str) -> WebConfig:
    return parse_web_config(text, FOLDER)


def test_the_whole_file_is_understood() -> None:
    config = parse(
        f"""
        tls_server_config:
          cert_file: server.crt
          key_file: /keys/server.key
          client_auth_type: RequireAndVerifyClientCert
          client_ca_file: clients.crt
          min_version: TLS13
          max_version: TLS13
          prefer_server_cipher_suites: false
        http_server_config:
          http2: true
          headers:
            X-Frame-Options: deny
        basic_auth_users:
          prometheus: {HASH}
        """
    )
    tls = Tls(
        FOLDER / "server.crt",
        Path("/keys/server.key"),
        FOLDER / "clients.crt",
        ssl.CERT_REQUIRED,
        ssl.TLSVersion.TLSv1_3,
        ssl.TLSVersion.TLSv1_3,
        prefer_server_cipher_suites=False,
    )

    assert WebConfig(tls, {"prometheus": HASH}, {"X-Frame-Options": "deny"}) == config


@pytest.mark.parametrize("text", ["", "{}", "basic_auth_users:", "http_server_config:\n  http2: false"])
def test_an_empty_file_guards_nothing(text: str) -> None:
    assert WebConfig() == parse(text)


def test_tls_is_at_least_1_2_by_default() -> None:
    tls = parse("tls_server_config: {cert_file: c, key_file: k}").tls

    assert tls is not None
    assert (ssl.TLSVersion.TLSv1_2, ssl.CERT_NONE) == (tls.min_version, tls.client_auth)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tls_server_conf: {}", "unknown key 'tls_server_conf'; did you mean tls_server_config"),
        ("rate_limit: {interval: 1s}", "rate_limit is not supported here"),
        ("- a", "is a mapping, not list"),
        ("a: b: c", "line 1"),
        ("basic_auth_users: {}\nbasic_auth_users: {}", "given before"),
        ("tls_server_config: {}", "cert_file is missing"),
        ("tls_server_config:", "cert_file is missing"),
        ("tls_server_config: {cert_file: c}", "key_file is missing"),
        ("tls_server_config: {cert_file: 5, key_file: k}", "cert_file is text, not 5"),
        ("tls_server_config: {cert_file: c, key_file: k, key_fil: k}", "did you mean key_file"),
        ("tls_server_config: {cert: PEM, key: PEM}", "cert is not supported here"),
        ("tls_server_config: {cert_file: c, key_file: k, cipher_suites: [x]}", "cipher_suites is not supported"),
        (
            "tls_server_config: {cert_file: c, key_file: k, client_ca_file: a}",
            "client_ca_file without a client_auth_type",
        ),
        (
            "tls_server_config: {cert_file: c, key_file: k, client_auth_type: RequireAndVerifyClientCert}",
            "needs a client_ca_file",
        ),
        (
            "tls_server_config: {cert_file: c, key_file: k, client_auth_type: VerifyClientCertIfGiven}",
            "VerifyClientCertIfGiven needs a client_ca_file",
        ),
        (
            "tls_server_config: {cert_file: c, key_file: k, client_ca_file: a, client_auth_type: NoClientCert}",
            "client_ca_file without a client_auth_type",
        ),
        (
            "tls_server_config: {cert_file: c, key_file: k, client_auth_type: RequireAnyClientCert}",
            "RequireAnyClientCert is not supported; one of NoClientCert",
        ),
        ("tls_server_config: {cert_file: c, key_file: k, min_version: TLS10}", "TLS10 is not supported"),
        ("tls_server_config: {cert_file: c, key_file: k, min_version: TLS13, max_version: TLS12}", "above max_version"),
        ("tls_server_config: {cert_file: c, key_file: k, prefer_server_cipher_suites: 1}", "true or false"),
        ("basic_auth_users: [a]", "mapping of user to bcrypt hash"),
        ("basic_auth_users: {1: x}", "1 is not a user name"),
        ("basic_auth_users: {'a:b': x}", "cannot hold a colon"),
        ("basic_auth_users: {bob: hunter2}", "basic_auth_users.bob is not a bcrypt hash; make one with: htpasswd"),
        (f"basic_auth_users: {{bob: {HASH[:-1]}}}", "not a bcrypt hash"),
        (f"basic_auth_users: {{bob: {HASH.replace('$10$', '$32$')}}}", "not a bcrypt hash"),
        ("http_server_config: {headers: {X-Powered-By: x}}", "unknown key 'X-Powered-By'"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "deny or sameorigin, not 'allow'"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nb"}}', "not one line of plain text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(WebConfigError, match=says) as error:
        parse(text)

    assert "hunter2" not in str(error.value)


def test_password_hashes_are_not_shown() -> None:
    assert HASH not in repr(parse(f"basic_auth_users: {{bob: {HASH}}}"))


def test_a_file_that_is_missing_or_binary_says_which(tmp_path: Path) -> None:
    with pytest.raises(WebConfigError, match=r"web config .*none\.yml cannot be read"):
        read_web_config(tmp_path / "none.yml")
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe")
    with pytest.raises(WebConfigError, match=r"binary\.yml cannot be read"):
        read_web_config(tmp_path / "binary.yml")


def test_one_version_may_be_the_only_one() -> None:
    tls = parse("tls_server_config: {cert_file: c, key_file: k, min_version: TLS13, max_version: TLS13}").tls

    assert tls is not None
    assert (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3) == (tls.min_version, tls.max_version)


def test_every_file_of_tls_is_watched() -> None:
    tls = Tls(Path("c"), Path("k"), Path("a"), ssl.CERT_OPTIONAL)

    assert (Path("c"), Path("k"), Path("a")) == tls.files()
    assert (Path("c"), Path("k")) == Tls(Path("c"), Path("k")).files()
