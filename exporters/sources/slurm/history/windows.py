"""Reading accounting window by window, each run once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from exporters.model import Record, Reject
from exporters.sources.slurm.history import rows


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
    sluids: bool = True,
) -> Iterator[Record | Reject]:
    """What ``ask`` tells of each sub-window of ``[start, end)``, as records, each run once.

    A run is told again in every sub-window that it touches: it was there before if it could start before.
    """
    for a, b in windows(start, end, 0, step):
        for row in ask(a, b, new=a > start):
            if isinstance(row, Reject):
                yield row
            elif a == start or not 0 <= rows.eligible(row) < a:
                yield rows.read(row, cluster, source, sluids=sluids)
