"""The queue as text: squeue says who holds what, scontrol which cards, and only where the two agree."""

from __future__ import annotations

import pytest

from exporters.model import Reject
from exporters.sources.slurm.live import live_job, queue_text
from exporters.sources.slurm.live.live_job import LiveJob


def as_text(squeue: dict[str, str], *blocks: str) -> list[LiveJob | Reject]:
    """One job of squeue's text, and blocks of scontrol's that may or may not fit it."""
    row = {
        "JobID": "18", "State": "RUNNING", "SubmitTime": "100", "StartTime": "110", "NumNodes": "2", "JobArrayID": "18",
        "HetJobID": "N/A", "HetJobOffset": "N/A", "NodeList": "gn[01-02]", "tres-alloc": "gres/gpu=3",
    } | squeue  # fmt: skip
    text = "".join(f"{row.get(name, '')}  ;;" for name in queue_text.WIDTHS) + "\n"
    return queue_text.read_queue(text, "\n\n".join(blocks), ";;", sluids=False)


def block(job: int = 18, submit: int = 100, start: int = 110, nodes: str = "gn01", count: int = 2) -> str:
    return f"""JobId={job} JobName=train
   SubmitTime={submit} EligibleTime=100
   StartTime={start} EndTime=Unknown Deadline=N/A
   NodeList=gn[01-02]
     Nodes={nodes} CPU_IDs=0 Mem=100 GRES=gpu:h100:{count}(IDX:{"0-1" if count == 2 else "5"})
     Nodes=gn02 CPU_IDs=0-3,7 Mem=100 GRES=gpu:h100:1(IDX:7)
   MinCPUsNode=1"""


def details(items: list[LiveJob | Reject]) -> list[tuple[str, ...]]:
    return [item.detail for item in items if isinstance(item, LiveJob)]


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("365-00:00:00", 365 * 86400),
        ("01:30:15", 5415),
        ("1-02:00:00", 93600),
        ("UNLIMITED", None),
        ("Partition_Limit", None),
    ],
)
def test_the_time_limit_is_the_blocks(told: str, seconds: int | None) -> None:
    line = f"   RunTime=00:00:04 TimeLimit={told} TimeMin=N/A\n   SubmitTime=100"
    (job,) = as_text({}, block().replace("   SubmitTime=100", line))

    assert isinstance(job, LiveJob)
    assert seconds == job.limit


def test_a_name_that_imitates_a_time_limit_takes_the_limit_away_and_nothing_else() -> None:
    two = "".join(f"   RunTime=0 TimeLimit={n}-00:00:00 TimeMin=N/A\n" for n in (1, 2))
    (job,) = as_text({}, block().replace("   SubmitTime", f"{two}   SubmitTime"))

    assert isinstance(job, LiveJob)
    assert (None, 2) == (job.limit, len(job.detail))


def test_an_answer_that_ends_within_a_row_is_not_whole() -> None:
    delimiter = "|x|"
    with pytest.raises(live_job.FormError, match="in the middle of a row"):
        queue_text.read_queue(delimiter.join("a" * 17), "", delimiter, sluids=False)


def test_squeue_that_names_no_job_while_scontrol_shows_one_did_not_answer() -> None:
    block = "JobId=7 JobName=x\n   SubmitTime=1 \n   StartTime=2 \n"
    with pytest.raises(live_job.FormError, match="names no job"):
        queue_text.read_queue("", block, "|x|", sluids=False)


def test_the_block_that_fits_tells_the_cards() -> None:
    told = ("gpu:h100:2(IDX:0-1)", "gpu:h100:1(IDX:7)")

    assert [told] == details(as_text({}, block()))
    assert [told] == details(as_text({}, block(job=19), block(), block(start=99), block()))


@pytest.mark.parametrize(
    "other",
    [
        block(job=180),
        block(submit=99),
        block(start=111),
        block(nodes="gn03"),
        block(nodes="gn02"),
        block(count=1),
        block().replace("   SubmitTime", "   SubmitTime=1 x\n   SubmitTime"),
        block().replace("gpu:h100:2(IDX:0-1)", "gpu:h100:2(IDX:0-1"),
        block().replace("   StartTime", "StartTime"),
    ],
)
def test_a_block_that_does_not_fit_tells_nothing(other: str) -> None:
    assert [()] == details(as_text({}, other))


def test_two_stories_that_both_fit_are_told_as_doubtful() -> None:
    [reject, job] = as_text({}, block(), block().replace("IDX:7", "IDX:6"))

    assert isinstance(reject, Reject)
    assert isinstance(job, LiveJob)
    assert "several different stories" in reject.reason
    assert () == job.detail


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"JobID": "x"}, "'x' is not a number"),
        ({"SubmitTime": "2026-10-01T00:00:00"}, "SLURM_TIME_FORMAT=%s did not reach squeue"),
        ({"NodeList": "n" * 2048}, "its NodeList is longer than the 2048 characters"),
        ({"JobArrayID": "18_[1-"}, "not a range"),
    ],
)
def test_a_text_row_that_cannot_be_is_rejected(changes: dict[str, str], why: str) -> None:
    [reject] = as_text(changes)

    assert isinstance(reject, Reject)
    assert why in reject.reason


def test_what_a_completing_job_has_on_the_node_that_is_left_is_not_its_total() -> None:
    """squeue then counts the nodes that are left, and the total stays that of all."""
    left = {"State": "COMPLETING", "NumNodes": "1", "NodeList": "gn01", "tres-alloc": "cpu=2,node=2,gres/gpu=3"}
    queue = live_job.nouns(as_text(left), "lab", 200)

    assert [("gn01", 2000, True)] == [(c.node.name, c.milligpu, c.split_assumed) for c in queue.claims]
