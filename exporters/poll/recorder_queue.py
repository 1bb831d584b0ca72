"""Rounds on their way to the recorder: kept in order while the ledger cannot be written, and never skipped.

A running exporter hands them over on a thread of their own: a ledger that does not answer delays no page.
"""

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
        self._offered = threading.Event()
        self._ending = False
        self._now = 0.0
        self._thread: threading.Thread | None = None
        self.last = 0.0

    def start(self) -> None:
        """Record on a thread from now on."""
        self._thread = threading.Thread(target=self._forever, name="record", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Hand over what waits, and close the recorder, within ``patience`` seconds; what did not go is said.

        A ledger that does not answer now is given up: rounds that wait are lost with the process, and what they told
        is unknown time, as after a crash.
        """
        self._ending = True
        self._offered.set()
        if self._thread is None:
            self._recorder.close()
            return
        self._thread.join(patience)
        if self._thread.is_alive():
            log.error("recorder: the ledger does not answer: %d rounds are given up", self.waiting)

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

    def offer(self, now: float) -> None:
        """Have what waits handed over: by the thread where there is one, else here and now."""
        if self._thread is None:
            self.record(now)
        else:
            self._now = now
            self._offered.set()

    def _forever(self) -> None:
        while not self._ending:
            self._offered.wait()
            self._offered.clear()
            self.record(self._now)
        self.record(self._now)
        try:
            self._recorder.close()
        except Exception as e:  # noqa: BLE001 - as `record`
            log.error("recorder: what is batched cannot be written: %s", e)  # noqa: TRY400

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
                if self._pending and self._pending[0] is round_:  # else it was dropped meanwhile, for it waited long
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
