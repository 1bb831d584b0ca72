"""What a job holds beside its cards, and what else of it a price may look at: by pencil, and out of a ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from accounting.rates.card_files import rate_cards
from accounting.rates.pricing import Priced
from accounting.rates.rating import CORES, GB, Beside, Factor, PriceRule, RatingError
from accounting.statements.known.held import tres_facts
from accounting.store.database import write
from accounting.store.tables import claims, jobs
from exporters.config import parse
from exporters.model import Record
from exporters.sources.slurm.history.rows import FIELDS, SEPARATOR, SLUID_FIELDS
from tests.accounting.october import HOUR, run_1, seen, told
from tests.accounting.produced import produced
from tests.accounting.site import T0
from tests.accounting.test_dated_prices import Dated
from tests.accounting.test_example_cards import rates_of, used
from tests.accounting.test_rate_cards import carded
from tests.accounting.test_rate_questions import ask


def test_deltas_largest_share_of_a_node_is_charged() -> None:
    """An A100 for an hour with 32 cores is two: 2. With 125 GB: 2, and on a node with 250 GB for each: 1."""
    held = {
        "1": {"cores": "32", "gb": "62.5"},
        "2": {"cores": "16", "gb": "125"},
        "3": {"cores": "16", "gb": "125"},
    }
    more = {"gpu_model": "a100"}
    usages = [used(1, 1, **more), used(2, 1, **more), used(3, 1, **more, partition="gpuA100x8")]
    month = produced(usages, rates_of("ncsa-delta"), held=held)
    found = dict(zip(month.words(month.lines["job"])["run"], month.lines["su"], strict=True))

    assert {"1": 2_000_000, "2": 2_000_000, "3": 1_000_000} == found


def test_paths_month_comes_to_what_a_pencil_says() -> None:
    """1 GPU, 32 cores, 256 GB, 1 h: 1 + 16 x 0.125 + 128 x 0.012 = 4.536 (its own example). 2 GPUs for 3 h with what
    comes with them: 6 x 1.2 = 7.2. 4 GPUs, 96 cores, 512 GB, 1 h: 4 x (2 + 8 x 0.125) = 12. Who takes less than comes
    with a GPU pays no less: 3 GPUs, 6 cores, 30 GB, 1 h: 3 x 1.5 = 4.5.
    """
    held = {
        "1": {"gpus": "1", "cores": "32", "gb": "256"},
        "2": {"gpus": "2", "cores": "16", "gb": "128"},
        "3": {"gpus": "4", "cores": "24", "gb": "128"},
        "4": {"gpus": "3", "cores": "2", "gb": "10"},
    }
    month = produced([used(1, 1), used(2, 6), used(3, 4), used(4, 3)], rates_of("path"), held=held)
    found = zip(month.words(month.lines["job"])["run"], month.lines["su"], month.lines["price_rule"], strict=True)

    assert [
        ("1", 4_536_000, "1 GPU + 16 cores + 128 gb"),
        ("2", 7_200_000, "2 GPUs"),
        ("3", 12_000_000, "4 GPUs + 8 cores"),
        ("4", 4_500_000, "3 GPUs"),
    ] == sorted(found)
    assert 28_236_000 == month.micro_su


@pytest.mark.parametrize(
    ("cores", "gb", "share"),
    [("16", "62.5", "1"), ("32", "62.5", "2"), ("16", "250", "4"), ("8", "1", "1"), ("24", "93.75", "1.5")],
)
def test_the_largest_share_of_a_node_is_what_is_charged(cores: str, gb: str, share: str) -> None:
    """NCSA Delta: a GPU comes with 16 cores and 62.5 GB; who takes twice the cores takes two GPUs from others."""
    rule = PriceRule(Decimal(3), {}, "p", dominant=((CORES, Decimal(16)), (GB, Decimal("62.5"))))
    found = Priced.of(rule, (), {CORES: Decimal(cores), GB: Decimal(gb)})

    assert (Decimal(share), 3 * Decimal(share)) == (found.share, found.price)


def test_factors_multiply_what_is_beside_the_cards_as_well() -> None:
    rule = PriceRule(
        Decimal(2), {}, "p", su=Decimal(1), beside=(Beside(CORES, Decimal("0.5"), Decimal(3), Decimal(4)),)
    )
    found = Priced.of(rule, [Factor(Decimal(2), {}, name="qos")], {CORES: Decimal(6)})

    assert (Decimal(6), Decimal(14), "p + 2 cores x qos 2") == (found.price, found.su, found.told)


def row(fields: tuple[str, ...], tres: str) -> bytes:
    told = {"JobIDRaw": "7", "AllocTRES": tres, "JobName": "cpu=9", "Cluster": "lab"}
    return SEPARATOR.join(told.get(name, "") for name in fields).encode()


@pytest.mark.parametrize("fields", [FIELDS, SLUID_FIELDS], ids=["plain", "sluid"])
@pytest.mark.parametrize(
    ("tres", "expected"),
    [
        ("cpu=64,gres/gpu:h100=8,gres/gpu=8,mem=800G,node=2", ("8", "8", "100", "0.25")),
        ("cpu=64,gres/gpu=8,mem=819200,node=1", ("8", "8", "100", "0.125")),  # slurmrestd and slurmdbd: MB
        ("cpu=3,gres/gpu=2,mem=1.5T", ("2", "1.5", "768", "0")),
        ("cpu=2,gres/gpu:a100_1g.5gb=1,mem=10G,node=1", ("0.142", "14.084507", "70.422535", "7.042254")),
    ],
)
def test_what_a_run_held_is_read_out_of_its_row(fields: tuple[str, ...], tres: str, expected: tuple[str, ...]) -> None:
    assert dict(zip(("gpus", "cores", "gb", "nodes"), expected, strict=True)) == tres_facts(row(fields, tres))


@pytest.mark.parametrize("raw", [b"", b"{}", row(FIELDS, "cpu=4,mem=1G,node=1"), row(FIELDS, ""), b"\xff\x1f" * 30])
def test_what_tells_of_no_cards_tells_nothing(raw: bytes) -> None:
    assert {} == tres_facts(raw)


CARD = """
cards:
  - name: all
    currency: EUR
    prices:
      - {gpu_hour: 1, core_hour: 0.25, gb_hour: {money: 0.01, free: 10}, when: {scheduler: slurm, gpus: 6}}
      - {gpu_hour: 2, when: {scheduler: kubernetes}}
      - {gpu_hour: 3, when: {scheduler: kubernetes, label: {team: blue}}}
    factors:
      - {name: refund, factor: 0, when: {state: PREEMPTED, ran_under: 2h}}
      - {name: refund, factor: 0.5, when: {state: PREEMPTED}}
