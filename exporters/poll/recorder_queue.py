"""Rounds on their way to the recorder: kept in order while the ledger cannot be written, and never skipped."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from exporters.poll.poller import Polled
from exporters.recorder import Holding, Recorder, Round, Telemetry

log = logging.getLogger(__name__)

PENDING_ROUNDS = 240
"""Rounds kept in memory while the ledger cannot be written: an hour at 15 s. Older ones are dropped, and counted."""


class Handover:
    """Hands rounds over, oldest first, and tells each source what of it is recorded.

    ``first``: this is the first shard, which records what sources said for all shards. ``last`` is when a round was
    last recorded, epoch seconds.
    """

    def __init__(self, recorder: Recorder, polled: Sequence[Polled], *, first: bool) -> None:
        self._recorder, self._polled, self._first = recorder, polled, first
        self._pending: deque[Round] = deque()
        self._dropped = 0
        self._recording = threading.Lock()
        self.last = 0.0

    @property
    def waiting(self) -> int:
        """Rounds that are not recorded yet."""
        return len(self._pending)

    def add(self, now: float, holdings: Sequence[Holding], telemetry: Sequence[Telemetry]) -> None:
        """Another round: with the part of each source that was read since the last."""
        read = [reading for p in self._polled if (reading := p.unrecorded()) is not None] if self._first else []
        self._pending.append(Round(now, read, holdings, telemetry))
        while len(self._pending) > PENDING_ROUNDS:
            self._pending.popleft()
            self._dropped += 1
            log.error("recorder: a round was dropped after %d waited, %d so far", PENDING_ROUNDS, self._dropped)

    def record(self, now: float) -> None:
        """Hand over what waits. What cannot be kept now waits for the next time."""
        with self._recording:
            while self._pending:
                round_ = self._pending[0]
                try:
                    self._recorder.record(round_)
                except Exception as e:  # noqa: BLE001 - any ledger trouble: keep the round, say so, go on serving
                    log.error("recorder: %d rounds wait, the ledger cannot be written: %s", self.waiting, e)  # noqa: TRY400
                    return
                self._pending.popleft()
                self.last = now
                self._acknowledge(round_)

    def _acknowledge(self, round_: Round) -> None:
        for p in self._polled:
            polled_at = next((r.polled_at for r in round_.readings if r.source == p.name), None)
            if not self._first and p.snapshot is not None:
                polled_at = p.snapshot.at  # what ended is for the first shard to record
            if polled_at is not None:
                p.source.acknowledge(polled_at)
