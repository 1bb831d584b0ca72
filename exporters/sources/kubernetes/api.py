"""Asks a Kubernetes API server: raw JSON through the official client's configuration and connection pool.

The `kubernetes` client brings kubeconfig, in-cluster credentials, their renewal, TLS and proxies. Its typed objects are
left out: a watch of a large cluster would build one per event, and they refuse what a newer server adds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes import config as kube_config
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.raw import Raw, items, part

log = logging.getLogger(__name__)

MAX_RESPONSE = 100 << 20
"""Bytes of one response (a page of a list, a line of a watch) beyond which it is refused."""

CHUNK = 1 << 16

POOL = 32
"""Connections kept open: four watches, and the owners that are asked for side by side."""


class ApiError(SourceError):
    """The API server refused, failed or could not be reached.

    ``status`` is the HTTP status, 0 when there was no whole answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def connect(kubeconfig: str | None, context: str | None) -> ApiClient:
    """A client by kubeconfig file, or by the service account of the own pod. Asks the server nothing yet.

    Raises `SourceError` where there is no usable configuration.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = POOL
    try:
        if kubeconfig is None:
            kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            kube_config.load_kube_config(  # type: ignore[no-untyped-call]
                kubeconfig, context, configuration, persist_config=False
            )
    except (ConfigException, yaml.YAMLError, OSError, TypeError, AttributeError) as e:
        # the last two: the client takes a kubeconfig to be shaped as one
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "the pod's service account (no kubeconfig is configured)"
        raise SourceError(f"no access to the Kubernetes API by {where}: {e}") from e
    return ApiClient(configuration)


_FILES = ("tokenFile", "client-certificate", "client-key", "certificate-authority")
"""Keys of a kubeconfig that name files. The client reads each of them once."""


class Credentials:
    """A kubeconfig and the files that it names: a client of them anew each time when one of them has been replaced."""

    def __init__(self, kubeconfig: str, context: str | None) -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self._lock = threading.Lock()
        self._files = self._named()
        self._read = self._state()

    def renewed(self) -> ApiClient | None:
        """A new client where something has changed; None as long as nothing has, or it cannot be read right now."""
        with self._lock:
            state = self._state()
            if state == self._read:
                return None
            try:
                client = connect(self._kubeconfig, self._context)
            except SourceError as e:
                log.warning("%s; the credentials read before are used", e)
                client = None
            self._files = self._named()
            self._read = self._state()
            return client

    def _state(self) -> tuple[tuple[str, int, int], ...]:
        """The files with size and time of change."""
        found = []
        for name in (self._kubeconfig, *self._files):
            try:
                status = Path(name).stat()
            except OSError:
                found.append((name, -1, -1))
            else:
                found.append((name, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _named(self) -> list[str]:
        try:
            config = yaml.safe_load(Path(self._kubeconfig).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return []
        folder = Path(self._kubeconfig).parent
        entries = [part(e, kind) for kind in ("user", "cluster") for e in items(config, f"{kind}s")]
        return [str(folder / str(entry[key])) for entry in entries for key in _FILES if entry.get(key)]


class KubeApi:
    """GET requests to one API server. Thread-safe. Errors are `ApiError` with a sentence that says how to mend it.

    ``credentials`` are read again when their files have changed.
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        max_response: int = MAX_RESPONSE,
        connect_timeout: float = 5.0,
        credentials: Credentials | None = None,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self.max_response = max_response
        self._connect_timeout = connect_timeout
        self.host = str(client.configuration.host).rstrip("/")

    def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        timeout: float = 60.0,
    ) -> Raw:
        """The JSON object at ``path``."""
        response = self._open(path, params or {}, accept, timeout)
        try:
            body = bytearray()
            while chunk := self.read(response, path):
                body += chunk
                if len(body) > self.max_response:
                    raise self.too_big(path)
        except ApiError:
            response.close()
            raise
        response.release_conn()
        return parse(bytes(body), f"{self.host}{path}")

    def stream(self, path: str, params: Mapping[str, str], *, timeout: float) -> Stream:
        """Open a watch. ``timeout`` is how long the server may stay silent."""
        return Stream(self, path, self._open(path, params, "application/json", timeout))

    def _open(self, path: str, params: Mapping[str, str], accept: str, timeout: float) -> urllib3.BaseHTTPResponse:
        if self._credentials is not None and (renewed := self._credentials.renewed()) is not None:
            self._client = renewed
        query = f"?{urlencode(params)}" if params else ""
        headers = {**self._client.default_headers, "Accept": accept}
        try:
            for auth in self._client.configuration.auth_settings().values():
                headers[auth["key"]] = auth["value"]
            response: urllib3.BaseHTTPResponse = self._client.rest_client.pool_manager.request(
                "GET",
                f"{self.host}{path}{query}",
                headers=headers,
                timeout=urllib3.Timeout(connect=self._connect_timeout, read=timeout),
                retries=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, ConfigException, OSError) as e:
            raise self._unreachable(path, e) from e
        if response.status == HTTPStatus.OK:
            return response
        try:
            body = self.read(response, path)
        finally:
            response.close()
        raise ApiError(response.status, self._refusal(response.status, path, "watch" in params, body))

    def read(self, response: urllib3.BaseHTTPResponse, path: str) -> bytes:
        """What has arrived of a response, at most `CHUNK` bytes; empty at its end."""
        try:
            return response.read1(CHUNK)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as e:
            # ValueError and AttributeError: the stream was closed from another thread while it was read
            raise self._unreachable(path, e) from e

    def _unreachable(self, path: str, error: Exception) -> ApiError:
        return ApiError(0, f"{self.host}{path}: {type(error).__name__}: {error}")

    def too_big(self, path: str) -> ApiError:
        """The error for an answer beyond the limit."""
        limit = f"the answer is larger than {self.max_response} bytes (max_response); it was not read on"
        return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{self.host}{path}: {limit}")

    def _refusal(self, status: int, path: str, watching: bool, body: bytes) -> str:
        """What was refused, in the server's words, and what to grant."""
        try:
            said = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            said = body[:200].decode(errors="replace")
        message = f"{self.host}{path}: {status} {said}".rstrip()
        if status == HTTPStatus.UNAUTHORIZED:
            return f"{message}; the credentials are not accepted: renew the token or the kubeconfig"
        if status == HTTPStatus.FORBIDDEN:
            group, resource = resource_of(path)
            verb = "watch" if watching else "get and list"
            return (
                f'{message}; grant verb {verb} on resource "{resource}" of apiGroup "{group}" to the exporter by a '
                "ClusterRole and a ClusterRoleBinding"
            )
        return message


