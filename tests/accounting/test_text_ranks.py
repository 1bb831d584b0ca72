"""The places of texts in their order are those that sorting them gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accounting.reconcile.text_ranks import ranks, ranks_below

FEW = st.text("ab/@é", max_size=3)
LONG = st.builds(lambda head, n, tail: f"{head}{n:09}{tail}", FEW, st.integers(0, 3000), FEW)
DEEP = st.builds(
    lambda head, tail: f"{head:#<12}{tail}", st.sampled_from("ab"), st.text("ab", min_size=14, max_size=22)
)
ANY = st.one_of(FEW, LONG, DEEP)


def sorting(texts: Sequence[str]) -> list[int]:
    order = sorted({*texts})
    return [order.index(text) for text in texts]


@given(
    texts=st.one_of(*(st.lists(some, max_size=40) for some in (DEEP, LONG, ANY, st.one_of(ANY, st.just("a" * 120)))))
)
def test_texts_have_the_places_that_sorting_gives_them(texts: list[str]) -> None:
    assert sorting(texts) == ranks(texts).tolist()


@given(st.sampled_from([["s/b/", "s/a/"], ["s/b/", "s/a/", "s/b/"], ["s/b/", "k/a/", "k/a/b/"]]), st.data())
def test_so_have_texts_of_a_head_and_a_tail(heads: list[str], data: st.DataObject) -> None:
    told = data.draw(
        st.lists(st.tuples(st.integers(0, len(heads) - 1), data.draw(st.sampled_from([ANY, DEEP]))), max_size=40)
    )
    codes, tails = np.array([code for code, _ in told], dtype=np.int64), [tail for _, tail in told]

    assert sorting([heads[code] + tail for code, tail in told]) == ranks_below(heads, codes, tails).tolist()
