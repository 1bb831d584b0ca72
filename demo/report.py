"""What the demo says: the site, the capacity that adds up, lines worth a look, and what to try next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from accounting.model import Line
from accounting.statements import Statement
from demo.site import DemoSite
from exporters.model import MILLI_PER_GPU, Disposition, JobKey, Scheduler

Tick = Callable[[float], None]
MICRO = 1_000_000
WORDS = {
    Disposition.CHARGED: "held by a job whose project pays",
    Disposition.RESERVED: "cards of Slinky's slurmd pods with no job inside",
    Disposition.IDLE: "in service, and nobody asked",
    Disposition.DOWN: "drained, down or not ready",
    Disposition.DISPUTED: "two owners and no link between them: nobody pays until it is ruled",
    Disposition.UNKNOWN: "a source could not be read: never billed, never called idle",
}


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
        "metrics.txt": "what /metrics served last",
        "meterbridge.yaml": "the settings, which are those of a real site",
        "meterbridge.log": "what was logged: an API server that was down, an exporter that was out of order",
        "site/ledger.sqlite": "the ledger",
    }


def conclude(console: Console, statement: Statement, out: Path, settings: Path, seconds: float, url: str) -> None:
    """The results, where they are, and what to try."""
    console.print()
    console.print(_capacity(statement))
    console.print(_projects(statement))
    console.print(_lines(statement))
    console.print(f"A month in {seconds:.0f} s. Everything is in {out}:")
    for name, about in files(statement.billing_period).items():
        console.print(f"  {name:<30} {about}", highlight=False)
    console.print("Try next:")
    shown = dict(exemplars(statement))
    line = shown.get(BRIDGED) or next(iter(shown.values()), None)
    commands = [
        f"meterbridge explain {line.line_id if line else 'LINE_ID'} --config {settings}",
        f"meterbridge check --config {settings}",
        f"meterbridge rejects --config {settings}",
        f"meterbridge statement {statement.billing_period} --config {settings} --out again",
    ]
    for command in commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True)
    if url:
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


def _lines(statement: Statement) -> Table:
    table = _table("Lines worth a look, in GPU-hours")
    for name in ("what", "project", "job", "disposition"):
        table.add_column(name, no_wrap=True)
    for name in ("held", "counted", statement.currency):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("line_id", no_wrap=True)
    for what, line in exemplars(statement):
        u = line.usage
        table.add_row(
            what,
            u.project,
            escape(u.job_name),
            u.disposition.value if u.disposition else "shown",
            _milli_hours(u.held),
            _milli_hours(u.charged),
            _money(line.amount),
            line.line_id,
        )
    return table


def exemplars(statement: Statement) -> list[tuple[str, Line]]:
    """One line of every kind that the month holds: what it shows, and the line (the largest of its kind)."""
    keys = {line.usage.job for line in statement.lines if line.usage.job and _is(line, Scheduler.SLURM)}
    runs = Counter(_native(key) for key in keys)
    found = []
    for what, shows in KINDS.items():
        lines = [line for line in statement.lines if shows(line, runs)]
        if lines:
            found.append((what, max(lines, key=lambda line: (line.usage.held, line.line_id))))
    return found


def _is(line: Line, scheduler: Scheduler) -> bool:
    return line.usage.job is not None and line.usage.job.scheduler is scheduler


def _tied(line: Line, scheduler: Scheduler) -> bool:
    return line.usage.linked is not None and line.usage.linked.scheduler is scheduler


def _native(key: JobKey | None) -> str:
    """The Slurm job id of a run, which a requeue shares with the run before it."""
    return key.id.partition("@")[0] if key else ""


def _charged(line: Line) -> bool:
    return line.usage.disposition is Disposition.CHARGED


def _watched(line: Line) -> bool:
    return line.usage.observed_gpu_seconds > 0


def _busy(line: Line) -> bool:
    """Whether its cards did anything to speak of while they were watched."""
    return line.usage.active_seconds > 0.01 * line.usage.observed_gpu_seconds


SLURM, PODS = Scheduler.SLURM, Scheduler.KUBERNETES
BRIDGED = "a pod by slurm-bridge"

KINDS: Mapping[str, Callable[[Line, Mapping[str, int]], bool]] = {
    "a Slurm job": lambda n, _: _is(n, SLURM) and _charged(n) and not n.usage.linked and not n.usage.reason,
    "a workload of pods": lambda n, _: _is(n, PODS) and _charged(n) and not n.usage.linked,
    "a job in a NodeSet's pods": lambda n, _: _is(n, SLURM) and _charged(n) and _tied(n, PODS),
    "a run of a requeued job": lambda n, runs: _is(n, SLURM) and runs[_native(n.usage.job)] > 1,
    "cards held and not used": lambda n, _: _charged(n) and not n.usage.reason and _watched(n) and not _busy(n),
    "slices of a MIG card": lambda n, _: _charged(n) and n.usage.held % MILLI_PER_GPU > 0,
    BRIDGED: lambda n, _: _is(n, PODS) and _charged(n) and _tied(n, SLURM),
    "the rest of its node": lambda n, _: _is(n, SLURM) and "remainder" in n.usage.reason,
    "a PyTorchJob in a job": lambda n, _: n.usage.disposition is None and _is(n, PODS) and _tied(n, SLURM),
    "an unlinked overlap": lambda n, _: n.usage.disposition is Disposition.DISPUTED and n.usage.linked is not None,
    "a key that does not hold": lambda n, _: n.usage.disposition is Disposition.DISPUTED and not n.usage.linked,
    "a slurmd pod's free cards": lambda n, _: n.usage.disposition is Disposition.RESERVED,
    "cards out of service": lambda n, _: n.usage.disposition is Disposition.DOWN and n.usage.job is None,
    "cards without evidence": lambda n, _: n.usage.disposition is Disposition.UNKNOWN,
}
"""What a line shows -> whether this line does, given how many runs each Slurm job id has."""


def _hours(micro: int) -> str:
    return f"{Decimal(micro) / MICRO:,.1f}"


def _milli_hours(milligpu_seconds: int) -> str:
    return f"{Decimal(milligpu_seconds) / 3_600_000:,.0f}"


def _money(amount: Decimal) -> str:
    return f"{amount:,.2f}"
