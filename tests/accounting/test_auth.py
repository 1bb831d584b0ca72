"""Tokens: who they let in, and what a token file may hold."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from accounting.service.auth import TOKEN_LIMIT, AuthError, Principal, Role, TokenFile, Tokens, load_tokens

A, B = (hashlib.sha256(token.encode()).hexdigest() for token in ("token-a", "token-b"))
GOOD = f"""
tokens:
- {{name: finance, sha256: {A}, role: admin}}
- {{name: vis, sha256: {B}, role: project, projects: [vision]}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(GOOD)
    return path


def rewrite(path: Path, text: str) -> None:
    """Replace a file as an editor does; the time moves even where the clock is coarse."""
    before = path.stat().st_mtime_ns
    path.write_text(text)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_a_token_is_its_owners(path: Path) -> None:
    tokens = load_tokens(path)

    assert Principal("finance", Role.ADMIN) == tokens.who("token-a")
    assert Principal("vis", Role.PROJECT, frozenset({"vision"})) == tokens.who("token-b")


@pytest.mark.parametrize("token", ["", "token-c", A, "token-a ", "x" * (TOKEN_LIMIT + 1), "\udcff"])
def test_anything_else_is_nobodys(path: Path, token: str) -> None:
    assert load_tokens(path).who(token) is None


@pytest.mark.parametrize(("length", "let_in"), [(TOKEN_LIMIT, True), (TOKEN_LIMIT + 1, False)])
def test_a_token_above_the_limit_is_refused_even_if_it_were_right(length: int, let_in: bool) -> None:
    token = "x" * length
    tokens = Tokens([(hashlib.sha256(token.encode()).hexdigest(), Principal("a", Role.ADMIN))])

    assert let_in is (tokens.who(token) is not None)


def test_a_token_above_the_limit_is_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever sends megabytes makes the server work for nothing."""

    def hashed(_: bytes) -> None:
        raise AssertionError("it was hashed")

    monkeypatch.setattr("accounting.service.auth.hashlib.sha256", hashed)

    assert Tokens().who("x" * (TOKEN_LIMIT + 1)) is None


def test_every_token_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer must not tell which entry matched, or how much of it did."""
    compared = []

    def compare(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return known == given

    monkeypatch.setattr("accounting.service.auth.hmac.compare_digest", compare)
    tokens = Tokens([(A, Principal("a", Role.ADMIN)), (B, Principal("b", Role.ADMIN))])

    tokens.who("token-a")

    assert [bytes.fromhex(A), bytes.fromhex(B)] == compared


def test_scope_is_by_project_and_nobodys_time_is_an_admins() -> None:
    admin, project = Principal("a", Role.ADMIN), Principal("p", Role.PROJECT, frozenset({"vision"}))

    assert [True, True, True] == [admin.may_see(p) for p in ("vision", "nlp", "")]
    assert [True, False, False] == [project.may_see(p) for p in ("vision", "nlp", "")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tokens: [", "not valid YAML: line 1, column 10: "),
        ("tokens: []\ntokens: []\n", "not valid YAML: line 2, column 1: key tokens was given before, in line 1"),
        ("", "the file: "),
        ("tokens: []\nadmins: []\n", "admins: Extra inputs are not permitted"),
        (f"tokens: [{{name: a, sha256: {A}, role: root}}]", "tokens.0.role: Input should be 'admin' or 'project'"),
        ("tokens: [{name: a, sha256: abc, role: admin}]", "tokens.0.sha256: String should match"),
        (f"tokens: [{{name: a, sha256: {A}, role: project}}]", "tokens.0: role project needs projects"),
        (f"tokens: [{{name: a, sha256: {A}, role: project, projects: ['']}}]", "tokens.0: role project needs projects"),
        (f"tokens: [{{name: a, sha256: {A}, role: admin, projects: [x]}}]", "tokens.0: role admin sees every project"),
        (
            f"tokens: [{{name: a, sha256: {A}, role: admin}}, {{name: b, sha256: {A}, role: admin}}]",
            "the sha256 of token 'b' is there twice",
        ),
        (
            f"tokens: [{{name: a, sha256: {A}, role: admin}}, {{name: a, sha256: {B}, role: admin}}]",
            "the name of token 'a' is there twice",
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_name(path: Path, text: str, message: str) -> None:
    path.write_text(text)

    with pytest.raises(AuthError) as caught:
        load_tokens(path)

    assert f"{path}: {message}" in str(caught.value)


def test_an_error_never_quotes_a_token(path: Path) -> None:
    """Whoever pastes the token itself must not find it in the log."""
    path.write_text("tokens: [{name: a, sha256: my-secret-token, role: admin}]")

    with pytest.raises(AuthError) as caught:
        load_tokens(path)

    assert "my-secret-token" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match="cannot be read"):
        TokenFile(tmp_path / "none.yaml")


def test_a_token_is_revoked_by_deleting_its_entry(path: Path) -> None:
    tokens = TokenFile(path)
    assert tokens.who("token-b") is not None

    rewrite(path, f"tokens: [{{name: finance, sha256: {A}, role: admin}}]")

    assert tokens.who("token-b") is None
    assert tokens.who("token-a") is not None


@pytest.mark.parametrize("how", ["broken", "gone"])
def test_a_file_that_breaks_later_leaves_the_last_good_tokens(
    path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenFile(path)
    if how == "gone":
        path.unlink()
    else:
        rewrite(path, "tokens: nonsense")

    with caplog.at_level(logging.ERROR):
        found = [tokens.who("token-a"), tokens.who("token-a")]

    assert None not in found
    assert 1 == len(caplog.records)
    assert "the tokens of the last good file stay valid" in caplog.text
