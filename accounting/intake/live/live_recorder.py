"""The recorder: keeps in the ledger what only the live side can know.

Kubernetes keeps no history and Slurm forgets a job's cards the second it ends. Each round is one transaction, and is
durable when `LedgerRecorder.record` returns, but for telemetry, which is summed in memory and written every
``flush_seconds``: a process that is killed loses at most that much of what only decorates lines.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo

from sqlalchemy import Connection, Engine, select

from accounting.intake.coverage import ROUND, begin_live, extend_live, forget_future, last_live
from accounting.intake.faults import blames_content, rejected, sift, without
from accounting.intake.live import holdings, lease, sightings, telemetry
from accounting.intake.live.sightings import Seen
from accounting.intake.rejects import aside_of, set_aside
from accounting.store.database import read, upsert, write, write_on
from accounting.store.tables import recorders
from exporters.model import Reject
from exporters.recorder import Round

log = logging.getLogger(__name__)


MOST_GUILTY = 10_000
"""Facts that are remembered as not to be kept: they come again in every round."""


class _TriedError(Exception):
    """A trial has worked, and is to leave nothing behind."""


@dataclass(frozen=True, slots=True)
class _State:
    """What is known between two rounds; replaced as a whole once a round is committed."""

    last_ms: int | None = None
    stretch: tuple[int, int, int] | None = None
    held: holdings.Held = field(default_factory=dict)
    seen: dict[tuple[str, str], Seen] = field(default_factory=dict)
    buckets: telemetry.Buckets = field(default_factory=dict)
    flushed_ms: int = 0


class LedgerRecorder:
    """Keeps rounds in a ledger (`exporters.recorder.Recorder`).

    ``gap`` is how many seconds may lie between two sightings of the same thing: longer, and the time between is
    unknown. It must exceed the interval of the slowest source. ``name`` tells recorders apart that write to one ledger;
    each needs its own, and keeps it over restarts. ``zone`` is the site's time zone, which cuts telemetry at months.

    Rounds come in the order of their time. A round that is not later than the last one kept is a repeat: its
    telemetry and holdings were kept already, and what its readings tell is kept again without effect. Where the last
    one kept lies in the future of ``clock`` (epoch seconds) by more than the gap, the clock that stamped it was wrong:
    what was stamped later than a new round is taken back.

    One process at a time records under a name (`accounting.intake.live.lease`): the other one's rounds are refused.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        gap: float = 300.0,
        name: str = "exporter",
        zone: tzinfo = UTC,
        flush_seconds: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._engine, self._gap, self._name, self._zone = engine, gap, name, zone
        self._flush_ms = int(flush_seconds * 1000)
        self._state: _State | None = None
        self._guilty: set[str] = set()
        self._hoped: _State | None = None  # what a round led to whose commit has not been confirmed

    def record(self, round_: Round) -> None:
        """Keep one round. Raises what the database raises; then it may be tried again, and is kept once.

        What of it no ledger can keep is set aside (`accounting.intake.faults`), and the rest is kept. A server that
        goes away while it commits may have done so or not: the next call asks the ledger.
        """
        round_ = without(round_, lambda fact: repr(fact) in self._guilty) if self._guilty else round_
        try:
            self._record(round_)
        except Exception as error:
            if not blames_content(error):
                raise
            found = sift(round_, self._try)
            if not found.guilty:
                raise
            self._guilty |= {repr(fact) for fact, _ in found.guilty[: MOST_GUILTY - len(self._guilty)]}
            rejects = rejected(found.guilty, round_.at)
            for reject in rejects:
                log.error("recorder: %s: %s", reject.reason, reject.record[:200])  # noqa: TRY400 - its reason says it
            self._record(found.round, rejects)

    def _record(self, round_: Round, rejects: Sequence[Reject] = ()) -> None:
        state = self._standing()
        with write(self._engine) as connection:
            state = self._hoped = self._write(connection, round_, state)
            set_aside(connection, [aside_of(reject, "") for reject in rejects], int(round_.at))
        self._state, self._hoped = state, None

    def _try(self, round_: Round) -> None:
        """Whether a round could be kept: it raises what that raises, and keeps nothing."""
        state = self._standing()
        with self._engine.connect() as connection, suppress(_TriedError), write_on(connection) as writer:
            self._write(writer, round_, state)
            raise _TriedError

    def _write(self, connection: Connection, round_: Round, state: _State) -> _State:
        """Write a round in the caller's transaction; returns where the ledger stands then."""
        at_ms = int(round_.at * 1000)
        gap_ms = 1000 * self._gap
        lease.take(connection, self._name, self._clock(), max(lease.SECONDS, self._gap))
        if state.last_ms is not None and max(at_ms, 1000 * self._clock()) < state.last_ms - gap_ms:
            log.error(
                "the last round kept is of %s, %d s after this one: a clock was wrong; what it stamped is taken back",
                state.last_ms, (state.last_ms - at_ms) // 1000,
            )  # fmt: skip
            forget_future(connection, self._name, {(r.source, r.cluster) for r in round_.readings}, at_ms // 1000)
            state = replace(self._found(connection), buckets={}, last_ms=None)
        seen = dict(state.seen)
        for reading in round_.readings:
            place = (reading.source, reading.cluster)
            before = seen.get(place) or sightings.recall(connection, *place)
            seen[place] = sightings.take(connection, reading, before, self._gap)
        state = replace(state, seen=seen)
        if state.last_ms is None or at_ms > state.last_ms:
            state = self._take(connection, round_, at_ms, state)
        elif at_ms < state.last_ms:
            log.warning("a round of %s came after one of %s: taken as a repeat", at_ms, state.last_ms)
        return state

    def close(self) -> None:
        """Write what is batched, and release the connections. The recorder may be used again."""
        state = self._state
        if state is not None:
            with write(self._engine) as connection:
                telemetry.flush(connection, state.buckets)
                lease.give_back(connection, self._name)
            self._state = replace(state, buckets={})
        self._engine.dispose()

    def _standing(self) -> _State:
        """Where the ledger stands; what is only in memory (telemetry not yet written) is added to it."""
        if self._hoped is None:
            return self._state or self._recall()
        found, before = self._recall(), self._state or _State()
        kept = found.last_ms == self._hoped.last_ms != before.last_ms
        memory = self._hoped if kept else before
        self._state, self._hoped = replace(found, buckets=memory.buckets, flushed_ms=memory.flushed_ms), None
        return self._state

    def _recall(self) -> _State:
        with read(self._engine) as connection:
            return self._found(connection)

    def _found(self, connection: Connection) -> _State:
        last = connection.execute(
            select(recorders.c.last_at_ms).where(recorders.c.name == self._name)
        ).scalar_one_or_none()
        return _State(
            last,
            last_live(connection, self._name, "", ROUND),
            holdings.recall(connection, self._name),
            flushed_ms=last or 0,
        )

    def _take(self, connection: Connection, round_: Round, at_ms: int, state: _State) -> _State:
        """Holdings and telemetry of a round that is later than the last."""
        at = at_ms // 1000
        held, stretch = state.held, state.stretch
        if stretch is not None and at - stretch[2] <= self._gap:
            stretch = (stretch[0], stretch[1], at)
            extend_live(connection, stretch[0], at)
        else:
            if stretch is not None:
                holdings.close(connection, [number for number, _ in held.values()], stretch[2])
            held = {}
            stretch = (begin_live(connection, self._name, "", "", ROUND, at), at, at)
        held = holdings.take(connection, self._name, round_.holdings, held, at)
        buckets = telemetry.add(state.buckets, round_.telemetry, self._zone)
        flushed = state.flushed_ms
        if at_ms - flushed >= self._flush_ms:
            telemetry.flush(connection, buckets)
            buckets, flushed = {}, at_ms
        put = upsert(recorders, connection.dialect.name).values(name=self._name, last_at_ms=at_ms)
        connection.execute(put.on_conflict_do_update(index_elements=["name"], set_={"last_at_ms": at_ms}))
        return replace(state, last_ms=at_ms, stretch=stretch, held=held, buckets=buckets, flushed_ms=flushed)
