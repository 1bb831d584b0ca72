"""The history source without a Slurm: framing, odd rows, odd commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.model import NodeEvent, Record, Reject
from exporters.sources.base import SourceError
from exporters.sources.slurm.history import rows
from exporters.sources.slurm.history.events import read_events
from exporters.sources.slurm.history.sacct import Sacct
from exporters.sources.slurm.history.windows import windows
from tests.lab.fake_slurm import script

ROW = {
    "JobIDRaw": "18", "JobID": "6_0", "Submit": "100", "Eligible": "100", "Start": "110", "End": "170",
    "State": "COMPLETED", "AllocTRES": "cpu=4,gres/gpu:h100=3,gres/gpu=3", "NNodes": "2", "NodeList": "gn[01-02]",
    "User": "alice", "UID": "2001", "Account": "vision", "Partition": "all", "QOS": "normal", "JobName": "train",
    "AdminComment": "", "Cluster": "lab",
}  # fmt: skip


def read(**changes: str) -> Record | Reject:
    row = {**ROW, **changes}
    return rows.read(rows.form(rows.FIELDS)([row[name] for name in rows.FIELDS]), "hpc1")


def record(**changes: str) -> Record:
    found = read(**changes)
    assert isinstance(found, Record), found
    return found


# -- framing -----------------------------------------------------------------------------------------------------------

machine = st.text(st.characters(blacklist_characters="\n", blacklist_categories=()), max_size=8)
hostile = st.text(st.sampled_from('a|\n\t\x1f\\" é\udcff@'), max_size=12)


@given(st.lists(st.tuples(machine, hostile, hostile, machine), max_size=8))
def test_any_text_in_any_field_comes_back_whole(table: list[tuple[str, str, str, str]]) -> None:
    delimiter = "|k2J9x-QwErTy|"
    text = "".join(delimiter.join(row) + "\n" for row in table)

    assert [list(row) for row in table] == list(rows.cut(text, delimiter, 4))


def test_lines_that_are_no_rows_are_set_aside_and_the_rest_goes_on() -> None:
    text = "Welcome to login1\n\na;b;c\n1;2\n\nwarning: x\nd;e;f\nbye\n"

    assert ["Welcome to login1\n", ["a", "b", "c"], "1\x1f2", "\nwarning: x", ["d", "e", "f"], "bye"] == list(
        rows.cut(text, ";", 3)
    )


def test_a_record_keeps_its_raw_text_the_same_whatever_the_delimiter() -> None:
    a, b = (next(rows.cut(d.join(ROW.values()) + "\n", d, len(ROW))) for d in ("|x|", "|y|"))

    first, second = (rows.read(rows.form(rows.FIELDS)(row), "c") for row in (a, b))

    assert first == second


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_row_of_several_nodes_is_split_equally_and_says_so() -> None:
    found = record()

    assert [("gn01", 2000, 110, 170, True), ("gn02", 1000, 110, 170, True)] == [
        (c.node.name, c.milligpu, c.start, c.end, c.split_assumed) for c in found.claims
    ]
    assert ("18@100", "18", "6_0") == (found.job.key.id, found.job.native_id, found.job.display_id)
    assert "hpc1" == found.job.key.cluster


def test_one_node_is_not_assumed() -> None:
    assert [False] == [c.split_assumed for c in record(NodeList="gn01", NNodes="1").claims]


def test_a_resized_row_holds_from_its_resize_on() -> None:
    found = record(Submit="150", Start="110")

    assert (150, {150}) == (found.job.start, {c.start for c in found.claims})


@pytest.mark.parametrize("start", ["None", "Unknown", "", "0", "4294967294"])
def test_not_started_is_not_started_in_every_spelling(start: str) -> None:
    cancelled = record(Start=start, State="CANCELLED by 2001", NodeList="None assigned", AllocTRES="")
    waiting = record(Start=start, End="Unknown", State="PENDING", NodeList="None assigned", AllocTRES="")

    assert ("never started", False, ()) == (cancelled.excluded, cancelled.pending, cancelled.claims)
    assert ("", True, ()) == (waiting.excluded, waiting.pending, waiting.claims)
    assert "CANCELLED" == cancelled.job.state


def test_cards_asked_for_but_never_had_are_not_held() -> None:
    found = record(Start="None", State="CANCELLED by 0", NodeList="None assigned", NNodes="1")

    assert ("never started", ()) == (found.excluded, found.claims)


def test_still_running_is_pending_and_open() -> None:
    found = record(State="RUNNING", End="Unknown")

    assert (True, {None}) == (found.pending, {c.end for c in found.claims})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"AllocTRES": "cpu=4"}, "no gpu"),
        ({"End": "110"}, "ran less than a second"),
    ],
)
def test_what_holds_no_cards_says_why(changes: dict[str, str], why: str) -> None:
    assert (why, ()) == (record(**changes).excluded, record(**changes).claims)


@pytest.mark.parametrize(
    ("tres", "held"),
    [
        ("cpu=4,gres/shard=2", [("", "shard=2", False)]),
        ("gres/shard=3,gres/shard:a100=3", [("a100", "shard:a100=3", False)]),
        ("gres/mps=50", [("", "mps=50", False)]),
        ("gres/gpu=1,gres/mps=50", [("", "", False), ("", "mps=50", False)]),
    ],
)
def test_slots_are_held_by_number_and_weigh_what_the_node_says(tres: str, held: list[tuple[str, str, bool]]) -> None:
    claims = record(AllocTRES=tres, NNodes="1", NodeList="gn01").claims

    assert held == [(c.model, c.profile, c.split_assumed) for c in claims]
    assert {0} == {c.milligpu for c in claims if c.profile}
    assert len(claims) == len({c.unit for c in claims})


def test_slots_on_several_nodes_are_dealt_out_and_none_is_forgotten() -> None:
    claims = record(AllocTRES="gres/shard=1", NNodes="2", NodeList="gn[01-02]").claims

    assert [("gn01", "shard=1", True), ("gn02", "shard=0", True)] == [
        (c.node.name, c.profile, c.split_assumed) for c in claims
    ]


def test_a_user_without_a_name_is_a_number() -> None:
    assert "2001" == record(User="").job.user


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"End": "109"}, "ends (109) before it starts (110)"),
        ({"Submit": "171"}, "ends (170) before it was submitted (171)"),
        ({"State": "DREAMING"}, "unknown job state 'DREAMING'"),
        ({"State": ""}, "unknown job state"),
        ({"End": "Unknown"}, "COMPLETED but has no End"),
        ({"State": "RUNNING", "Start": "Unknown", "End": "Unknown"}, "RUNNING but has no Start"),
        ({"Submit": "Unknown"}, "without a Submit time"),
        ({"Start": "2026-10-01T00:00:00"}, "SLURM_TIME_FORMAT=%s did not reach sacct"),
        ({"JobIDRaw": "18.batch"}, "must be called with -X"),
        ({"NNodes": "3"}, "names 2 nodes, but NNodes is 3"),
        ({"NodeList": "gn[01-"}, "not a host list"),
        ({"NodeList": "None assigned"}, "no nodes in NodeList"),
        ({"AllocTRES": "gres/gpu=1,gres/gpu:h100=3"}, "more than gres/gpu=1"),
        ({"AllocTRES": "gres/gpu=many"}, "not a count"),
    ],
)
def test_a_row_that_cannot_be_is_rejected_with_its_reason(changes: dict[str, str], why: str) -> None:
    found = read(**changes)

    assert isinstance(found, Reject)
    assert why in found.reason
    assert "\x1f".join({**ROW, **changes}.values()) == found.record


# -- windows -----------------------------------------------------------------------------------------------------------


def test_windows_cover_the_time_since_the_cursor_with_its_overlap() -> None:
    assert [(900, 1000), (1000, 1100), (1100, 1150)] == list(windows(1000, 1150, overlap=100, step=100))
    assert [] == list(windows(1000, 900, overlap=100, step=100))
    assert [(0, 50)] == list(windows(10, 50, overlap=100, step=100))


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 3000), st.integers(1, 3000))
def test_windows_leave_no_gap(cursor: int, now: int, overlap: int, step: int) -> None:
    found = list(windows(cursor, now, overlap, step))
    seconds = [t for a, b in found for t in (a, b)]

    assert list(range(max(0, cursor - overlap), now))[:1] == seconds[:1]
    assert seconds[1:-1:2] == seconds[2::2]
    assert all(0 < b - a <= step for a, b in found)
    assert not found or found[-1][1] == now


def test_a_step_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="step must be positive"):
        list(windows(0, 10, 0, 0))
    with pytest.raises(ValueError, match="step must be a positive"):
        Sacct("c", step=0)


# -- commands ----------------------------------------------------------------------------------------------------------


def sacct(tmp_path: Path, body: str, **settings: int) -> Sacct:
    """A Sacct whose command knows --helpformat and otherwise runs ``body`` with $delimiter set."""
    words = " ".join(rows.FIELDS)
    prelude = f"""
