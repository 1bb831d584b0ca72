"""The site's months and disputes: each of the front door's verbs about them as one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from accounting.ledger.disputes import Dispute, disputes, reach, rule
from accounting.ledger.reconcile_range import ReconcileReport
from accounting.periods.closing import ClosedWith, period_state, period_states
from accounting.periods.draws import Draw, Everything
from accounting.periods.proofs import Breach
from accounting.periods.rederive import rederived, waiting
from accounting.periods.sealing import seal
from accounting.periods.settling import Open, Sources, still_open
from accounting.rates.rating import RatingError, money
from accounting.site import book
from accounting.site.known_months import known_month, unknown_month
from accounting.site.rereading import read_again
from accounting.statements.doubts import doubts
from accounting.statements.hours import hours_text, micro_hours
from accounting.statements.known.kept import keep
from accounting.statements.month import facts_to_keep, month_sums, refuse_unpriced
from accounting.store.calendar import STATES, Period, close, period_named
from accounting.store.database import LedgerError, read
from accounting.store.tables import node_days
from exporters.config import Config
from exporters.errors import EXIT_BREACH, OperatorError


class NotSettledError(OperatorError):
    """A month cannot be closed yet. ``todo`` says what must be done first."""

    exit_code = EXIT_BREACH

    def __init__(self, name: str, todo: Sequence[Open]) -> None:
        super().__init__(f"{name} cannot be closed yet: {'; '.join(o.what for o in todo)}")
        self.todo = todo


def settle(config: Config, name: str, now: int) -> list[Open]:
    """What is still open before a month may be closed; nothing for a month that is closed already."""
    with book.opened(config) as engine:
        return _settle(config, engine, period_named(name, book.zone(config)), now)


def _settle(config: Config, engine: Engine, period: Period, now: int) -> list[Open]:
    if not period_state(engine, period.name).is_open:
        return []
    zone, wait = book.zone(config), int(config.ledger.settle) if config.ledger else 0
    sources = Sources([c.cluster for c in config.slurm if c.history.enabled], [k.cluster for k in config.kubernetes])
    found = list(read_again(config, engine, period, now))
    if nothing := unknown_month(engine, period.name):
        found.append(Open(must=True, what=nothing))
    found += still_open(engine, period, sources, settle=wait, now=now, zone=zone)
    proved = rederived(engine, book.site(config, engine), book.rules(config), zone, period, now=now)
    if proved.waits:
        found.append(Open(must=True, what=waiting(proved.waits, zone)))
    found += [Open(must=True, what=f"{breach} (meterbridge check)") for breach in proved.breaches]
    try:
        at = book.prices(config, engine, period)
        refuse_unpriced(engine, period, at.cards)
    except RatingError as e:
        found.append(Open(must=True, what=str(e)))
    return sorted(found, key=lambda o: (not o.must, -o.quantity))


def close_month(config: Config, name: str, now: int, *, force: bool = False) -> ClosedWith | None:
    """Close a month with the prices and terms of the settings. Closing it again changes nothing.

    Raises `NotSettledError` while something must be done first, unless ``force``; and then `LedgerError` for what
    cannot be passed over (nothing of the month is booked, it is not over, an earlier one is open), `RatingError` for
    a model without a price.
    """
    with book.opened(config) as engine:
        zone = book.zone(config)
        period = known_month(engine, name, zone)
        todo = [] if force else [o for o in _settle(config, engine, period, now) if o.must]
        if todo:
            raise NotSettledError(name, todo)

        def closed_with(connection: Connection) -> str:
            at = book.prices(config, engine, period)
            kept, _ = facts_to_keep(engine, period, at.cards)
            keep(connection, name, kept)
            return _closed_with(config, engine, period).text()

        close(engine, name, now=now, zone=zone, closed_with=closed_with)
        return period_state(engine, name).closed_with


def _closed_with(config: Config, engine: Engine, period: Period) -> ClosedWith:
    at = book.prices(config, engine, period)
    sums = month_sums(engine, period, at.cards)
    _, facts = facts_to_keep(engine, period, at.cards)
    told = doubts(engine, period)
    return ClosedWith(at.rates, at.terms, sums.capacity, sums.charged, sums.amount, facts, told)


def seal_month(config: Config, name: str, now: int) -> str:
    """Seal a closed month; its seal in hexadecimal. Sealing it again changes nothing."""
    with book.opened(config) as engine:
        return seal(engine, name, now=now, zone=book.zone(config)).hex()


def month_rows(config: Config) -> list[tuple[str, ...]]:
    """Every month: name, state, GPU-hours of capacity, charged GPU-hours, amount, currency, seal.

    A month that cannot be priced has no amount.
    """
    rows: list[tuple[str, ...]] = []
    with book.opened(config) as engine:
        for state in period_states(engine):
            if state.state not in STATES:
                raise LedgerError(f"{state.name} is in no state that there is: {state.state!r} (meterbridge check)")
            kept = state.closed_with
            if kept is None:
                try:
                    kept = _closed_with(config, engine, period_named(state.name, book.zone(config)))
                except RatingError:
                    rows.append((state.name, state.state, "", "", "", "no price", state.seal.hex()))
                    continue
            hours = (hours_text(micro_hours(q)) for q in (kept.capacity, kept.charged))
            amount = money(kept.amount, kept.rates.minor_digits)
            rows.append((state.name, state.state, *hours, amount, kept.rates.currency, state.seal.hex()))
    return rows


def amounts_hold(config: Config, engine: Engine, draw: Draw | None = None) -> list[Breach]:
    """Closed months that do not come to what they were closed with when they are rated again."""
    found = []
    for state in (draw or Everything()).months(
        [state for state in period_states(engine) if state.closed_with is not None]
    ):
        if state.closed_with is None:
            continue
        again = _closed_with(config, engine, period_named(state.name, book.zone(config)))
        if replace(again, doubts=state.closed_with.doubts) != state.closed_with:  # a doubt may be resolved since
            told = f"closed with {state.closed_with.amount}, now {again.amount} {again.rates.currency}"
            if again.facts != state.closed_with.facts:
                told += ": what was kept of its jobs was changed"
            found.append(Breach("a closed period rates to the same cents", f"period {state.name}", told))
    return found


def list_disputes(config: Config, name: str | None = None) -> list[Dispute]:
    """Every dispute, or those of a month."""
    with book.opened(config) as engine:
        projects = config.project_map().project
        if name is None:
            return disputes(engine, projects)
        period = period_named(name, book.zone(config))
        return disputes(engine, projects, start=period.start, end=period.end)


def rule_on(
    config: Config, name: str, to: str | None, *, why: str, author: str, now: int
) -> tuple[Dispute, ReconcileReport]:
    """Decide a dispute (``to`` None: revoke the decision), and book it: the node-days concerned are reconciled anew."""
    with book.opened(config) as engine:
        projects = config.project_map().project
        dispute, _ = rule(engine, name, to, author=author, why=why, now=now, projects=projects)
        start, end = reach(engine, dispute)
        with read(engine) as connection:
            d = node_days.c
            query = select(func.min(d.start_at), func.max(d.end_at)).where(d.machine == dispute.machine)
            first, last = connection.execute(query).one()
        if first is None:
            raise LedgerError(f"nothing is booked of {dispute.machine}: run meterbridge reconcile")
        report = book.reconcile_between(config, engine, max(start, first), min(end, last), now, only={dispute.machine})
        return next((d for d in disputes(engine, projects) if d.name == name), dispute), report


def dispute_lines(dispute: Dispute) -> list[str]:
    """A dispute as text for people: what, who, why, and the evidence."""
    hours = hours_text(micro_hours(dispute.quantity))
    when = f"{_at(dispute.start)} to {_at(dispute.end)}" if dispute.end else "no stretch of time any more"
    lines = [f"{dispute.name}  {dispute.state.value}  {dispute.machine}  {when}  {hours} GPU-hours"]
    for party in dispute.parties:
        job = party.job
        names = f"{job.display_id or job.native_id} {job.name!r} of {job.user or '-'}, {job.account or '-'}"
        lines.append(f"  {job.key}: {names}, project {party.project}")
        lines += [f"    key {k.kind.value} {k.cluster}/{k.value} {k.evidence}".rstrip() for k in party.keys]
        lines += [f"    record of {source} {cluster} sha256 {digest}" for source, cluster, digest in party.records]
    if dispute.reason:
        lines.append(f"  why: {dispute.reason}")
    if dispute.ruling is not None:
        r = dispute.ruling
        word = "revoked" if r.to is None else f"ruled to {r.to}"
        lines.append(f"  {word} by {r.author} at {_at(r.at)}: {r.why}")
    return lines


def dispute_facts(dispute: Dispute) -> dict[str, Any]:
    """The same as data; hours are text, so that no reader rounds them."""
    r = dispute.ruling
    ruling = r and {"to": str(r.to) if r.to else None, "author": r.author, "at": _at(r.at), "why": r.why}
    return {
        "dispute": dispute.name,
        "state": dispute.state.value,
        "node": dispute.machine,
        "start": _at(dispute.start) if dispute.end else None,
        "end": _at(dispute.end) if dispute.end else None,
        "gpu_hours": hours_text(micro_hours(dispute.quantity)),
        "why": dispute.reason,
        "parties": [
            {
                "job": str(party.job.key),
                "job_id": party.job.display_id or party.job.native_id,
                "job_name": party.job.name,
                "user": party.job.user,
                "account_or_namespace": party.job.account,
                "project": party.project,
                "keys": [
                    {"kind": k.kind.value, "cluster": k.cluster, "value": k.value, "evidence": k.evidence}
                    for k in party.keys
                ],
                "records": [{"source": s, "cluster": c, "sha256": digest} for s, c, digest in party.records],
            }
            for party in dispute.parties
        ],
        "ruling": ruling,
    }


def _at(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
