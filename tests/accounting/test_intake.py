from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from accounting.intake import history
from accounting.intake.history import IntakeReport, cursor, ingest_history
from accounting.intake.records import Kept
from accounting.intake.rejects import rejects
from accounting.periods.check import check
from accounting.store.tables import claim_keys, claims, jobs, node_events, nodes, records, windows
from accounting.store.tables import rejects as rejected
from exporters.model import LinkKey, LinkKind, NodeEvent, Record, Reject
from exporters.sources.base import SourceError
from tests.accounting import views
from tests.accounting.conftest import NewLedger
from tests.accounting.site import DAY, T0, History, ended, gn, held, run, running, slurm_job, waiting, without

NOW = T0 + DAY


def take(engine: Engine, source: History, now: int = NOW, **more: Any) -> IntakeReport:
    return ingest_history(engine, source, now=now, start=T0, **more)


def test_every_record_read_is_counted_in_exactly_one_way(engine: Engine) -> None:
    bad = Reject("sacct", "garbage", "no job id")
    source = History(
        [ended(1, T0, T0 + 60), running(2, T0 + 5), waiting(3), without(4), without(5, "never started"), bad]
    )
    report = take(engine, source)

    assert (6, 1, 2, 1) == (report.read, report.charged, report.pending, report.rejected)
    assert {"never started": 1, "no gpu": 1} == report.excluded
    assert [(6, 1, 2, 2, 1)] == views.rows(
        engine,
        select(windows.c.read, windows.c.charged, windows.c.excluded, windows.c.pending, windows.c.rejected),
    )


def test_reading_the_same_again_changes_nothing(engine: Engine) -> None:
    source = History([ended(1, T0, T0 + 60, nodes=(1, 2)), running(2, T0 + 5), without(4)])
    first = take(engine, source)
    before = views.everything(engine)
    again = take(engine, source)

    assert Kept(new=3) == first.kept
    assert Kept(unchanged=3) == again.kept
    assert before == views.everything(engine)


def test_a_raw_record_is_kept_byte_for_byte(engine: Engine) -> None:
    raw = b"7|caf\xe9 | with\nnewline\x1f\t|\xff\xfe".decode("utf-8", "surrogateescape")
    job = replace(slurm_job(7, T0, T0 + 9), name=raw)
    take(engine, History([Record("sacct", raw, job, (held(7, 1, T0, T0 + 9),))]))

    assert [(b"7|caf\xe9 | with\nnewline\x1f\t|\xff\xfe",)] == views.rows(engine, select(records.c.raw))


def test_a_job_waits_runs_and_ends_and_only_its_last_state_is_current(engine: Engine) -> None:
    for n, record in enumerate([waiting(1), running(1, T0 + 10), ended(1, T0 + 10, T0 + 90)]):
        take(engine, History([record]), now=T0 + 100 * (n + 1))

    assert [(f"1@{T0}", "gn01", 1000, T0 + 10, T0 + 90)] == views.spans(engine)
    assert [(f"slurm/lab/1@{T0}", "charged", "")] == views.outcomes(engine)
    assert "COMPLETED" == views.all_jobs(engine)[0][12]
    assert [] == rejects(engine)


def test_a_running_job_that_repeats_itself_in_other_words_is_no_news(engine: Engine) -> None:
    take(engine, History([running(1, T0, note="elapsed 10")]))
    report = take(engine, History([running(1, T0, note="elapsed 20")]), now=NOW + 60)

    assert Kept(unchanged=1) == report.kept


def test_an_earlier_state_read_late_does_not_come_back(engine: Engine) -> None:
    take(engine, History([ended(1, T0 + 10, T0 + 90)]))
    take(engine, History([running(1, T0 + 10)]), now=NOW + 60)

    assert [(f"1@{T0}", "gn01", 1000, T0 + 10, T0 + 90)] == views.spans(engine)


def test_a_run_is_described_by_its_current_record_though_another_was_seen_later(engine: Engine) -> None:
    """The clock was set back, or two services read: an end seen at 100 counts more than a start seen at 200."""
    for now, row in ((T0 + 200, running(1, T0)), (T0 + 100, ended(1, T0, T0 + 60))):
        ingest_history(engine, History([row]), now=now, start=T0)

    assert ["COMPLETED"] == [j[12] for j in views.all_jobs(engine)]
    assert [] == check(engine)


def test_a_record_that_ended_and_changes_is_taken_and_shown_as_changed(engine: Engine) -> None:
    take(engine, History([ended(1, T0, T0 + 60)]))
    report = take(engine, History([ended(1, T0, T0 + 80, nodes=(2,))]), now=NOW + 60)
    [aside] = rejects(engine)

    assert Kept(later=1, changed=1) == report.kept
    assert [(f"1@{T0}", "gn02", 1000, T0, T0 + 80)] == views.spans(engine)
    assert ("changed", ended(1, T0, T0 + 60).raw.encode()) == (aside.kind, aside.record)
    assert f"not used any more: 1 cards of gn01 over [{T0}, {T0 + 60}); now: 1 cards of gn02" in aside.reason


def test_a_record_that_changes_back_is_current_again(engine: Engine) -> None:
    a, b = ended(1, T0, T0 + 60), ended(1, T0, T0 + 80)
    for n, record in enumerate([a, b, a]):
        take(engine, History([record]), now=NOW + 60 * n)

    assert [(f"1@{T0}", "gn01", 1000, T0, T0 + 60)] == views.spans(engine)


def test_other_wording_of_the_same_end_is_kept_and_is_no_change(engine: Engine) -> None:
    take(engine, History([ended(1, T0, T0 + 60)]))
    report = take(engine, History([ended(1, T0, T0 + 60, note="comment added")]), now=NOW + 60)

    assert Kept(later=1) == report.kept
    assert [] == rejects(engine)
    assert 2 == len(views.rows(engine, select(records.c.raw)))


@pytest.mark.parametrize(
    "record",
    [
        ended(1, T0, T0 + 60, cards=4096),
        ended(1, T0, T0),
        ended(1, NOW, NOW + DAY),
        running(1, NOW + DAY),
        without(1),
        waiting(1),
        replace(without(1), job=slurm_job(1, T0, T0)),
        replace(without(1), pending=True, excluded=""),
    ],
)
def test_a_record_at_the_border_of_what_makes_sense_is_used(record: Record) -> None:
    assert history.senseless(record, NOW) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ended(1, T0 + 60, T0), "ends before it starts"),
        (ended(1, T0, T0 + 400 * DAY), "which is not a past time"),
        (replace(ended(1, T0, T0 + 60), job=slurm_job(1, T0 + 60, T0)), "ends before it starts"),
        (ended(1, T0, T0 + 60, cards=0), "0 milliGPU cannot be held"),
        (replace(ended(1, T0, T0 + 60), job=slurm_job(2, T0, T0 + 60)), "is of another job"),
        (replace(ended(1, T0, T0 + 60), excluded="no gpu"), "both holds cards and is excluded"),
        (replace(ended(1, T0, T0 + 60), claims=()), "nothing says why"),
        (
            replace(ended(1, T0, T0 + 60), job=slurm_job(1, T0 + 60, T0), claims=(), excluded="x"),
            "ends before it starts",
        ),
        (running(1, 4_294_967_294), "not a past time"),
        (ended(1, -1, T0), "not a past time"),
        (replace(ended(1, T0, T0 + 60), claims=(held(1, 1, T0 + 60, T0),)), "on node gn01: ends before it starts"),
        (ended(1, T0, T0 + 60, cards=4097), "4097000 milliGPU cannot be held"),
        (replace(running(1, T0, cards=0), pending=False), "0 milliGPU cannot be held"),  # the first fault is told
        (replace(running(1, T0), pending=False), "the claim has no end"),
    ],
)
def test_a_senseless_record_is_set_aside_with_its_reason_and_the_rest_goes_on(
    engine: Engine, record: Record, reason: str
) -> None:
    report = take(engine, History([ended(8, T0, T0 + 5), record, ended(9, T0, T0 + 5)]))
    [aside] = rejects(engine)

    assert (2, 1) == (report.charged, report.rejected)
    assert reason in aside.reason
    assert record.raw.encode() == aside.record


def test_the_rows_and_their_ids_do_not_depend_on_the_batching(
    new_ledger: NewLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = LinkKey(LinkKind.SAME, "", "vision/p", "AdminComment")
    told: list[Record | Reject] = [
        replace(r, claims=tuple(replace(c, keys=(key,)) for c in r.claims))
        for r in (ended(n, T0, T0 + 60, nodes=(9 - n % 7, 20 - n % 3)) for n in range(40))
    ]
    told[7:7] = [without(90), running(91, T0), Reject("sacct", "garbage", "no job id")]

    def dump(batch: int) -> list[Any]:
        monkeypatch.setattr(history, "BATCH", batch)
        monkeypatch.setattr("accounting.intake.records.BATCH", batch)
        engine = new_ledger()
        take(engine, History(told))
        return [views.rows(engine, select(t)) for t in (jobs, nodes, records, claims, claim_keys, rejected)]

    whole = dump(5000)

    assert [42, 11, 42, 81, 80, 1] == [len(rows) for rows in whole]
    assert [whole, whole] == [dump(1), dump(13)]


def test_names_that_a_statement_could_trip_over_are_found_again(engine: Engine) -> None:
    names = ["it's", 'a "quoted" one', "back\\slash", "tab\t", "é\U0001f600", "{curly, brace}", "null", "%s :values ?"]
    told = [
        replace(
            r,
            job=replace(r.job, key=k),
            claims=tuple(replace(c, job=k, node=c.node._replace(name=n)) for c in r.claims),
        )
        for n, r, k in ((n, ended(n, T0, T0 + 60), run(1)._replace(id=n)) for n in names)
    ]
    first = take(engine, History(told))
    again = take(engine, History(told), now=NOW + 60)

    assert Kept(new=len(names)) == first.kept
    assert Kept(unchanged=len(names)) == again.kept
    assert sorted(names) == sorted(s[0] for s in views.spans(engine)) == sorted(s[1] for s in views.spans(engine))


def test_the_same_bad_record_is_set_aside_once(engine: Engine) -> None:
    source = History([Reject("sacct", "half a li\udcff", "the line has 3 of 20 fields")])
    take(engine, source)
    take(engine, source, now=NOW + 60)

    assert [("unreadable", b"half a li\xff", "the line has 3 of 20 fields")] == views.asides(engine)


@pytest.mark.parametrize("wrong", [{"step": 0}, {"step": -1}, {"overlap": -1}])
def test_windows_that_go_nowhere_are_refused(engine: Engine, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="step must be positive and overlap not negative"):
        take(engine, History([]), **wrong)


def test_windows_follow_each_other_to_now_and_the_next_call_overlaps(engine: Engine) -> None:
    source = History()
    take(engine, source, now=T0 + 250, step=100)
    first, source.windows = source.windows, []
    take(engine, source, now=T0 + 300, step=100, overlap=120)

    assert [(T0, T0 + 100), (T0 + 100, T0 + 200), (T0 + 200, T0 + 250)] == first
    assert [(T0 + 130, T0 + 230), (T0 + 230, T0 + 300)] == source.windows
    assert [("sacct", "lab", T0, T0 + 300)] == views.covered(engine, "history")
    assert T0 + 300 == cursor(engine, "sacct", "lab")


def test_a_source_that_fails_midway_keeps_what_was_read_and_reads_the_rest_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 2)

    class Failing(History):
        def records(self, start: int, end: int) -> Iterator[Record | Reject]:
            yield from super().records(start, end)
            if start >= T0 + 100:
                raise SourceError("sacct: exit 1")

    rows = [ended(n, T0, T0 + 50 + n) for n in range(5)]
    with pytest.raises(SourceError, match="exit 1"):
        take(engine, Failing(rows), now=T0 + 300, step=100)

    assert T0 + 100 == cursor(engine, "sacct", "lab")
    assert [("sacct", "lab", T0, T0 + 100)] == views.covered(engine, "history")

    take(engine, History(rows), now=T0 + 300, step=100, overlap=0)

    assert 5 == len(views.spans(engine))
    assert [("sacct", "lab", T0, T0 + 300)] == views.covered(engine, "history")