case "$*" in *--helpformat*) echo '{words}'; exit;; esac
for word in "$@"; do case "$word" in --delimiter=*) delimiter="${{word#--delimiter=}}";; esac; done
echo "$*" >> {tmp_path}/calls
"""
    return Sacct("hpc1", (script(tmp_path / "sacct", prelude + body),), **settings)


def printing(tmp_path: Path, *lines: dict[str, str]) -> str:
    """Shell that prints rows with the delimiter of the call."""
    (tmp_path / "rows").write_text("".join(";;".join({**ROW, **line}.values()) + "\n" for line in lines))
    return f'sed "s/;;/$delimiter/g" {tmp_path}/rows'


def test_a_row_seen_in_an_earlier_window_is_not_told_again(tmp_path: Path) -> None:
    late = {"JobIDRaw": "19", "Submit": "120", "Eligible": "120"}
    body = f'{printing(tmp_path, {}, late)} | case "$*" in *"-S 1970-01-01T00:02:00"*) cat;; *) head -n 1;; esac'
    source = sacct(tmp_path, body, step=10)
    ids = [item.job.native_id for item in source.records(100, 130) if isinstance(item, Record)]
    calls = (tmp_path / "calls").read_text().splitlines()

    assert ["18", "19"] == ids
    assert ["-S 1970-01-01T00:01:40 -E 1970-01-01T00:01:50"] == [c[c.index("-S") :] for c in calls[:1]]
    assert 3 == len(calls)
    assert 3 == len({c.split("--delimiter=")[1].split()[0] for c in calls})


def test_all_runs_of_all_users_are_asked_for_without_steps(tmp_path: Path) -> None:
    list(sacct(tmp_path, "true").records(0, 10))

    assert (tmp_path / "calls").read_text().startswith("-a -D -X -n -P ")


def test_odd_lines_are_rejects_and_the_rest_goes_on(tmp_path: Path) -> None:
    body = "echo motd: be nice; " + printing(tmp_path, {"End": "1"}, {"JobIDRaw": "19"}) + "; echo trailing"
    items = list(sacct(tmp_path, body).records(0, 10))

    assert [Reject, Reject, Record, Reject] == [type(item) for item in items]
    assert "motd: be nice" in items[0].record if isinstance(items[0], Reject) else False


def test_nothing_of_a_window_is_told_when_sacct_fails_in_it(tmp_path: Path) -> None:
    fails = 'case "$*" in *"-S 1970-01-01T00:00:10"*) echo slurmdbd is gone >&2; exit 1;; esac'
    body = f"{printing(tmp_path, {})}; {fails}"
    items: Iterator[Record | Reject] = sacct(tmp_path, body, step=10).records(0, 20)

    assert "18" == next(r for r in items if isinstance(r, Record)).job.native_id
    with pytest.raises(SourceError, match="exit code 1 and said: slurmdbd is gone"):
        next(items)


def test_a_missing_sacct_is_told_with_what_to_do() -> None:
    with pytest.raises(SourceError, match=r"cannot run 'no-such-sacct'.*client commands and slurm\.conf"):
        list(Sacct("c", ("no-such-sacct",)).records(0, 10))


def test_a_release_without_a_needed_field_is_told(tmp_path: Path) -> None:
    command = script(tmp_path / "sacct", "echo JobIDRaw State")

    with pytest.raises(SourceError, match="has no field JobID, Submit"):
        list(Sacct("c", (command,)).records(0, 10))


def test_an_unknown_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="auto, sluid or submit"):
        Sacct("c", identity="jobid")


def test_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    body = printing(tmp_path, {"JobName": "NAME"}) + ' | sed "s/NAME/\\xff\\xfe/"'
    [item] = sacct(tmp_path, body).records(0, 10)

    assert isinstance(item, Record)
    assert b"\xff\xfe" == item.job.name.encode("utf-8", "surrogateescape")


def test_memory_stays_small_for_many_rows_in_one_window(tmp_path: Path) -> None:
    """Peak memory of a process of its own: 200,000 rows may need 250 MB here; sacct needs as much again."""
    line = ";;".join({**ROW, "NodeList": "gn01", "NNodes": "1", "JobName": "n" * 40}.values())
    body = f'[ $ROWS = 0 ] || yes "$(echo "{line}" | sed "s/;;/$delimiter/g")" | head -n $ROWS'
    sacct(tmp_path, body)
    code = f"""