"""


def preempted(end: int, tres: str = "cpu=48,gres/gpu=6,mem=120G,node=1") -> Record:
    record = run_1(end=end)
    texts = {"JobIDRaw": "1", "AllocTRES": tres, "End": str(end)}
    raw = SEPARATOR.join(texts.get(name, "") for name in FIELDS)
    return replace(record, raw=raw, job=replace(record.job, state="PREEMPTED"))


def site(engine: Engine, folder: Path, end: int) -> Dated:
    seen(engine)
    told(engine, preempted(end))
    carded(folder, CARD)
    found = Dated(engine, folder, rates=f"{{cards: {folder / 'rates'}}}")
    found.run("reconcile", "--period", "2026-10")
    return found


@pytest.mark.parametrize(("seconds", "factor"), [(2 * HOUR - 1, "0"), (2 * HOUR, "0.5")])
def test_a_run_preempted_soon_is_refunded_whole_and_later_by_half(
    engine: Engine, tmp_path: Path, seconds: int, factor: str
) -> None:
    """8 cores for each card at 0.25 and 20 GB, 10 of them free, at 0.01: 1 + 2 + 0.1 = 3.10 for a card's hour."""
    there = site(engine, tmp_path, T0 + HOUR + seconds)
    (line,) = (r for r in there.lines("2026-10") if r["scheduler"] == "slurm" and r["disposition"] == "charged")
    price = f"{3.1 * float(factor):.2f}"

    assert f"all prices.0 + 8 cores + 10 gb x refund {factor}" == line["price_rule"]
    assert price == f"{float(line['unit_price']):.2f}"
    assert Decimal(line["amount"]) == round(Decimal(line["charged_gpu_hours"]) * Decimal(line["unit_price"]), 2)
    explained = ask(there, "explain", line["line_id"])
    assert "  plus 8 cores for each card, at 0.25 EUR an hour" in explained
    assert "  plus 10 gb for each card beyond the 10 that come with it, at 0.01 EUR an hour" in explained
    facts = json.loads(there.run("explain", line["line_id"], "--json"))["price"]
    assert [("cores", "8"), ("gb", "10")] == [(one["what"], one["for_each_card"]) for one in facts["beside"]]
    assert "0.25 an hour of cores" in there.month("2026-10")[2].decode()


