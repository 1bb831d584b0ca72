"""Columns that several processes read: in a file that each of them maps, and nothing of them goes through a pipe."""

from __future__ import annotations

import mmap
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

_ALIGNED = 64


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """Something in a file. What goes to another process is where it is."""

    path: str
    head: bytes
    ends: tuple[int, ...]

    def thing(self) -> T:
        """What was kept. Its arrays are the file itself, and cannot be written to."""
        return cast(T, _thing(self))


@lru_cache(maxsize=4)
def _thing(kept: Kept[Any]) -> Any:
    with Path(kept.path).open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    begins = [0, *(end + -end % _ALIGNED for end in kept.ends)]
    return pickle.loads(kept.head, buffers=[whole[a:b] for a, b in zip(begins, kept.ends, strict=False)])  # noqa: S301 - our own


def kept_at(path: Path, thing: T) -> Kept[T]:
    """Put something into that file."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(thing, protocol=5, buffer_callback=arrays.append)
    ends = []
    with path.open("wb") as file:
        for array in arrays:
            file.write(bytes(-file.tell() % _ALIGNED))
            file.write(array.raw())
            ends.append(file.tell())
        file.write(b"\0")  # nothing at all cannot be mapped
    return Kept(str(path), head, tuple(ends))


class Shelf:
    """A folder of such files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._files = folder, 0

    def keep(self, thing: T) -> Kept[T]:
        """Put something into a file: its arrays as they are, one after the other."""
        return kept_at(self.new(), thing)

    def new(self) -> Path:
        """A file that is not there yet."""
        self._files += 1
        return self.folder / str(self._files)


@contextmanager
def shelf(beside: Path) -> Iterator[Shelf]:
    """A shelf in a hidden folder in ``beside``, which is made if missing; it goes at the end."""
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".statement-", dir=beside) as folder:
        yield Shelf(Path(folder))
        _thing.cache_clear()