import resource, sys
from exporters.sources.slurm.history.sacct import Sacct
source = Sacct("c", ({str(tmp_path / "sacct")!r},), {{"ROWS": sys.argv[1]}})
assert sum(1 for _ in source.records(0, 10)) == int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    root = str(Path(__file__).parents[3])
    few, many = (
        int(subprocess.run([sys.executable, "-c", code, n], cwd=root, capture_output=True, check=True).stdout)
        for n in ("0", "40000")
    )

    assert (many - few) * 5 < 250 << 10  # KiB


# -- whose rows they are, and whether they are all ---------------------------------------------------------------------


def told(tmp_path: Path, text: str, cluster_name: str = "") -> Sacct:
    """A Sacct whose command prints ``text``, fields separated by ``;``, and writes down how it was called."""
    (tmp_path / "rows").write_text(text)
    body = f"""
case "$*" in *--helpformat*) echo {" ".join(rows.FIELDS)}; exit;; esac
echo "$*" >> {tmp_path}/calls
for word in "$@"; do case "$word" in --delimiter=*) delimiter="${{word#--delimiter=}}";; esac; done
sed "s/;/$delimiter/g" {tmp_path}/rows"""
    return Sacct("hpc1", (script(tmp_path / "sacct", body),), cluster_name=cluster_name)


