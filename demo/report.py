"""What the demo says: the site, the capacity that adds up, lines worth a look, and what to try next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accounting.statements import Statement
from accounting.statements.chargeback import whole_lines
from accounting.statements.usage import GROUP
from demo.site import DemoSite
from exporters.model import MILLI_PER_GPU, Disposition, Scheduler

Tick = Callable[[float], None]
Line = Mapping[str, Any]
"""A line with all that is known of it (`accounting.statements.chargeback.whole_lines`), and its ``reason``."""
MICRO = 1_000_000
WORDS = {
    Disposition.CHARGED: "held by a job whose project pays",
    Disposition.RESERVED: "cards of Slinky's slurmd pods with no job inside",
    Disposition.IDLE: "in service, and nobody asked",
    Disposition.DOWN: "drained, down or not ready",
    Disposition.DISPUTED: "two owners and no link between them: nobody pays until it is ruled",
    Disposition.UNKNOWN: "a source could not be read: never billed, never called idle",
}


class Month(NamedTuple):
    """The demo's month: its statement, and lines of it that are worth a look, with what each shows."""

    statement: Statement
    worth: Sequence[tuple[str, Line]]


def introduce(console: Console, site: DemoSite, machines: int) -> None:
    """Say what is going to be shown, and what of it is real."""
    console.rule("meterbridge demo")
    console.print(
        dedent(f"""\
        A site of {machines} machines with 8 GPUs each, in {site.period}: Slurm cluster {site.cluster}, one Kubernetes
        cluster, and machines of both. Slurm's answers were recorded from a real Slurm and stretched
        to a month; Kubernetes and the GPUs are replayed over HTTP to fit them. Everything that reads, joins, records,
        divides and bills them is the production code.""")
    )


def sentence(text: str) -> str:
    """A report of production code as a line of the demo's."""
    return escape(text[:1].upper() + text[1:])


def files(period: str) -> dict[str, str]:
    """What the demo leaves behind in its folder, and what each file is."""
    return {
        f"chargeback-{period}.csv": "every line",
        f"chargeback-{period}-summary.csv": "the totals, and the capacity they sum to",
        f"chargeback-{period}-notes.txt": "the rules it was made by",
        f"{period}.html": "the statement as a page that a person reads",
        f"{period}": "and one for each project",
        "metrics.txt": "what /metrics served last",
        "meterbridge.yaml": "the settings, which are those of a real site",
        "meterbridge.log": "what was logged: an API server that was down, an exporter that was out of order",
        "site/ledger.sqlite": "the ledger",
    }


def conclude(console: Console, month: Month, out: Path, settings: Path, seconds: float, urls: Sequence[str]) -> None:
    """The results, where they are, and what to try. ``urls`` are those of the exporter and of the statement, if any."""
    statement = month.statement
    console.print()
    console.print(_capacity(statement))
    console.print(_projects(statement))
    console.print(_lines(month))
    console.print(f"A month in {seconds:.0f} s. Everything is in {out}:")
    for name, about in files(statement.billing_period).items():
        console.print(f"  {name:<30} {about}", highlight=False)
    console.print("Try next:")
    shown = dict(month.worth)
    line = shown.get(BRIDGED) or next(iter(shown.values()), None)
    commands = [
        f"meterbridge explain {line['line_id'] if line else 'LINE_ID'} --config {settings}",
        f"meterbridge check --config {settings}",
        f"meterbridge rejects --config {settings}",
        f"meterbridge statement {statement.billing_period} --config {settings} --out again",
    ]
    for command in commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    console.print(f"Read the statement: {out / statement.billing_period}.html", highlight=False, soft_wrap=True)
    if urls:
        url, pages = urls
        console.print(f"It is served at {pages} as well.", highlight=False)
        console.print(f"  curl {url}/metrics", highlight=False, soft_wrap=True)
        console.print(f"{url} stays up, and site time goes on, until you press Ctrl-C.", highlight=False)