def test_a_closed_month_keeps_what_its_jobs_held(engine: Engine, tmp_path: Path) -> None:
    there = site(engine, tmp_path, T0 + 3 * HOUR)
    there.run("close", "2026-10")
    before = there.month("2026-10")
    told(engine, preempted(T0 + 3 * HOUR, "cpu=6,gres/gpu=6,mem=6G,node=1"))
    there.run("reconcile", "--period", "2026-10")

    assert before == there.month("2026-10")
    assert "every invariant holds\n" == there.run("check")


def cards_in(folder: Path) -> None:
    """Read the cards of a folder."""
    rate_cards(parse(f"rates: {{cards: {folder / 'rates'}}}"), UTC)


def test_a_price_that_would_miss_its_unit_is_refused(tmp_path: Path) -> None:
    carded(tmp_path, CARD.replace("core_hour: 0.25", "core_hour: {su: 1}"))
    with pytest.raises(RatingError, match=r"prices.0: cores are counted in service units \(su\) and the cards are not"):
        cards_in(tmp_path)
    carded(tmp_path, CARD.replace("core_hour: 0.25", "core_hour: {free: 1}"))
    with pytest.raises(RatingError, match="an hour of cores needs a price: a number, or money or su"):
        cards_in(tmp_path)


@pytest.mark.parametrize(
    ("price", "said"),
    [
        ("gpu_hour: 1, when: {gpus: two}", "prices.0.when.gpus: 'two' is no number of cards"),
        ("gpu_hour: 1, when: {ran_under: soon}", "prices.0.when.ran_under: 'soon' is not a duration"),
        ("gpu_hour: 1, when: {scheduler: kubernetes, gpus: 2}", "prices.0: it can never win: how many"),
        ("gpu_hour: 1, when: {scheduler: slurm, label: {a: b}}", "prices.0: it can never win: no job"),
        ("gpu_hour: 1, core_hour: {cost: 1}", "prices.0.core_hour.cost: unknown key; known here: free, money, su"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence_with_its_place(tmp_path: Path, price: str, said: str) -> None:
    carded(tmp_path, f"cards: [{{name: c, currency: EUR, prices: [{{{price}}}]}}]")
    with pytest.raises(RatingError) as error:
        cards_in(tmp_path)

    (told,) = str(error.value).splitlines()
    assert f"2026.yaml: line 1: cards.0.{said}" in told


def test_the_price_of_a_pod_may_depend_on_its_label_and_its_slices(engine: Engine, tmp_path: Path) -> None:
    there = site(engine, tmp_path, T0 + 3 * HOUR)
    pods = [r for r in there.lines("2026-10") if r["scheduler"] == "kubernetes" and r["disposition"] == "charged"]
    with write(engine) as connection:
        connection.execute(update(jobs).where(jobs.c.scheduler == "kubernetes").values(labels='{"team":"blue"}'))
        connection.execute(update(claims).where(claims.c.unit == "pod-a").values(profile="3g.40gb"))
    carded(tmp_path, CARD.replace("label: {team: blue}}", "label: {team: [red, blue]}, mig: 3g.40gb}"))
    blue = [r for r in there.lines("2026-10") if r["scheduler"] == "kubernetes" and r["disposition"] == "charged"]

    assert (["2.00"], ["3.00"]) == ([r["unit_price"] for r in pods], [r["unit_price"] for r in blue])
