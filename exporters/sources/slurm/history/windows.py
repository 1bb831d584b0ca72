"""Reading accounting window by window, each run once. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from exporters.model import Record, Reject
from exporters.sources.slurm.history import rows

T = TypeVar("T")


def windows(cursor: int, now: int, overlap: int, step: int) -> Iterator[tuple[int, int]]:
    """Windows ``[start, end)`` of at most ``step`` seconds that together cover ``[cursor - overlap, now)``, in order.

    ``cursor`` is up to when everything was read; ``overlap`` is how late a record may come. Nothing when that is empty.
    """
    if step <= 0 or overlap < 0:
        raise ValueError(f"step must be positive and overlap not negative, not {step} and {overlap}")
    start = max(0, cursor - overlap)
    while start < now:
        end = min(start + step, now)
        yield start, end
        start = end


TOGETHER = 500
"""Job ids in one question: a command line holds many more."""


def together(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    """Ids, so many at a time."""
    return (ids[n : n + TOGETHER] for n in range(0, len(ids), TOGETHER))


class Ours:
    """Tells rows of one cluster, by its ClusterName in any letter case; ``others`` counts the rows of other clusters.

    One slurmdbd keeps many clusters, and a federation's clients show all its members (``fed_display``): the column
    Cluster says whose a row is. Without a name every row is taken.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name.lower()
        self.others: Counter[str] = Counter()

    def __call__(self, row: rows.Row) -> bool:
        """Whether a row is of this cluster."""
        if not self.name or not row.cluster or row.cluster.lower() == self.name:
            return True
        self.others[row.cluster] += 1
        return False


class Ask(Protocol):
    """Tells the rows of one window ``[start, end)``; with ``new`` those that could start before it are not needed."""

    def __call__(self, start: int, end: int, *, new: bool) -> Iterable[rows.Row | Reject]:
        """Rows, and rejects for what is none."""
        ...


def records(
    ask: Ask,
    start: int,
    end: int,
    step: int,
    cluster: str,
    source: str,
    *,
    ours: Callable[[rows.Row], bool],
    sluids: bool = True,
) -> Iterator[Record | Reject]:
    """What ``ask`` tells of each sub-window of ``[start, end)``, as records, each run once; ``ours`` says which rows.

    A run is told again in every sub-window that it touches: it was there before if it could start before.
    """
    for a, b in windows(start, end, 0, step):
        told = (
            row
            for row in ask(a, b, new=a > start)
            if isinstance(row, Reject) or a == start or not 0 <= rows.eligible(row) < a
        )
        yield from as_records(told, cluster, source, ours=ours, sluids=sluids)


def as_records(
    told: Iterable[rows.Row | Reject], cluster: str, source: str, *, ours: Callable[[rows.Row], bool], sluids: bool
) -> Iterator[Record | Reject]:
    """Rows as records, those of other clusters left out."""
    for row in told:
        if isinstance(row, Reject):
            yield row
        elif ours(row):
            yield rows.read(row, cluster, source, sluids=sluids)