def _capacity(statement: Statement) -> Table:
    table = _table(f"Where every GPU-hour of {statement.billing_period} went")
    table.add_column("disposition")
    table.add_column("GPU-hours", justify="right")
    table.add_column("share", justify="right")
    table.add_column(statement.currency, justify="right")
    table.add_column("meaning")
    whole = statement.capacity
    for word, meaning in WORDS.items():
        totals = [t for t in statement.totals if t.disposition is word]
        quantity = sum(t.quantity for t in totals)
        hours = sum(t.micro_hours for t in totals)
        amount = sum((t.amount for t in totals), Decimal())
        share = f"{quantity / whole:.2%}" if whole else ""
        table.add_row(word.value, _hours(hours), share, _money(amount), meaning)
    table.add_section()
    amount = sum((t.amount for t in statement.totals), Decimal())
    table.add_row("capacity", _hours(statement.capacity_micro), "100.00%", _money(amount), "the six, to the second")
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _projects(statement: Statement) -> Table:
    table = _table("Who pays")
    for name in ("project", "scheduler"):
        table.add_column(name)
    for name in ("GPU-hours", statement.currency):
        table.add_column(name, justify="right")
    for total in statement.totals:
        if total.disposition is Disposition.CHARGED:
            table.add_row(total.project, total.scheduler, _hours(total.micro_hours), _money(total.amount))
    return table


def _lines(month: Month) -> Table:
    table = _table("Lines worth a look, in GPU-hours")
    for name in ("what", "project", "job", "disposition"):
        table.add_column(name, no_wrap=True)
    for name in ("held", "counted", month.statement.currency):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("line_id", no_wrap=True)
    for what, line in month.worth:
        table.add_row(
            what,
            line["project"],
            escape(line["job_name"]),
            line["disposition"] or "shown",
            _milli_hours(line["held"]),
            _milli_hours(line["charged"]),
            _money(Decimal(line["amount"])),
            line["line_id"],
        )
    return table


def exemplars(statement: Statement, reasons: pl.DataFrame) -> list[tuple[str, Line]]:
    """One line of every kind that the month holds: what it shows, and the line (the largest of its kind).

    ``reasons`` are those of `accounting.statements.usage.reasons`.
    """
    lines = whole_lines(statement, 0, statement.lines.height)
    why = reasons.with_columns(pl.col(name).cast(lines.schema[name]) for name in ("project", "gpu_model"))
    lines = lines.join(why, on=GROUP, how="left").with_columns(
        pl.col("reason").fill_null(""),
        other=pl.col("linked_record").str.extract("^([a-z]+)/").fill_null(""),
        native=pl.col("run").str.extract("^([^@]*)"),
    )
    found: list[tuple[str, Line]] = []
    for what, shows in KINDS.items():
        kind = lines.filter(shows).sort("held", "line_id", descending=True)
        if kind.height:
            found.append((what, kind.row(0, named=True)))
    return found


_held, _reason = pl.col("held"), pl.col("reason")
_slurm, _pods = (pl.col("scheduler") == scheduler.value for scheduler in (Scheduler.SLURM, Scheduler.KUBERNETES))
_to_slurm, _to_pods = (pl.col("other") == scheduler.value for scheduler in (Scheduler.SLURM, Scheduler.KUBERNETES))
_alone = pl.col("linked") == 0
_is = {word: pl.col("disposition") == word.value for word in Disposition}
_charged = _is[Disposition.CHARGED]
_runs = pl.struct("cluster", "run").n_unique().over("scheduler", "native")
_watched = pl.col("gpu_seconds") > 0
_busy = pl.col("active_seconds") > 0.01 * pl.col("gpu_seconds")
BRIDGED = "a pod by slurm-bridge"

KINDS: Mapping[str, pl.Expr] = {
    "a Slurm job": _slurm & _charged & _alone & (_reason == ""),
    "a workload of pods": _pods & _charged & _alone,
    "a job in a NodeSet's pods": _slurm & _charged & _to_pods,
    "a run of a requeued job": _slurm & (_runs > 1),
    "cards held and not used": _charged & (_reason == "") & _watched & ~_busy,
    "slices of a MIG card": _charged & (_held % MILLI_PER_GPU > 0),
    BRIDGED: _pods & _charged & _to_slurm,
    "the rest of its node": _slurm & _reason.str.contains("remainder"),
    "a PyTorchJob in a job": (pl.col("disposition") == "") & _pods & _to_slurm,
    "an unlinked overlap": _is[Disposition.DISPUTED] & ~_alone,
    "a key that does not hold": _is[Disposition.DISPUTED] & _alone,
    "a slurmd pod's free cards": _is[Disposition.RESERVED],
    "cards out of service": _is[Disposition.DOWN] & (pl.col("job") == 0),
    "cards without evidence": _is[Disposition.UNKNOWN],
}
"""What a line shows -> whether a line does: a run shares its Slurm job id with others where it was requeued."""


def _hours(micro: int) -> str:
    return f"{Decimal(micro) / MICRO:,.1f}"


def _milli_hours(milligpu_seconds: int) -> str:
    return f"{Decimal(milligpu_seconds) / 3_600_000:,.0f}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"
