"""A whole site in motion, and its ledger: whatever happens in whatever order, the books say what a naive reader says.

``HYPOTHESIS_PROFILE=explore`` looks further than continuous integration has time to.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounting.evidence.rulings import add_ruling
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.ledger.disputes import disputes
from accounting.ledger.disputes import rule as decide
from accounting.model import Ruling
from accounting.periods.check import check
from accounting.periods.closing import ClosedWith
from accounting.periods.sealing import chain, seal
from accounting.rates.rating import Rates
from accounting.statements import Terms
from accounting.store.calendar import close, period_named, segments
from accounting.store.database import write
from exporters.model import JobKey, Record, Reject
from tests.accounting import model_happenings as happenings
from tests.accounting.conftest import NewLedger
from tests.accounting.model_belief import GAP, Belief, Sums
from tests.accounting.model_books import MONTHS, Books, Told, mixed, money
from tests.accounting.model_cards import holdings
from tests.accounting.model_happenings import happening
from tests.accounting.model_site import HOUR, START, ModelSite
from tests.accounting.test_reconciling import project

BATCH = 5000
picks = st.integers(0, 5)


class SiteMachine(RuleBasedStateMachine):
    """Rules act on the site; its sources are read, or not; and the books are compared with the belief."""

    def __init__(self, new_ledger: NewLedger) -> None:
        super().__init__()
        self.new_ledger = new_ledger
        self.site, self.belief = ModelSite(), Belief()
        self.log: list[Told] = []
        self.rulings: list[tuple[str, tuple[JobKey, ...], JobKey | None, int]] = []
        self.out = {"kube": False, "slurm": False, "exporter": False}
        self.price = 2
        self.said: dict[str, str] = {}
        self.seals: dict[str, str] = {}
        self.clean = True

    @initialize(
        zone=st.sampled_from([UTC, ZoneInfo("Europe/Zurich")]),
        mornings=st.lists(st.lists(happening, min_size=3, max_size=5), min_size=3, max_size=4),
    )
    def begin(self, zone: tzinfo, mornings: list[list[tuple[Any, ...]]]) -> None:
        self.zone = zone
        self.books = Books(self.new_ledger(), zone)
        for what in mornings:
            self.happen(what, hours=1)

    # what happens at the site, and what its sources say of it

    @rule(what=st.lists(happening, min_size=1, max_size=3), hours=st.integers(0, 3))
    def happen(self, what: list[tuple[Any, ...]], hours: int) -> None:
        for name, *words in what:
            getattr(happenings, name)(self.site, *words)
        self.time_passes(hours)

    @rule(what=st.lists(happening, min_size=2, max_size=5), hours=st.integers(1, 6))
    def much_happens(self, what: list[tuple[Any, ...]], hours: int) -> None:
        self.happen(what, hours)

    @rule(what=st.lists(happening, min_size=1, max_size=4), hours=st.integers(1, 4), batch=st.integers(1, 4))
    def a_busy_day(self, what: list[tuple[Any, ...]], hours: int, batch: int) -> None:
        self.happen(what, hours)
        self.catch_up(batch, read=True)

    @rule(which=st.sampled_from(["kube", "slurm", "exporter"]))
    def outage_or_not(self, which: str) -> None:
        self.out[which] = not self.out[which]

    def time_passes(self, hours: int) -> None:
        for _ in range(hours):
            self.site.now += HOUR
            self.poll()

    @rule(restart=st.booleans())
    def look_again(self, restart: bool) -> None:
        if restart:
            self.books.recorder = LedgerRecorder(self.books.engine, gap=GAP, zone=self.zone)
        self.poll()

    def poll(self) -> None:
        """A round of the live side; a source that is out tells what it told last, with the time of then."""
        if self.out["exporter"]:
            self.site.kube_missed = True
            return
        readings = []
        for which, make in (("kube", self.site.kube_reading), ("slurm", self.site.slurm_reading)):
            if self.out[which]:
                self.site.kube_missed |= which == "kube"
                last = [r for t in self.log for r in t.readings if r.cluster == ("kube" if which == "kube" else "lab")]
                readings += last[-1:]
            elif which == "slurm" or self.site.kube_polled != self.site.now:
                readings.append(make())
        self._tell(Told(self.site.now, tuple(readings), holdings=holdings(self.site)))

    def _tell(self, told: Told, batch: int = BATCH) -> None:
        self.log.append(told)
        self.books.tell(told, batch)
        for reading in told.readings:
            self.belief.hear_reading(reading)
        if told.records is None:
            self.belief.hear_holdings(told.now, told.holdings)
        else:
            good = [r for r in told.records if isinstance(r, Record)]
            self.belief.hear_history(good, told.events, told.now)
        self.clean = False

    @rule(batch=st.integers(1, 4), twice=st.booleans(), seed=st.integers(0, 9), garbage=st.booleans())
    def ingest(self, batch: int, twice: bool, seed: int, garbage: bool) -> None:
        self._later()
        rows: list[Record | Reject] = list(self.site.history()) * (1 + twice)
        if garbage:
            rows.append(Reject("sacct", f"garbage {self.site.now}", "cannot be read", float(self.site.now)))
        Random(seed).shuffle(rows)
        self._tell(Told(self.site.now, records=tuple(rows), events=tuple(self.site.events)), batch)

    @rule(pick=picks)
    def stale(self, pick: int) -> None:
        """An answer that was asked for long ago comes in now: what it said then, it says again."""
        old = [t for t in self.log if t.records is not None]
        if old:
            self._tell(old[pick % len(old)])

    def _later(self) -> None:
        """Two histories of one second have no order: what they say of one run is told apart by its bytes alone."""
        if any(t.records is not None and t.now == self.site.now for t in self.log):
            self.time_passes(1)

    # the books

    def reconcile(self) -> None:
        self.books.reconcile(self.site.now)
        self.price += 1
        expected = self.belief.books(self.site.now, list(segments(START, self.site.now, self.zone)))
        booked = self.books.booked()

        assert expected == booked

    @rule(batch=st.integers(1, 4), read=st.booleans())
    def catch_up(self, batch: int, read: bool) -> None:
        """What the service does all day: read, and reconcile."""
        if read:
            self.ingest(batch=batch, twice=False, seed=batch, garbage=False)
        self.reconcile()

    @rule(pick=picks, side=st.integers(0, 2))
    def rule_or_revoke(self, pick: int, side: int) -> None:
        found = disputes(self.books.engine, project)
        if not found:
            return
        dispute = found[pick % len(found)]
        keys = tuple(p.job.key for p in dispute.parties)
        to = None if side == 2 else keys[side % len(keys)]
        if to is None and (dispute.ruling is None or dispute.ruling.to is None):
            return
        why = f"because {self.site.next()}"
        decide(
            self.books.engine, dispute.name, None if to is None else str(to), author="ada", why=why,
            now=self.site.now, projects=project,
        )  # fmt: skip
        made = None if to is None else Ruling(keys, to, "ada", why)
        self.belief.rulings[dispute.machine, keys] = made
        self.rulings.append((dispute.machine, keys, to, self.site.now))
        self.clean = False

    @precondition(lambda self: self.site.now >= period_named(MONTHS[0], self.zone).end)
    @rule()
    def close_month(self) -> None:
        name = MONTHS[0]
        if name not in self.said:
            before = self.books.statement(name, self.price)
            told = ClosedWith(Rates({}, default=money(self.price)), Terms(), 0, 0, money(0)).text()
            close(self.books.engine, name, now=self.site.now, zone=self.zone, closed_with=lambda _: told)
            self.said[name] = before
        self.clean = False

    @precondition(lambda self: self.said)
    @rule()
    def seal_month(self) -> None:
        seal(self.books.engine, MONTHS[0], now=self.site.now, zone=self.zone)
        self.seals = dict(chain(self.books.engine))
        self.clean = False

    @invariant()
    def every_invariant_holds(self) -> None:
        if not self.clean:
            assert [] == check(self.books.engine)
            assert self.said == {name: self.books.statement(name, self.price) for name in self.said}
            assert self.seals.items() <= dict(chain(self.books.engine)).items()
            self.clean = True

    def teardown(self) -> None:
        """The same told to fresh ledgers, in order and out of it, in other batches: the same bytes, the same sums.

        And where nobody is in dispute, the sums are those of a site that tells no cards.
        """
        if not hasattr(self, "books"):
            return
        self.reconcile()
        days = list(segments(START, self.site.now, self.zone))
        told, blind = (self.belief.books(self.site.now, days, cards=cards) for cards in (True, False))

        assert {place: blind[place] for place in told if not _in_dispute(told[place])} == {
            place: sums for place, sums in told.items() if not _in_dispute(sums)
        }
        sums = self.books.booked()
        dumps: list[dict[str, object]] = []
        for out_of_order in (False, True):
            again = Books(self.new_ledger(), self.zone)
            for one, batch in mixed(self.log, Random(len(self.log))) if out_of_order else [(t, 5000) for t in self.log]:
                again.tell(one, batch)
            with write(again.engine) as connection:
                for machine, keys, to, at in self.rulings:
                    add_ruling(connection, machine, keys, to, author="ada", why="so", at=at)
            again.reconcile(self.site.now)
            dumps.append(again.dump())

            assert sums == again.booked()
        for part, said in dumps[0].items():
            assert said == dumps[1][part], part


def _in_dispute(sums: Sums) -> bool:
    return any(key[0] == "disputed" for key in sums)


def _play(new_ledger: NewLedger, examples: int) -> None:
    long = settings.get_current_profile_name() == "explore"
    chosen = settings(
        max_examples=examples * 50 if long else examples,
        stateful_step_count=80 if long else 25,
        derandomize=not long,
        phases=[Phase.generate, *([Phase.reuse, Phase.shrink] if long else [])],  # shrinking takes minutes
        report_multiple_bugs=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: SiteMachine(new_ledger), settings=chosen)


def test_the_books_of_a_site_say_what_a_naive_reader_says_whatever_happens(new_ledger: NewLedger) -> None:
    _play(new_ledger, 6 if new_ledger().dialect.name == "sqlite" else 2)
