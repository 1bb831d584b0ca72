"""A run for people, one line of text after the other: from `accounting.statements.one_job.job_facts`, nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from accounting.statements.one_job.job_facts import Facts
from accounting.statements.one_line.evidence_text import fit

UNKNOWN = "unknown"


def job_lines(f: Facts) -> Iterator[str]:
    """All that is told of a run."""
    yield from map(fit, (*_whose(f), *_when(f), *_nodes(f), *_cost(f), *_to_do(f)))


def job_mail_line(f: Facts) -> str:
    """One line for the mail of a job: state, cards, time, use, cost, and the first thing to do."""
    seen = [f"{one['node']} busy {_percent(one['busy'])}" for one in f["nodes"] if one["busy"] is not None][:4]
    costs = " + ".join(f"{amount} {currency}" for currency, amount in f["amounts"].items()) or "not booked yet"
    parts = (
        f"{f['display_id']} {f['state'] or UNKNOWN}: {f['cards'] or UNKNOWN} cards for {_time(f['run_seconds'])}",
        ", ".join(seen) or "use not measured",
        costs,
        *f["advice"][:1],
    )
    return fit("; ".join(parts))


def _whose(f: Facts) -> Iterator[str]:
    yield f"job {f['display_id']} {f['name']}".rstrip() + f" ({f['job']})"
    yield f"  {f['state'] or 'state unknown'}; user {f['user'] or UNKNOWN}, account {f['account'] or UNKNOWN}"
    yield f"  project {', '.join(f['projects']) or UNKNOWN}"
    yield f"  partition {f['partition'] or '-'}, QOS {f['qos'] or '-'}"


def _when(f: Facts) -> Iterator[str]:
    yield f"  submitted {f['submitted'] or UNKNOWN}, waited {_time(f['wait_seconds'])}"
    ended = f["ended"] or ("still running" if f["started"] else UNKNOWN)
    yield f"  started {f['started'] or UNKNOWN}, ended {ended}, ran {_time(f['run_seconds'])}"
    yield "  time limit, host CPU, host memory and card memory: unknown (not in the accounting records)"


def _nodes(f: Facts) -> Iterator[str]:
    yield f"  {f['cards'] or UNKNOWN} cards on {len(f['nodes'])} {'node' if len(f['nodes']) == 1 else 'nodes'}"
    if not f["nodes"]:
        return
    head = ("node", "cards", "model", "busy", "tensor", "W/card", "kWh", "NVLink GB out", "in", "measured")
    rows = [
        (
            one["node"], one["cards"] or UNKNOWN, one["gpu_model"] or UNKNOWN, _percent(one["busy"]),
            _percent(one["tensor"]), *(one[name] or UNKNOWN for name in _AS_THEY_ARE), _percent(one["coverage"]),
        )
        for one in f["nodes"]
    ]  # fmt: skip
    wide = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        yield ("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True))).rstrip()


_AS_THEY_ARE = ("power_watts", "energy_kwh", "nvlink_sent_gb", "nvlink_received_gb")


def _cost(f: Facts) -> Iterator[str]:
    if not f["lines"]:
        yield "  nothing of it is booked yet: meterbridge reconcile books what was read"
    for line in f["lines"]:
        what = f"{line['disposition'] or 'shown, counted on ' + line['linked_record']}"
        yield (
            f"  {line['billing_period']}  {line['gpu_hours']} GPU-hours {what}, {line['amount']} {line['currency']}"
            f"  {line['line_id']}"
        )
    costs = " + ".join(f"{amount} {currency}" for currency, amount in f["amounts"].items()) or "nothing"
    yield f"  together {f['gpu_hours']} GPU-hours, {f['charged_gpu_hours']} of them charged: {costs}"
    for month, state in f["booked"].items():
        if state != "closed":
            yield f"  {month} is {state}"
    for one in f["inside"]:
        yield f"  inside it, and counted once with it: {one['job']} {one['name']}, {one['gpu_hours']} GPU-hours"
    names = {"idle": "cards that did nothing", "orphaned": "cards that its pods did not hold", "failed": "its end"}
    for why, name in names.items():
        waste = f["waste"][why]
        if why == "idle" and waste["gpu_hours"] is None:
            yield f"  lost to {name}: {UNKNOWN}"
        elif waste["gpu_hours"] is not None and float(waste["gpu_hours"]):
            yield f"  lost to {name}: {waste['gpu_hours']} GPU-hours, {waste['amount']} {waste['currency']}"


def _to_do(f: Facts) -> Iterator[str]:
    yield from (f"  - {sentence}" for sentence in f["advice"])


def _percent(part: str | None) -> str:
    return UNKNOWN if part is None else f"{float(part) * 100:.1f}%"


def _time(seconds: int | None) -> str:
    """Days, hours, minutes and seconds, as Slurm prints them.

    >>> _time(90061)
    '1-01:01:01'
    """
    if seconds is None:
        return UNKNOWN
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock
