"""The history source on a real Slurm, where one job of every kind has run (tests.lab.jobs)."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest

from exporters.model import NodeEvent, Record, Reject
from exporters.sources.base import SourceError
from exporters.sources.slurm.history.sacct import Sacct
from tests.lab.jobs import HOSTILE, Story

pytestmark = pytest.mark.server("slurm")


def read(story: Story, **settings: int) -> list[Record | Reject]:
    source = Sacct(story.lab.cluster, environment=story.lab.environment, **settings)
    items = source.records(story.start, story.end)
    ids = set(story.ids.values())
    return [i for i in items if isinstance(i, Reject) or i.job.display_id.split("_")[0].split("+")[0] in ids]


@pytest.fixture(scope="module")
def history(story: Story) -> dict[str, list[Record]]:
    """Records by the kind of job that they are about, in order of submission."""
    kinds = {job: kind for kind, job in story.ids.items()}
    found = defaultdict(list)
    for record in read(story):
        assert isinstance(record, Record)
        found[kinds[record.job.display_id.split("_")[0].split("+")[0]]].append(record)
    return {kind: sorted(records, key=lambda r: r.job.submit or 0) for kind, records in found.items()}


def told(record: Record) -> tuple[str, str, list[tuple[str, int, str, str]]]:
    """State, why excluded, and (node, milliGPU, model, profile) of every claim."""
    claims = [(c.node.name, c.milligpu, c.model, c.profile) for c in record.claims]
    return record.job.state, record.excluded, claims


def test_every_kind_of_job_is_there_with_its_cards(history: dict[str, list[Record]]) -> None:
    expected = {
        "plain": [("CANCELLED", "", [("gn01", 2000, "h100", "")])],
        "exclusive": [("NODE_FAIL", "", [("gn02", 8000, "h100", "")]), ("CANCELLED", "never started", [])],
        "multi": [("CANCELLED", "", [("gn03", 3000, "h100", ""), ("gn04", 3000, "h100", "")])],
        "het": [("CANCELLED", "", [("gn01", 1000, "h100", "")]), ("CANCELLED", "", [("gn03", 2000, "h100", "")])],
        "cpu": [("COMPLETED", "no gpu", [])],
        "twotypes": [("CANCELLED", "", [("mx01", 285, "", "1g.10gb"), ("mx01", 1000, "a100", "")])],
        "hostile": [("CANCELLED", "", [("gn01", 1000, "h100", "")])],
        "requeue": [("REQUEUED", "", [("gn03", 2000, "h100", "")]), ("COMPLETED", "", [("gn03", 2000, "h100", "")])],
        "suspend": [("COMPLETED", "", [("gn04", 2000, "h100", "")])],
        "victim": [("PREEMPTED", "", [("mx01", 3000, "a100", "")]), ("CANCELLED", "never started", [])],
        "running": [("RUNNING", "", [("mx01", 142, "", "1g.10gb")])],
        "bridged": [("CANCELLED", "", [("gn04", 2000, "h100", "")])],
        "waits": [("CANCELLED", "never started", [])],
        "urgent": [("COMPLETED", "", [("mx01", 4000, "a100", "")])],
    }

    assert expected == {kind: [told(r) for r in records] for kind, records in history.items() if kind in expected}


def test_only_what_still_runs_is_pending(history: dict[str, list[Record]]) -> None:
    pending = [r for records in history.values() for r in records if r.pending]

    assert ["running"] == [r.job.name for r in pending]
    assert [None] == [c.end for c in pending[0].claims]


def test_array_tasks_are_runs_and_unstarted_ones_hold_nothing(history: dict[str, list[Record]], story: Story) -> None:
    array, unstarted = story.ids["array"], story.ids["unstarted"]
    told_of = {r.job.display_id: r for kind in ("array", "unstarted") for r in history[kind]}
    rest = [r for r in told_of.values() if "[" in r.job.display_id]

    assert {f"{array}_{n}" for n in range(4)} | {f"{unstarted}_1"} == {d for d in told_of if "[" not in d}
    assert 5 == len({told_of[d].job.native_id for d in told_of if "[" not in d})
    assert [("CANCELLED", "never started", [])] * len(rest) == [told(r) for r in rest]


def test_shares_of_several_nodes_are_marked_as_assumed(history: dict[str, list[Record]]) -> None:
    marked = {kind for kind, records in history.items() for r in records for c in r.claims if c.split_assumed}

    assert {"multi", "resize"} == marked


def test_names_with_every_delimiter_come_through_whole(history: dict[str, list[Record]]) -> None:
    [record] = history["hostile"]

    assert HOSTILE == record.job.name
    assert f"\x1f{HOSTILE}\x1f" in record.raw


def test_windows_of_any_size_yield_every_run_once(story: Story) -> None:
    whole, pieces = (
        [(r.job.key, r.claims) for r in read(story, step=step) if isinstance(r, Record) and r.job.start is not None]
        for step in (86_400, 2)
    )

    assert len(pieces) > 20
    assert sorted(whole, key=repr) == sorted(pieces, key=repr)


def test_card_seconds_per_account_equal_sreport(history: dict[str, list[Record]], story: Story) -> None:
    ours: dict[tuple[str, str], int] = defaultdict(int)
    for records in history.values():
        for r in records:
            for claim in r.claims:
                ours[r.job.account, r.job.user] += ((claim.end or 0) - claim.start) * claim.milligpu
    report = sreport(story)

    for who in (("story-vision", "alice"), ("story-vision", "bob"), ("story-nlp", "carol")):
        assert report[who] * 1000 == ours[who]


def test_after_a_resize_sreport_counts_twice_and_we_count_once(history: dict[str, list[Record]], story: Story) -> None:
    first, second = history["resize"]
    begun, resized, ended = first.job.start or 0, first.job.end or 0, second.job.end or 0
    ours = sum(((c.end or 0) - c.start) * c.milligpu for r in (first, second) for c in r.claims)

    assert (resized, resized) == (second.job.start, second.claims[0].start)
    assert ours == ((resized - begun) * 2 + (ended - resized)) * 1000
    if story.lab.release < (24, 11):  # there the second row keeps the first one's start
        assert sreport(story)["story-resize", "dave"] == (resized - begun) * 2 + (ended - begun)
        assert sreport(story)["story-resize", "dave"] * 1000 > ours


def sreport(story: Story) -> dict[tuple[str, str], int]:
    """Card-seconds per account and user, as sreport says after a forced rollup."""
    hours = (story.start // 3600 * 3600, story.end // 3600 * 3600 + 3600)
    story.lab.rollup(*hours)
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) for t in hours)
    what = ("cluster", "AccountUtilizationByUser", f"start={start}", f"end={end}")
    printed = story.lab.run("sreport", "-n", "-P", "-t", "seconds", "-T", "gres/gpu", *what, environment={"TZ": "UTC"})
    rows = [line.split("|") for line in printed.splitlines() if line.strip()]
    return {(row[1], row[2]): int(row[5]) for row in rows}


def test_the_dead_node_is_an_event(story: Story) -> None:
    source = Sacct(story.lab.cluster, environment=story.lab.environment)
    events = [e for e in source.events(story.start, story.end) if isinstance(e, NodeEvent) and "bad | fan" in e.reason]

    assert [("gn02", False, 8000)] == [(e.key.name, e.up, e.milligpu) for e in events]
    assert story.start <= events[0].start < (events[0].end or 0) <= story.end


def test_a_client_in_another_time_zone_reads_the_same(story: Story) -> None:
    plain = [r.raw for r in read(story)]
    source = Sacct(story.lab.cluster, environment={**story.lab.environment, "TZ": "America/St_Johns"})
    elsewhere = {r.raw for r in source.records(story.start, story.end) if isinstance(r, Record)}

    assert set(plain) <= elsewhere


def test_slurms_own_words_are_in_the_error(story: Story, tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("Nonsense=1\n")
    source = Sacct("lab", environment={**story.lab.environment, "SLURM_CONF": str(conf)})

    with pytest.raises(SourceError, match=r"'sacct .*exit code 1 and said: .*Nonsense.*slurmdbd answers"):
        list(source.records(story.start, story.end))
