from __future__ import annotations

import base64
from dataclasses import replace

from sqlalchemy import Engine

from accounting.intake.history import ingest_history
from accounting.intake.live.live_recorder import LedgerRecorder
from accounting.statements.one_line.evidence_chain import Explanation, explain_usage
from accounting.statements.one_line.evidence_text import evidence_facts, evidence_lines, fit
from exporters.model import Disposition, Record
from exporters.recorder import Holding, Round, SourceReading
from tests.accounting.plain_usage import usage
from tests.accounting.readings import live
from tests.accounting.site import DAY, T0, History, ended, gn, held, kn, node, pod, run, running, slurm_job, workload
from tests.accounting.test_reconciling import settle

HOSTILE = b"1|=cmd|'/c calc'!A1\n\x1b[31mred\x1f|\xff|COMPLETED"


def site(engine: Engine) -> None:
    live(engine, T0, nodes=[node(gn(1)), node(gn(2)), node(kn(1))], claims=[pod("a", 1, T0)])
    live(engine, T0 + 3000, nodes=[node(gn(1)), node(gn(2)), node(kn(1))], gone=[pod("a", 1, T0, T0 + 60)])
    raw = HOSTILE.decode("utf-8", "surrogateescape")
    claims = tuple(held(1, n, T0 + DAY - 60, T0 + DAY + 60, 2, assumed=True) for n in (1, 2))
    final = Record(
        "sacct", raw, replace(slurm_job(1, T0, T0 + DAY + 60, state="COMPLETED"), name="\x1b[2Jtrain"), claims
    )
    ingest_history(engine, History([running(1, T0 + DAY - 60, (1, 2), 2)]), now=T0 + DAY, start=T0)
    ingest_history(engine, History([final, ended(2, T0, T0 + 5)]), now=T0 + 2 * DAY, start=T0)
    settle(engine, T0 + 2 * DAY)


def test_a_line_leads_to_its_postings_node_days_claims_and_raw_records(engine: Engine) -> None:
    site(engine)
    [line] = [u for u in usage(engine, T0, T0 + 2 * DAY) if u.job == run(1)]
    told = explain_usage(engine, T0, T0 + 2 * DAY, line)

    assert 4 * 120_000 == line.charged == sum(p.quantity for d in told.days for p in d.postings)
    assert [("gn01", T0), ("gn02", T0), ("gn01", T0 + DAY), ("gn02", T0 + DAY)] == [
        (d.machine, d.start) for d in told.days
    ]
    assert [False, True] == [r.current for r in told.records]
    assert HOSTILE == told.records[1].raw
    assert [("gn01", 2000), ("gn02", 2000)] == [(c.node.name, c.milligpu) for c in told.records[1].claims]
    assert told.job is not None
    assert "COMPLETED" == told.job.state


def text(told: Explanation) -> str:
    """The evidence as it is printed."""
    return "\n".join(fit(line) for line in evidence_lines(told))


def test_the_text_is_fit_for_a_terminal_and_the_data_holds_the_raw_record_byte_for_byte(engine: Engine) -> None:
    site(engine)
    [line] = [u for u in usage(engine, T0, T0 + 2 * DAY) if u.job == run(1)]
    told = explain_usage(engine, T0, T0 + 2 * DAY, line)
    _, raw = evidence_facts(told)["records"]

    assert HOSTILE == base64.b64decode(raw["raw_base64"])
    assert "\n  1|=cmd|'/c calc'!A1\n  \\x1b[31mred | |\\xff|COMPLETED" in text(told)
    assert {"\n"} == {ch for ch in text(told) if not ch.isprintable()}
    assert "node gn02\n  node-day 2026-10-01T00:00:00Z" in text(told)


def test_a_pods_line_leads_to_the_claim_as_it_was_seen(engine: Engine) -> None:
    site(engine)
    [line] = [u for u in usage(engine, T0, T0 + 2 * DAY) if u.job == workload("a")]
    told = explain_usage(engine, T0, T0 + 2 * DAY, line)

    assert ["pending", "charged"] == [r.outcome for r in told.records]
    assert b'"native_id":"vision/a"' in told.records[1].raw
    assert f'"end_at":{T0 + 60}'.encode() in told.records[1].raw


def test_a_line_leads_to_the_cards_on_which_its_parties_were_seen(engine: Engine) -> None:
    claims = [pod("a", 1, T0), pod("b", 1, T0 + 10)]
    recorder = LedgerRecorder(engine)
    for at in (T0, T0 + 60):
        seen = [Holding("gn01", 3, "GPU-3", workload(n), f"pod-{n}", 1000) for n in ("a", "b")]
        reading = SourceReading("pods", "kube", at, claims=claims, nodes=[node(kn(1), model="h100")])
        recorder.record(Round(at, [reading], [*seen, Holding("gn02", 5, "", workload("b"), "pod-b", 1000)], []))
    settle(engine, T0 + 100, resolver=lambda _, a, b: [("gn01", a, b)])

    [line] = [u for u in usage(engine, T0, T0 + DAY) if u.disposition is Disposition.DISPUTED and u.charged]
    told = explain_usage(engine, T0, T0 + DAY, line)

    assert (workload("b"), workload("a")) == (line.job, line.linked)
    assert [("gn01", workload("b"), 3, "GPU-3"), ("gn01", workload("a"), 3, "GPU-3")] == [
        (machine, h.job, h.index, h.uuid) for machine, h in told.holdings
    ]
    expected = "seen: 1000 milliGPU of card 3 GPU-3 2026-10-01T00:00:00Z to 2026-10-01T00:01:00Z "
    assert f"{expected}(kubernetes/kube/uid-b; pod-b)" in text(told)


def test_nobodys_line_leads_to_its_node_days(engine: Engine) -> None:
    site(engine)
    for line in usage(engine, T0, T0 + 2 * DAY):
        if line.job is None:
            told = explain_usage(engine, T0, T0 + 2 * DAY, line)

            assert () == told.records
            assert line.charged == sum(p.quantity for d in told.days for p in d.postings)

    assert Disposition.IDLE in {u.disposition for u in usage(engine, T0, T0 + 2 * DAY)}
