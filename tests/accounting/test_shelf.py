"""What is put onto a shelf comes back as it was, as arrays that are the file itself."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from accounting.bulk.shelf import shelf


def test_arrays_come_back_as_they_were_and_are_not_in_what_is_sent(tmp_path: Path) -> None:
    many = np.arange(100_000)
    things = {
        "many": many,
        "none": many[:0],
        "few": np.array([1, 2], np.int8),
        "some": (many[1:].astype(np.int16), "é"),
    }
    with shelf(tmp_path) as folder:
        kept = folder.keep(things)
        sent = pickle.dumps(kept)
        back = pickle.loads(sent).thing()

        assert [*map(repr, (things, many.dtype))] == [*map(repr, (back, back["many"].dtype))]
        assert np.array_equal(many, back["many"])
        assert len(sent) < 1000
        with pytest.raises(ValueError, match="read-only"):
            back["many"][0] = 1


def test_several_things_lie_side_by_side_and_nothing_is_left(tmp_path: Path) -> None:
    with shelf(tmp_path / "there") as folder:
        one, nothing, other = folder.keep(np.arange(3)), folder.keep("text"), folder.keep(np.arange(4))
        found = (one.thing().tolist(), nothing.thing(), other.thing().tolist())

    assert ([0, 1, 2], "text", [0, 1, 2, 3]) == found
    assert [] == [*(tmp_path / "there").iterdir()]