def row(number: int, **changes: str) -> str:
    return ";".join({**ROW, "JobIDRaw": str(number), **changes}.values()) + "\n"


def test_rows_of_other_clusters_are_theirs_and_counted(tmp_path: Path) -> None:
    source = told(tmp_path, row(1) + row(2, Cluster="west") + row(3, Cluster="LAB") + row(4, Cluster="west"), "Lab")

    assert ["1", "3"] == [r.job.native_id for r in source.records(0, 500) if isinstance(r, Record)]
    assert {"west": 2} == source.ours.others
    assert "--local" in (tmp_path / "calls").read_text().split()


def test_an_answer_that_ends_within_a_row_is_not_whole(tmp_path: Path) -> None:
    source = told(tmp_path, (row(1) + row(2)).removesuffix("\n"))

    with pytest.raises(SourceError, match="ended well in the middle of a row"):
        list(source.records(0, 500))


def test_jobs_are_asked_for_by_id_some_hundreds_at_a_time(tmp_path: Path) -> None:
    source = told(tmp_path, row(1))
    found = list(source.again([str(n) for n in range(1200)]))
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]

    assert 3 == len(found) == len(calls)
    assert [500, 500, 200] == [len(call[call.index("-j") + 1].split(",")) for call in calls]
    assert not any({"-S", "-E"} & set(call) for call in calls)


# -- events ------------------------------------------------------------------------------------------------------------

EVENTS = """\
|100|Unknown||billing=384,gres/gpu=43|Cluster Registered TRES
gn01|100|100|UNK|gres/gpu:h100=8,gres/gpu=8|cold-start
gn02|110|150|DRAIN|gres/gpu:h100=8,gres/gpu=8|bad | fan,
 ticket|5
cn01|120|Unknown|DOWN*|cpu=64|Not responding
mx01|130|140|IDLE|gres/gpu:1g.10gb=7,gres/gpu:a100=4,gres/gpu=11|
gn03|150|149|DOWN|gres/gpu=8|clock
gn04|160|170|DOWN|gres/gpu=x|odd
"""


def test_events_are_read_with_their_reasons_whole() -> None:
    found = [e for e in read_events(EVENTS, "hpc1") if isinstance(e, NodeEvent)]

    assert [
        ("gn02", 110, 150, False, 8000, "DRAIN: bad | fan,\n ticket|5"),
        ("cn01", 120, None, False, None, "DOWN*: Not responding"),
        ("mx01", 130, 140, True, 5000, "IDLE"),
    ] == [(e.key.name, e.start, e.end, e.up, e.milligpu, e.reason) for e in found]


def test_events_that_cannot_be_are_rejected() -> None:
    rejects = [e for e in read_events("garbage\n" + EVENTS, "hpc1") if isinstance(e, Reject)]

    assert ["garbage", "gn03|150", "gn04|160"] == [r.record[:8] if "|" in r.record else r.record for r in rejects]
    assert "ends (149) before it starts (150)" in rejects[1].reason


@pytest.mark.parametrize(
    ("state", "milligpu"),
    [
        ("FUTR", 0),
        ("FUTR|6", 0),
        ("IDLE~|4226", 0),  # State=CLOUD, powered down
        ("IDLE~|4098", 8000),  # a machine of the site's own
        ("IDLE~", None),  # either
        ("IDLE+CLOUD+POWERED_DOWN", None),
        ("DRAIN|514", 8000),
        ("DOWN", 8000),
    ],
)
def test_a_node_that_is_no_machine_has_no_cards(state: str, milligpu: int | None) -> None:
    [event] = read_events(f"gn01|100|Unknown|{state}|cpu=64,gres/gpu=8|x|y", "hpc1")

    assert isinstance(event, NodeEvent)
    assert (False, milligpu) == (event.up, event.milligpu)
    assert event.reason.endswith(": x|y")