class Stream:
    """An open watch: iterate over its lines until the server ends it. `stop` may be called from another thread.

    What a cut leaves of a line is not a line, and is dropped. Iterating raises `ApiError` when the connection breaks or
    a line is too long.
    """

    def __init__(self, api: KubeApi, path: str, response: urllib3.BaseHTTPResponse) -> None:
        self._api = api
        self._path = path
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        """Whole lines as they arrive."""
        rest = bytearray()
        while chunk := self._api.read(self._response, self._path):
            rest += chunk
            if b"\n" in chunk:
                *whole, last = bytes(rest).split(b"\n")
                rest = bytearray(last)
                yield from whole
            if len(rest) > self._api.max_response:
                raise self._api.too_big(self._path)

    def close(self) -> None:
        """Release the connection."""
        self._response.close()

    def stop(self) -> None:
        """Wake the reader: its iteration ends or raises."""
        try:
            self._response.shutdown()
        except (ValueError, RuntimeError, OSError):
            self._response.close()  # already over


def parse(body: bytes, where: str) -> Raw:
    """A JSON object. Raises `ApiError` for half of one, or for anything else."""
    try:
        found: Any = json.loads(body)
    except ValueError as e:
        raise ApiError(0, f"{where}: not JSON ({e}): {body[:80]!r}") from e
    if not isinstance(found, Mapping):
        raise ApiError(0, f"{where}: not a JSON object: {body[:80]!r}")
    return found


def resource_of(path: str) -> tuple[str, str]:
    """API group and resource of a path: ``/apis/batch/v1/namespaces/x/jobs/y`` -> ``("batch", "jobs")``."""
    steps = [s for s in path.split("/") if s]
    group = steps[1] if steps[:1] == ["apis"] and len(steps) > 1 else ""
    rest = steps[3 if group else 2 :]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return group, rest[0] if rest else ""
