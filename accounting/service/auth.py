"""Who may see what on the accounting API: tokens with a role and a project scope.

The token file is YAML and holds only hashes, so that whoever reads it cannot use it:

    tokens:
      - name: finance
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        role: admin                    # sees everything
      - name: vision-dashboard
        sha256: 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752
        role: project                  # sees the lines of its projects, and nothing else
        projects: [vision]

A token must be long and random (``openssl rand -hex 32``): a plain hash protects only what cannot be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exporters.errors import EXIT_USAGE, OperatorError
from exporters.strict_yaml import YamlError, read

log = logging.getLogger(__name__)

TOKEN_LIMIT = 1024
"""Longer than any token: what is longer is refused before it is hashed."""


class AuthError(OperatorError):
    """The token file cannot be used. The message names the file, the entry and what is wrong with it."""

    exit_code = EXIT_USAGE


class Role(StrEnum):
    """What a token's owner is."""

    ADMIN = "admin"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the name of a token, and what it may see."""

    name: str
    role: Role
    projects: frozenset[str] = frozenset()

    def may_see(self, project: str) -> bool:
        """Whether a line of this project is this principal's business. Nobody's time is only an admin's."""
        return self.role is Role.ADMIN or project in self.projects


class _Entry(BaseModel):
    """One token of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    role: Role
    projects: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _scope_fits_role(self) -> Self:
        if self.role is Role.PROJECT and not (self.projects and all(self.projects)):
            raise ValueError("role project needs projects: a list of project names")
        if self.role is Role.ADMIN and self.projects:
            raise ValueError("role admin sees every project; leave projects out, or make it role project")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: tuple[_Entry, ...]


class Tokens:
    """The tokens that are valid now. Without any, nobody is let in."""

    def __init__(self, entries: Sequence[tuple[str, Principal]] = ()) -> None:
        self._entries = [(bytes.fromhex(digest), principal) for digest, principal in entries]

    def who(self, token: str) -> Principal | None:
        """Find whose token this is, or None. Takes the same time whichever token is wrong, and however wrong."""
        if not token or len(token) > TOKEN_LIMIT:
            return None
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found = None
        for known, principal in self._entries:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


class TokenFile:
    """Tokens from a file, read again when the file changes: a token is revoked by deleting its entry.

    A changed file that cannot be used is logged, and the tokens of the last good one stay valid.
    Raises `AuthError` when the file cannot be used at the start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = self._stat()
        self._tokens = load_tokens(path)

    def who(self, token: str) -> Principal | None:
        """Find whose token this is, in the file as it is now."""
        version = self._stat()
        if version != self._version:
            self._version = version
            try:
                self._tokens = load_tokens(self.path)
            except AuthError as e:
                log.error("%s; the tokens of the last good file stay valid", e)  # noqa: TRY400 -- an operator's mistake, no trace
            else:
                log.info("%s: tokens read again", self.path)
        return self._tokens.who(token)

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def load_tokens(path: Path) -> Tokens:
    """Read a token file. Raises `AuthError` with one line per thing that is wrong; never quotes a token or hash."""
    try:
        data = read(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise AuthError(f"{path}: cannot be read: {e}") from e
    except YamlError as e:
        raise AuthError(f"{path}: not valid YAML: {e}") from None
    try:
        entries = _File.model_validate(data).tokens
    except ValidationError as e:
        raise AuthError(
            "\n".join(
                f"{path}: {'.'.join(str(p) for p in x['loc']) or 'the file'}: {x['msg'].removeprefix('Value error, ')}"
                for x in e.errors(include_input=False)
            )
        ) from None
    for what in ("name", "sha256"):
        values = [getattr(entry, what) for entry in entries]
        twice = [entry.name for n, entry in enumerate(entries) if values[n] in values[:n]]
        if twice:
            raise AuthError(f"{path}: the {what} of token {twice[0]!r} is there twice; each token needs its own")
    return Tokens([(e.sha256, Principal(e.name, e.role, e.projects)) for e in entries])
