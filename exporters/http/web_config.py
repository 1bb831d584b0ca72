"""TLS and basic auth in Prometheus' web-config file format, re-read when it changes.

    tls_server_config:
      cert_file: server.crt
      key_file: server.key
      client_auth_type: RequireAndVerifyClientCert
      client_ca_file: clients.crt
      min_version: TLS13
    basic_auth_users:
      prometheus: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG

The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there), so one file serves every exporter
of a site. What a Python server cannot do is refused by name, never silently ignored: a listener that is less safe than
its file says would be the worst outcome.
"""

from __future__ import annotations

import difflib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import bcrypt

from exporters import strict_yaml
from exporters.errors import EXIT_USAGE, OperatorError

T = TypeVar("T")

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_HEADERS: Mapping[str, tuple[str, ...]] = {  # and the values allowed, where the format limits them
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_BCRYPT = re.compile(r"\$2[aby]\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")

_TOP = ("tls_server_config", "http_server_config", "basic_auth_users")
_TLS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "min_version",
    "max_version",
    "prefer_server_cipher_suites",
)
_UNSUPPORTED = (
    "rate_limit",
    "cert",
    "key",
    "client_ca",
    "client_allowed_sans",
    "cipher_suites",
    "curve_preferences",
)


class WebConfigError(OperatorError):
    """The web-config file cannot be used. The message names the file, the key, and how to mend it."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class Tls:
    """``tls_server_config``, with absolute paths."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    prefer_server_cipher_suites: bool = True

    def files(self) -> tuple[Path, ...]:
        """Every file that this refers to."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path)

    def context(self) -> ssl.SSLContext:
        """A server's context. Raises OSError (ssl.SSLError is one) when a file is missing or not what it should be."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version, context.maximum_version = self.min_version, self.max_version
        context.load_cert_chain(self.cert_file, self.key_file)
        if self.prefer_server_cipher_suites:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
        context.verify_mode = self.client_auth
        return context


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says. Password hashes are not shown."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_web_config(text: str, folder: Path, name: str = "web config") -> WebConfig:
    """The file's content; relative paths in it are below ``folder``. Raises `WebConfigError`."""
    try:
        document = strict_yaml.read(text)
    except strict_yaml.YamlError as error:
        raise WebConfigError(f"{name}: {error}") from error
    top = _section(name, document, _TOP)
    return WebConfig(
        tls=_tls(f"{name}: tls_server_config", top["tls_server_config"], folder)
        if "tls_server_config" in top
        else None,
        users=_users(f"{name}: basic_auth_users", top.get("basic_auth_users")),
        headers=_headers(f"{name}: http_server_config", top.get("http_server_config")),
    )


def read_web_config(path: Path) -> WebConfig:
    """The file at ``path``. Raises `WebConfigError`."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise WebConfigError(f"web config {path} cannot be read: {error}") from error
    return parse_web_config(text, path.absolute().parent, f"web config {path}")


def _tls(where: str, value: Any, folder: Path) -> Tls:
    section = _section(where, value, _TLS)
    files = {}
    for key in ("cert_file", "key_file", "client_ca_file"):
        if section.get(key):
            files[key] = folder / _string(f"{where}.{key}", section[key])
    for key in ("cert_file", "key_file"):
        if key not in files:
            raise WebConfigError(f"{where}: {key} is missing; TLS needs a certificate and its key")
    kind = _string(f"{where}.client_auth_type", section.get("client_auth_type") or "NoClientCert")
    client_auth = _choice(f"{where}.client_auth_type", kind, _CLIENT_AUTH)
    # Either one without the other would look safe and not be.
    if "client_ca_file" in files and client_auth is ssl.CERT_NONE:
        raise WebConfigError(f"{where}: client_ca_file without a client_auth_type; set RequireAndVerifyClientCert")
    if "client_ca_file" not in files and client_auth is not ssl.CERT_NONE:
        raise WebConfigError(f"{where}: client_auth_type {kind} needs a client_ca_file")
    low, high = (
        _choice(f"{where}.{key}", _string(f"{where}.{key}", section.get(key) or default), _VERSIONS)
        for key, default in (("min_version", "TLS12"), ("max_version", "TLS13"))
    )
    if low > high:
        raise WebConfigError(f"{where}: min_version is above max_version")
    prefer = section.get("prefer_server_cipher_suites", True)
    if not isinstance(prefer, bool):
        raise WebConfigError(f"{where}.prefer_server_cipher_suites is true or false, not {prefer!r}")
    return Tls(files["cert_file"], files["key_file"], files.get("client_ca_file"), client_auth, low, high, prefer)


def _users(where: str, value: Any) -> Mapping[str, str]:
    if not isinstance(value or {}, dict):
        raise WebConfigError(f"{where} is a mapping of user to bcrypt hash")
    for user, hash_ in (value or {}).items():
        if not isinstance(user, str) or ":" in user:
            raise WebConfigError(f"{where}: {user!r} is not a user name (quote it; it cannot hold a colon)")
        if not isinstance(hash_, str) or not _is_bcrypt(hash_):
            # Not shown: it may be the password itself.
            raise WebConfigError(f"{where}.{user} is not a bcrypt hash; make one with: htpasswd -nBC 10 {user}")
    return dict(value or {})


def _is_bcrypt(text: str) -> bool:
    if not _BCRYPT.fullmatch(text):
        return False
    try:
        bcrypt.hashpw(b"", f"$2b$04${text[7:29]}".encode())  # the salt can be used; at the lowest cost, to be quick
    except ValueError:
        return False
    return True


def _headers(where: str, value: Any) -> Mapping[str, str]:
    section = _section(where, value, ("http2", "headers"))
    headers = _section(f"{where}.headers", section.get("headers"), tuple(_HEADERS))
    for header, text in headers.items():
        allowed = _HEADERS[header]
        if allowed and text not in allowed:
            raise WebConfigError(f"{where}.headers.{header} is {' or '.join(allowed)}, not {text!r}")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise WebConfigError(f"{where}.headers.{header} is not one line of plain text")
    return headers


def _section(where: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise WebConfigError(f"{where} is a mapping, not {type(value).__name__}")
    for key in value:
        if key in known:
            continue
        if key in _UNSUPPORTED:
            raise WebConfigError(f"{where}: {key} is not supported here; take it out or put a proxy in front")
        close = difflib.get_close_matches(str(key), known, 1)
        raise WebConfigError(f"{where}: unknown key {key!r}" + (f"; did you mean {close[0]}?" if close else ""))
    return value


def _string(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise WebConfigError(f"{where} is text, not {value!r}")
    return value


def _choice(where: str, value: str, known: Mapping[str, T]) -> T:
    if value not in known:
        raise WebConfigError(f"{where}: {value} is not supported; one of {', '.join(known)}")
    return known[value]
