"""Killed at every commit, and done again: the ledger, the statements and the seal are those of a life without a crash.

A step (one command, one process) that was killed is run again from its beginning, as an operator or a service does.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from accounting.store.database import connect
from tests.accounting.crashing import Death, live, run
from tests.accounting.lives import STEPS, contents
from tests.accounting.shelves import PostgresShelf, Shelf, SqliteShelf

pytestmark = pytest.mark.slow

NAMES = list(STEPS)
EVERY = {"sqlite": 37, "postgresql": 74}
"""Of the statements inside transactions, one in so many is a place to die; one in fewer where that takes longer."""

WORKERS = ("one", "two")
"""Places in which deaths are died side by side."""


def deaths(commits: int, statements: int, every: int) -> list[Death]:
    """Before each commit, with all its work done, and after the last one; what lies between is between two of these."""
    found = [Death("before", n) for n in range(commits)] + ([Death("after", commits - 1)] if commits else [])
    return found + [Death("statement", n) for n in range(every // 2, statements, every)]


Contents = dict[str, list[str]]


@dataclass(frozen=True)
class Life:
    """A life without a crash: what the ledger held after each step, its commits and statements, and the files."""

    shelf: Shelf
    database: str
    folder: Path
    after: dict[str, Contents]
    counts: dict[str, tuple[int, int]]
    files: dict[str, bytes]

    def place(self, name: str) -> Path:
        """A folder for a place's settings and files."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder


def held(url: str) -> Contents:
    engine = connect(url)
    try:
        return contents(engine)
    finally:
        engine.dispose()


def written(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("chargeback-*"))}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.server("postgresql"))])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    shelf: Shelf
    if request.param == "sqlite":
        shelf = SqliteShelf(folder, request.getfixturevalue("empty_sqlite"))
    else:
        shelf = PostgresShelf(request.getfixturevalue("postgres"))
    url = shelf.new("life")
    after, counts = {}, {}
    for name in NAMES:
        shelf.keep("life", f"before {name}")
        assert 0 == run(live, url, folder, [name], None, folder / "counts")
        commits, statements = (folder / "counts").read_text().split()
        after[name], counts[name] = held(url), (int(commits), int(statements))
    yield Life(shelf, request.param, folder, after, counts, written(folder))
    shelf.close()


def die(url: str, folder: Path, name: str, death: Death) -> None:
    assert -signal.SIGKILL == run(live, url, folder, [name], death), f"{name} outlived {death}"


@pytest.mark.parametrize("name", [n for n in NAMES if n not in {"settle", "state"}])
def test_a_step_killed_at_any_commit_and_done_again_leaves_what_an_undisturbed_one_does(life: Life, name: str) -> None:
    chosen = deaths(*life.counts[name], EVERY[life.database])

    def differences(place: str, some: list[Death]) -> list[tuple[Death, int, str]]:
        found = []
        for death in some:
            url = life.shelf.take(place, f"before {name}")
            die(url, life.place(place), name, death)
            code = run(live, url, life.place(place), [name], None)
            left = held(url)
            found += [(death, code, table) for table, rows in life.after[name].items() if code or rows != left[table]]
        return found

    with ThreadPoolExecutor(len(WORKERS)) as pool:
        shares = [chosen[n :: len(WORKERS)] for n in range(len(WORKERS))]
        wrong = [w for found in pool.map(differences, WORKERS, shares) for w in found]

    assert [] == wrong
    assert chosen


def test_a_life_with_a_crash_in_every_step_ends_with_the_same_files_and_the_same_seal(life: Life) -> None:
    choose = random.Random(3)
    url, folder = life.shelf.take("one", f"before {NAMES[0]}"), life.place("crashed")
    for name in NAMES:
        if commits := life.counts[name][0]:
            die(url, folder, name, Death(choose.choice(["before", "after"]), choose.randrange(commits)))
        assert 0 == run(live, url, folder, [name], None)

    assert life.files == written(folder)
    assert life.after[NAMES[-1]] == held(url)


def test_the_life_is_one_worth_dying_in(life: Life) -> None:
    """Every kind of evidence and every kind of transaction is in it."""
    last = life.after[NAMES[-1]]
    kinds = {kind for kind in ("post", "reversal", "correction") for row in last["transactions"] if repr(kind) in row}

    # no pod is of a Slurm job here, and no price looks at a job's words
    assert {"claim_keys", "closed_jobs"} == {table for table, rows in last.items() if not rows}
    assert {"post", "reversal", "correction"} == kinds
    assert 40 <= sum(commits for commits, _ in life.counts.values())
    assert 6 == len(life.files)
