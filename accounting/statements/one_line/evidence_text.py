"""The evidence behind a line, as text for people and as data for programs: both say the same.

Raw records are what sources printed, and job names in them are anybody's to choose: the text is fit for a terminal,
whatever they hold; as data each is there to the byte.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from accounting.model import HoldingStretch
from accounting.statements.one_line.evidence_chain import BookedDay, BookedPosting, Explanation, RecordRead
from exporters.model import Claim

_SEPARATOR = "\x1f"
"""What sacct prints between columns (`--delimiter`); no terminal shows it."""


def moment(at: int | None) -> str:
    """A moment for people, in UTC; ``now`` for what has no end."""
    return "now" if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def fit(text: str) -> str:
    r"""A text fit for a terminal: control characters and marks that hide text as ``\xNN``.

    >>> fit("\x1b[2J")
    '\\x1b[2J'
    """
    return text if text.isprintable() else "".join(ch if ch.isprintable() else f"\\x{ord(ch):02x}" for ch in text)


def evidence_lines(chain: Explanation) -> Iterator[str]:
    """The evidence behind a line, by node: node-days with their postings, what was seen of cards; then raw records."""
    for machine in machines_of(chain):
        yield f"node {machine}"
        for day in (day for day in chain.days if day.machine == machine):
            yield f"  {_day_told(day)}"
            yield from (f"    {_posting_told(posting)}" for posting in day.postings)
        yield from (f"  {_seen_told(h)}" for of, h in chain.holdings if of == machine)
    for title, found in (("record", chain.records), ("linked record", chain.linked_records)):
        for record in found:
            yield f"{title} of {_record_told(record)}"
            yield from (f"  {_claim_told(claim)}" for claim in record.claims)
            raw = record.raw.decode(errors="backslashreplace").replace(_SEPARATOR, " | ")
            yield from (f"  {line}" for line in raw.split("\n"))


def machines_of(chain: Explanation) -> Sequence[str]:
    """The machines that a line is about, each once."""
    return sorted({day.machine for day in chain.days} | {machine for machine, _ in chain.holdings})


def _day_told(day: BookedDay) -> str:
    return (
        f"node-day {moment(day.start)} to {moment(day.end)}: transaction {day.transaction}, booked "
        f"{moment(day.posted_at)}, inputs {day.inputs_hash[:16]}, rules {day.rules_hash[:16]}"
    )


def _posting_told(p: BookedPosting) -> str:
    told = "; ".join(w for w in (p.unit, p.link and f"{p.link} {p.linked}", p.reason) if w)
    quantity = f"{p.quantity} milliGPU-seconds held {p.held}"
    return f"{quantity}, {moment(p.start)} to {moment(p.end)}" + (f" ({told})" if told else "")


def _seen_told(h: HoldingStretch) -> str:
    card = f"card {h.index}" + (f" {h.uuid}" if h.uuid else "")
    return f"seen: {h.milligpu} milliGPU of {card} {moment(h.start)} to {moment(h.end)} ({h.job}; {h.unit})"


def _record_told(r: RecordRead) -> str:
    state = "current" if r.current else "superseded"
    return f"{r.source} {r.cluster}, read {moment(r.seen_at)}, {r.outcome}, {state}, sha256 {r.hash}"


def _claim_told(c: Claim) -> str:
    names = [*map(str, c.indices), *c.uuids]
    cards = f" cards {','.join(names)}" if names else ""
    return f"{c.milligpu} milliGPU{cards} of {c.node.name}, {moment(c.start)} to {moment(c.end)}"


def evidence_facts(chain: Explanation) -> dict[str, Any]:
    """The same as data: times in UTC, quantities in milliGPU-seconds, raw records to the byte."""
    return {
        "node_days": [_day_facts(day) for day in chain.days],
        "seen": [_seen_facts(machine, h) for machine, h in chain.holdings],
        "records": [_record_facts(record) for record in chain.records],
        "linked_records": [_record_facts(record) for record in chain.linked_records],
    }


def _day_facts(day: BookedDay) -> Mapping[str, Any]:
    return {
        "node": day.machine,
        "start": moment(day.start),
        "end": moment(day.end),
        "transaction": day.transaction,
        "booked": moment(day.posted_at),
        "inputs_hash": day.inputs_hash,
        "rules_hash": day.rules_hash,
        "postings": [
            {
                "quantity": p.quantity,
                "held": p.held,
                "start": moment(p.start),
                "end": moment(p.end),
                "unit": p.unit,
                "link": p.link,
                "linked": p.linked if p.link else "",
                "reason": p.reason,
            }
            for p in day.postings
        ],
    }


def _seen_facts(machine: str, h: HoldingStretch) -> Mapping[str, Any]:
    card = {"node": machine, "index": h.index, "uuid": h.uuid, "milligpu": h.milligpu}
    return {**card, "start": moment(h.start), "end": moment(h.end), "job": str(h.job), "unit": h.unit}


def _record_facts(r: RecordRead) -> Mapping[str, Any]:
    """``raw`` is a record's text; of one that is no UTF-8 ``raw_base64`` is its bytes."""
    try:
        raw = {"raw": r.raw.decode()}
    except UnicodeDecodeError:
        raw = {"raw": r.raw.decode(errors="backslashreplace"), "raw_base64": base64.b64encode(r.raw).decode()}
    return {
        "source": r.source,
        "cluster": r.cluster,
        "sha256": r.hash,
        "read": moment(r.seen_at),
        "outcome": r.outcome,
        "current": r.current,
        "claims": [
            {
                "node": c.node.name,
                "milligpu": c.milligpu,
                "cards": [*map(str, c.indices), *c.uuids],
                "start": moment(c.start),
                "end": None if c.end is None else moment(c.end),
            }
            for c in r.claims
        ],
        **raw,
    }
