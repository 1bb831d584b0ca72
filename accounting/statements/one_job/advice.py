"""What to do about a run, in sentences. Pure: from the facts of `accounting.statements.one_job.job_facts`.

Nothing is advised from what was not measured. The thresholds are here and in docs/jobs.md, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

ENOUGH = Decimal("0.8")
"""Telemetry coverage from which on something is advised: with less, a card may have been busy while nobody looked."""

LITTLE = Decimal("0.3")
"""Busy below this part of the time: the cards waited for something else most of it."""

HARDLY = Decimal("0.05")
"""Tensor cores active below this part of the time, on cards that were busy at least `BUSY` of it."""

BUSY = Decimal("0.5")

LONG_WAIT = 1
"""A run that waited more than this many times as long as it ran, and more than `WORTH_TELLING` seconds."""

WORTH_TELLING = 3600

_ENDS: Mapping[str, str] = {
    "TIMEOUT": "it was stopped at its time limit: write checkpoints, and ask for more time",
    "DEADLINE": "it was stopped at its deadline: submit it earlier, or with a later deadline",
    "OUT_OF_MEMORY": "it ran out of host memory: ask for more (--mem, --mem-per-gpu)",
    "PREEMPTED": "it was stopped for another job: write checkpoints, so that a requeue goes on where it stopped",
    "NODE_FAIL": "its node failed, which is not its fault: submit it again",
}


def advice(facts: Mapping[str, Any]) -> list[str]:
    """Sentences, the one that frees most first; none where nothing is to be done or nothing is known."""
    return [*_cards(facts), *_pods(facts), *_end(facts), *_wait(facts)]


def _cards(facts: Mapping[str, Any]) -> Iterator[str]:
    nodes = facts["nodes"]
    seen = [one for one in nodes if one["busy"] is not None]
    if not seen:
        yield "nothing was measured of its cards: nobody knows how they were used"
        return
    sure = [one for one in seen if Decimal(one["coverage"] or 0) >= ENOUGH]
    if len(sure) < len(nodes):
        yield f"{len(nodes) - len(sure)} of {len(nodes)} nodes were measured too little to say how they were used"
    unused = [one for one in sure if Decimal(one["busy"]) == 0 and one["cards"] is not None]
    never = sum((Decimal(one["cards"]) for one in unused), Decimal(0))
    every = Decimal(facts["cards"] or 0)
    if never and never == every:
        yield f"none of its {every} cards was ever busy: see whether the program found them, or ask for none"
    elif never:
        yield f"{never} of {every} cards were never used: ask for {every - never}"
    used = [one for one in sure if one not in unused]
    for one in used:
        busy = Decimal(one["busy"])
        if busy < LITTLE:
            yield (
                f"the cards of {one['node']} were busy {_percent(busy)} of the time: "
                "look for what they wait (reading data, one process for many cards), or ask for fewer"
            )
        elif busy >= BUSY and one["tensor"] is not None and Decimal(one["tensor"]) < HARDLY:
            yield (
                f"the tensor cores of {one['node']} were active {_percent(Decimal(one['tensor']))} of the time: "
                "see whether the program computes in a lower precision (bf16, tf32)"
            )


def _pods(facts: Mapping[str, Any]) -> Iterator[str]:
    waste = facts["waste"]["orphaned"]
    if waste["gpu_hours"] is not None and Decimal(waste["gpu_hours"]) > 0:
        yield f"its pods left {waste['gpu_hours']} GPU-hours of its cards unused: ask for as many as they hold"


def _end(facts: Mapping[str, Any]) -> Iterator[str]:
    state = facts["state"].split(" ")[0]
    if state in _ENDS:
        yield _ENDS[state]


def _wait(facts: Mapping[str, Any]) -> Iterator[str]:
    wait, ran = facts["wait_seconds"], facts["run_seconds"]
    if wait is not None and ran is not None and wait > WORTH_TELLING and wait > LONG_WAIT * ran:
        yield "it waited longer than it ran: fewer cards, or a shorter time limit, start earlier"


def _percent(part: Decimal) -> str:
    return f"{part * 100:.0f} %"
