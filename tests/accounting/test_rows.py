from __future__ import annotations

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accounting.store.rows import digest

_TEXT = st.text(alphabet=st.sampled_from("ab'\"\\\n\x1f\x7fé\u2028\U0001f600"), max_size=4)
_VALUES = st.lists(st.one_of(_TEXT, st.integers(), st.none(), st.booleans()), max_size=3).map(tuple)
_CLAIMS = st.lists(st.tuples(st.lists(_TEXT, min_size=2, max_size=2).map(tuple), _VALUES), max_size=4)


@given(_VALUES | st.none(), _CLAIMS, _TEXT, st.integers(0, 2))
def test_a_meaning_stays_the_digest_that_older_ledgers_have(
    job: tuple[Any, ...] | None, claims: list[tuple[Any, ...]], excluded: str, finality: int
) -> None:
    text = ascii((job, sorted(claims, key=ascii), excluded, finality))

    assert hashlib.blake2b(text.encode(), digest_size=16).digest() == digest(job, claims, excluded, finality)
