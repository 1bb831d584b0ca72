"""One question at a time to a slurmrestd, over a unix socket or HTTP(S), with a JSON web token where it wants one."""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from exporters.masking import masked
from exporters.sources.base import SourceError

CHUNK = 1 << 20
SAID = 300
"""Characters of the daemon's own words that an error repeats."""


class RestTooLargeError(SourceError):
    """The answer has more bytes than its limit."""


class RestNotFoundError(SourceError):
    """There is nothing under that path."""


class RestUnchangedError(SourceError):
    """Nothing is another than when it was asked last (status 304)."""


class RestClient:
    """``url`` is ``unix:///run/slurmrestd.socket``, ``http://host:6820`` or ``https://...``.

    The token is read at each question, from ``token_file`` or else from the variable SLURM_JWT. A unix socket is asked
    with a token from a file only: one that goes by who opens it refuses whoever brings a token. ``user`` is
    X-SLURM-USER-NAME; without it, the user that the token names.
    ``timeout`` is seconds for a whole answer, however slowly it comes, ``max_bytes`` its limit.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str = "",
        token_file: Path | None = None,
        timeout: float = 30.0,
        max_bytes: int = 256 << 20,
    ) -> None:
        parts = urlsplit(url)
        if not (parts.path if parts.scheme == "unix" else parts.scheme in {"http", "https"} and parts.netloc):
            raise ValueError(
                f"{masked(url)!r} is no address of a slurmrestd, such as unix:///run/slurmrestd.socket or http://host:6820"
            )
        self.where = f"slurmrestd {masked(url)}"
        self._parts = parts
        self._user, self._token_file = user, token_file
        self._timeout, self._max_bytes = timeout, max_bytes

    def get(self, path: str) -> bytes:
        """The body of an answer with status 200. Raises `SourceError` for anything else, with how to mend it."""
        headers = self._headers()
        place = self._parts.path.rstrip("/") + path if self._over_tcp else path
        connection = self._connection()
        late = threading.Event()
        watch = threading.Timer(self._timeout, lambda: _hang_up(connection.kept, late))
        watch.start()
        try:
            connection.request("GET", place, headers=headers)
            response = connection.getresponse()
            body = self._body(response)
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise SourceError(f"{self.where} did not answer {path} within {self._timeout:g} s. {MEND}") from None
            raise SourceError(f"{self.where} cannot be reached: {error or type(error).__name__}. {MEND}") from error
        finally:
            watch.cancel()
            connection.close()
        if response.status != http.client.OK:
            self._refused(path, response.status, body)
        return body

    @property
    def _over_tcp(self) -> bool:
        return self._parts.scheme != "unix"

    def _connection(self) -> _Plain | _Tls:
        if not self._over_tcp:
            return _Unix(self._parts.path, timeout=self._timeout)
        kind = _Tls if self._parts.scheme == "https" else _Plain
        return kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "meterbridge"}
        token = self._token()
        if token:
            headers["X-SLURM-USER-TOKEN"] = token
        user = self._user or named_in(token)
        if user and token:
            headers["X-SLURM-USER-NAME"] = user
        return headers

    def _token(self) -> str:
        if self._token_file is None:
            return os.environ.get("SLURM_JWT", "").strip() if self._over_tcp else ""
        try:
            return self._token_file.read_text("utf-8").strip().removeprefix("SLURM_JWT=")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"the token file {self._token_file} of {self.where} cannot be read: {error}") from error

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while data := response.read(min(CHUNK, self._max_bytes + 1 - len(body))):
            body += data
            if len(body) > self._max_bytes:
                raise RestTooLargeError(
                    f"{self.where} answered with more than {self._max_bytes} bytes: raise "
                    "slurm.slurmrestd.max_response, or for history lower slurm.history.window"
                )
        if response.length:
            raise http.client.IncompleteRead(bytes(body[:0]), response.length)
        return bytes(body)

    def _refused(self, path: str, status: int, body: bytes) -> None:
        said = reasons(body)
        if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN} or "uthentication" in said:
            token = self._token()
            if self._over_tcp and not token:
                raise SourceError(f"{self.where} wants a JSON web token: set SLURM_JWT or slurm.slurmrestd.token_file")
            who = self._user or named_in(token) or "without a name"
            raise SourceError(
                f"{self.where} does not accept its caller {who} ({said}): has the token ended, is it of this user "
                "(scontrol token username=...), and does slurm.conf have AuthAltTypes=auth/jwt?"
            )
        if status == http.client.NOT_MODIFIED:
            raise RestUnchangedError(f"{self.where} says that {path} has not changed")
        if status == http.client.NOT_FOUND:
            raise RestNotFoundError(f"{self.where} has no {path.partition('?')[0]} ({said})")
        raise SourceError(f"{self.where} answered {path.partition('?')[0]} with status {status}: {said}. {MEND}")


MEND = (
    "Check that slurmrestd runs there, that slurmctld and slurmdbd answer (scontrol ping), and that this user may see "
    "all jobs (PrivateData, Operator rights)"
)


def named_in(token: str) -> str:
    """The user that a token of Slurm's names (its claim ``sun``), empty where it cannot be told."""
    try:
        payload = token.split(".")[1]
        claims: Any = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims.get("sun") or claims.get("username") or "")
    except (IndexError, ValueError, AttributeError, binascii.Error):
        return ""


def reasons(body: bytes) -> str:
    """Why the daemon refused, in its own words."""
    try:
        told: Any = json.loads(body)
        errors = [e.get("description") or e.get("error") or str(e) for e in told["errors"]]
        text = "; ".join(dict.fromkeys(str(e) for e in errors))
    except (ValueError, KeyError, TypeError, AttributeError):
        text = body.decode("utf-8", "replace")
    return " ".join(text.split())[:SAID] or "without a reason"


class _Plain(http.client.HTTPConnection):
    """HTTP whose socket stays known when an answer takes it over."""

    kept: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.kept = self.sock


class _Tls(http.client.HTTPSConnection):
    """The same with TLS."""

    kept: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.kept = self.sock


class _Unix(_Plain):
    """HTTP over a unix socket; its path stands in the place of the host."""

    def connect(self) -> None:
        self.kept = self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)
        # the path is nobody's name, and HTTP wants one
        self.host = "localhost"


def _hang_up(sock: socket.socket | None, late: threading.Event) -> None:
    """End a conversation that takes too long as a whole; its reader then sees the end of the stream."""
    late.set()
    if sock is not None:
        with contextlib.suppress(OSError):  # it ended by itself
            sock.shutdown(socket.SHUT_RDWR)