def test_what_was_committed_of_a_failed_window_stays(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH", 2)

    class Failing(History):
        def records(self, start: int, end: int) -> Iterator[Record | Reject]:
            yield from super().records(start, end)
            raise SourceError("sacct: killed")

    with pytest.raises(SourceError):
        take(engine, Failing([ended(n, T0, T0 + 50) for n in range(5)]))

    assert 4 == len(views.spans(engine))
    assert cursor(engine, "sacct", "lab") is None
    assert [] == views.covered(engine, "history")


def test_two_clusters_have_their_own_cursors_and_jobs(engine: Engine) -> None:
    take(engine, History([ended(1, T0, T0 + 60)]))
    other = ended(1, T0, T0 + 70)
    key = other.job.key._replace(cluster="annex")
    claims = tuple(replace(c, job=key, node=c.node._replace(cluster="annex")) for c in other.claims)
    take(
        engine, History([replace(other, job=replace(other.job, key=key), claims=claims)], cluster="annex"), now=NOW + 5
    )

    assert [T0 + 60, T0 + 70] == [s[4] for s in views.spans(engine)]
    assert (NOW, NOW + 5) == (cursor(engine, "sacct", "lab"), cursor(engine, "sacct", "annex"))


def test_node_events_are_kept_and_their_later_version_counts(engine: Engine) -> None:
    drained = NodeEvent(gn(1), T0 + 10, None, up=False, milligpu=8000, reason="bad fan")
    take(engine, History(node_events=[drained, NodeEvent(gn(2), T0, T0 + 5, up=False)]))
    take(engine, History(node_events=[replace(drained, end=T0 + 99)]), now=NOW + 9)
    take(engine, History(node_events=[drained]), now=NOW + 19)

    assert [
        ("gn01", T0 + 10, T0 + 99, False, 8000, "bad fan"),
        ("gn02", T0, T0 + 5, False, None, ""),
    ] == [(*e[:3], bool(e[3]), *e[4:]) for e in views.events(engine)]


def test_every_version_of_an_event_keeps_when_it_was_last_told_and_one_that_ended_counts(engine: Engine) -> None:
    open_, closed = (NodeEvent(gn(1), T0, end, up=False, milligpu=8000, reason="bad fan") for end in (None, T0 + 9))
    for n, told in enumerate(([open_], [open_, closed], [closed, closed], [open_])):
        take(engine, History(node_events=told), now=NOW + n)
    c = node_events.c

    assert [(None, NOW + 3, False), (T0 + 9, NOW + 2, True)] == [
        (end, seen, bool(current))
        for end, seen, current in sorted(
            views.rows(engine, select(c.end_at, c.seen_at, c.current)), key=lambda row: row[0] or 0
        )
    ]


def test_an_event_that_ends_before_it_starts_is_set_aside(engine: Engine) -> None:
    take(engine, History(node_events=[NodeEvent(gn(1), T0 + 10, T0, up=False)]))

    assert [] == views.events(engine)
    assert "ends before it starts" in rejects(engine)[0].reason


def test_progress_tells_time_and_records(engine: Engine) -> None:
    told: list[tuple[int, int, int]] = []
    take(engine, History([without(1)]), now=T0 + 200, step=100, progress=lambda *a: told.append(a))

    assert [(100, 200, 1), (200, 200, 2)] == told


_JOBS = st.integers(1, 4)
_RECORDS = st.one_of(
    st.builds(waiting, _JOBS),
    st.builds(lambda n, s: running(n, T0 + s), _JOBS, st.integers(0, 3)),
    st.builds(
        lambda n, s, d, at, note: ended(n, T0 + s, T0 + s + d, at, note=note),
        _JOBS,
        st.integers(0, 3),
        st.integers(-1, 3),
        st.sampled_from([(1,), (1, 2), (3,)]),
        st.sampled_from(["", "other"]),
    ),
    st.builds(without, _JOBS),
    st.builds(lambda n: Reject("sacct", f"garbage {n}", "unreadable"), _JOBS),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), told=st.lists(_RECORDS, max_size=12))
def test_order_batching_and_repetition_change_nothing(
    new_ledger: NewLedger, data: st.DataObject, told: list[Record | Reject]
) -> None:
    def view(batches: list[list[Record | Reject]]) -> dict[str, list[tuple[Any, ...]]]:
        engine = new_ledger()
        still: list[Record | Reject] = []  # what runs is in every answer that reaches now
        for batch in batches:
            take(engine, History([*still, *batch]))
            still += [r for r in batch if isinstance(r, Record) and r.pending]
        return views.everything(engine)

    shuffled = data.draw(
        st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=4)) if told else told)
    )
    cut = data.draw(st.integers(0, len(shuffled)))

    assert view([told]) == view([shuffled[:cut], shuffled[cut:]])
