"""The service's own checks: everything once a day, a part in its turn between that, and what was found stays found."""

from __future__ import annotations

from typing import Any

import pytest

from accounting.periods.draws import Draw, Everything, Part
from accounting.periods.proofs import Breach
from accounting.site import proof

WRONG = Breach("a job is what was told of it", "job 7", "its user was changed")


class Books:
    """What checks were asked for, and what they find: a fake in the place of `accounting.site.proof.prove`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.draws: list[Draw] = []
        self.wrong: list[Breach] = []
        monkeypatch.setattr(proof, "prove", self.prove)

    def prove(self, *_: Any, draw: Draw) -> proof.Proof:
        self.draws.append(draw)
        return proof.Proof(self.wrong)


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    return Books(monkeypatch)


def checked(rounds: proof.Rounds) -> int:
    none: Any = None
    return rounds.check(none, none)


def test_a_daily_check_looks_at_everything(books: Books) -> None:
    rounds = proof.Rounds(86_400.0)

    assert [0, 0] == [checked(rounds), checked(rounds)]
    assert [Everything, Everything] == [type(draw) for draw in books.draws]


def test_checks_in_between_look_at_everything_once_more_in_parts(books: Books) -> None:
    rounds = proof.Rounds(6 * 3600.0)
    for _ in range(5):
        checked(rounds)
    whole, *parts, again = books.draws

    assert [Everything, Everything] == [type(whole), type(again)]
    assert [Part(turn, 3) for turn in range(3)] == parts
    assert [*range(10)] == sorted(n for part in parts for n in part.of(range(10)))


def test_what_one_part_found_stays_found_until_everything_is_looked_at(books: Books) -> None:
    rounds = proof.Rounds(8 * 3600.0)
    checked(rounds)
    books.wrong = [WRONG]
    found = [checked(rounds)]
    books.wrong = []
    found += [checked(rounds), checked(rounds)]

    assert [1, 1, 0] == found


def test_a_check_that_fails_is_due_again(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = proof.Rounds(8 * 3600.0)
    with monkeypatch.context() as broken:
        broken.delattr(proof, "prove")
        with pytest.raises(NameError):
            checked(rounds)
    checked(rounds)

    assert [Everything] == [type(draw) for draw in books.draws]
