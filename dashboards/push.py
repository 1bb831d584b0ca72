"""Folder, data source and boards into a Grafana, over its HTTP API. Doing it again changes nothing.

What is in Grafana is read first; only what differs is written. A board is compared without what Grafana itself adds
(its id, its version), so a push after a push finds nothing to do, and a board that people changed by hand is told as
changed, with the difference, before it is overwritten.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from grafana_api.grafana_api import GrafanaClientError, GrafanaException, GrafanaUnauthorizedError
from grafana_api.grafana_face import GrafanaFace
from requests.exceptions import RequestException

from exporters.errors import OperatorError

FOLDER_UID = "meterbridge"
ADDED = ("id", "version", "iteration")
"""What Grafana adds to a board by itself."""

Change = Literal["created", "changed", "unchanged"]


class PushError(OperatorError):
    """Grafana could not be asked, or refused. The message names what, where and how to mend it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing in Grafana: what it is, what becomes of it, and how it differs from what is there (a unified diff)."""

    what: str
    change: Change
    difference: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The Prometheus data source to provide. ``url`` is as Grafana reaches it."""

    name: str
    url: str
    uid: str = "meterbridge-prometheus"

    def fields(self) -> dict[str, Any]:
        """The fields that are ours; what a site set beside them (credentials, TLS) stays as it is."""
        return {"name": self.name, "uid": self.uid, "type": "prometheus", "url": self.url, "access": "proxy"}


def boards() -> dict[str, dict[str, Any]]:
    """The boards as installed, by name."""
    folder = files("dashboards").joinpath("json")
    found = {f.name: json.loads(f.read_text("utf-8")) for f in folder.iterdir() if f.name.endswith(".json")}
    return {name.removesuffix(".json"): found[name] for name in sorted(found)}


def connect(url: str, credentials: str | tuple[str, str], *, verify: bool = True, timeout: float = 30.0) -> GrafanaFace:
    """A Grafana by its address. ``credentials`` are a service account's token, or user and password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise PushError(
            f"{url!r} is not the address of a Grafana: write https://grafana.example.org, with its path if any"
        )
    prefix = parts.path.strip("/")
    return GrafanaFace(
        credentials,
        host=parts.hostname if ":" not in parts.hostname else f"[{parts.hostname}]",
        port=parts.port,
        url_path_prefix=f"{prefix}/" if prefix else "",
        protocol=parts.scheme,
        verify=verify,
        timeout=timeout,
    )


def push(
    grafana: GrafanaFace,
    wanted: Mapping[str, Mapping[str, Any]],
    *,
    folder: str = "meterbridge",
    source: Source | None = None,
    dry_run: bool = False,
) -> Iterator[Step]:
    """Bring folder, data source and boards to Grafana, one by one; with ``dry_run`` only say what would be done.

    Raises `PushError`. What was done before it stays, and a later push goes on from there.
    """
    yield _folder(grafana, folder, dry_run=dry_run)
    if source:
        yield _source(grafana, source, dry_run=dry_run)
    for name, board in wanted.items():
        yield _board(grafana, name, board, dry_run=dry_run)


def _folder(grafana: GrafanaFace, title: str, *, dry_run: bool) -> Step:
    there = _found(grafana, f"/folders/{FOLDER_UID}", "folder")
    if there is None:
        if not dry_run:
            _ask("create the folder", lambda: grafana.folder.create_folder(title, FOLDER_UID))
        return Step(f"folder {title}", "created")
    if there["title"] == title:
        return Step(f"folder {title}", "unchanged")
    if not dry_run:
        _ask("rename the folder", lambda: grafana.folder.update_folder(FOLDER_UID, title, overwrite=True))
    return Step(f"folder {title}", "changed", _difference({"title": there["title"]}, {"title": title}))


def _source(grafana: GrafanaFace, source: Source, *, dry_run: bool) -> Step:
    what, ours = f"data source {source.name}", source.fields()
    there = _found(grafana, f"/datasources/uid/{source.uid}", "data source")
    if there is None:
        if not dry_run:
            _ask("create the data source", lambda: grafana.datasource.create_datasource(ours))
        return Step(what, "created")
    before = {key: there.get(key) for key in ours}
    if before == ours:
        return Step(what, "unchanged")
    if not dry_run:
        # by uid: newer releases have no update by number any more, which is what the library's own method does
        _ask(
            "change the data source", lambda: grafana.api.PUT(f"/datasources/uid/{source.uid}", json={**there, **ours})
        )
    return Step(what, "changed", _difference(before, ours))


def _board(grafana: GrafanaFace, name: str, board: Mapping[str, Any], *, dry_run: bool) -> Step:
    what = f"board {name}"
    there = _found(grafana, f"/dashboards/uid/{board['uid']}", "board")
    body = {"dashboard": {**board, "id": None}, "folderUid": FOLDER_UID, "overwrite": True, "message": "meterbridge"}
    step = Step(what, "created")
    if there is not None:
        before = {key: value for key, value in there["dashboard"].items() if key not in ADDED}
        ours = {key: value for key, value in board.items() if key not in ADDED}
        moved = there.get("meta", {}).get("folderUid") != FOLDER_UID
        if before == ours and not moved:
            return Step(what, "unchanged")
        step = Step(what, "changed", _difference(before, ours) or f"moves to folder {FOLDER_UID}\n")
    if not dry_run:
        _ask(f"save the board {name}", lambda: grafana.dashboard.update_dashboard(body))
    return step


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A unified diff of two JSON documents."""
    there, ours = (_text(d).splitlines(keepends=True) for d in (before, after))
    return "".join(difflib.unified_diff(there, ours, fromfile="in Grafana", tofile="meterbridge", n=2))


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _found(grafana: GrafanaFace, path: str, what: str) -> Any:
    """What Grafana has at a path; None when it has nothing there."""
    try:
        return _ask(f"read the {what}", lambda: grafana.api.GET(path))
    except PushError as e:
        cause = e.__cause__
        if isinstance(cause, GrafanaClientError) and cause.status_code == 404:
            return None
        raise


def _ask(what: str, request: Any) -> Any:
    """A request's answer; its failure in words."""
    try:
        return request()
    except GrafanaUnauthorizedError as e:
        raise PushError(f"cannot {what}: Grafana does not know the token; give a service account's, role Editor") from e
    except GrafanaClientError as e:
        hint = (
            "; the token may not do that (role Editor for boards, Admin for data sources)"
            if e.status_code == 403
            else ""
        )
        raise PushError(f"cannot {what}: {e}{hint}") from e
    except GrafanaException as e:
        raise PushError(f"cannot {what}: {e}; look into Grafana's own log") from e
    except (RequestException, ValueError) as e:  # nobody there, or something that is not Grafana
        raise PushError(f"cannot {what}: no answer of a Grafana there: {e}") from e
