"""A line of a statement as its reader asks for it: hours, price, rule, amount and the sum per node; then its evidence.

The facts are one mapping, which is what JSON prints; the text for people is made from that mapping and nothing else, so
that both say the same. Numbers are text, so that no reader rounds one; times are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from accounting.rates.pricing import Priced
from accounting.rates.rating import MILLIGPU_SECONDS_PER_HOUR, Rates, Rule, money, plain
from accounting.statements.hours import apportion, hours_text, micro_hours, units_text
from accounting.statements.month import Named
from accounting.statements.one_line.evidence_chain import Explanation
from accounting.statements.one_line.evidence_text import evidence_facts, evidence_lines, fit, moment
from exporters.model import Disposition

Facts = dict[str, Any]


def price_facts(month: str, line: Named, rates: Rates) -> Facts:
    """A line, and by which price and factors it came to its amount. ``price`` is None for what has no price."""
    u, digits = line.usage, rates.minor_digits
    counted = u.held if u.disposition is None else u.charged
    return {
        "line_id": line.line_id,
        "billing_period": month,
        "corrects": line.corrects,
        "disposition": u.disposition.value if u.disposition else "",
        "project": u.project,
        "job": str(u.job or ""),
        "gpu_model": u.gpu_model,
        "start": moment(u.start),
        "end": moment(u.end),
        "gpu_hours": hours_text(micro_hours(counted)),
        "held_gpu_hours": hours_text(micro_hours(u.held)),
        "milligpu_seconds": str(counted),
        "amount": money(line.amount, digits),
        "currency": rates.currency,
        "service_units": None if line.micro_su is None else units_text(line.micro_su),
        "price_rule": line.told,
        "price": None if line.price is None else _price(line.price, line, digits),
    }


def _price(price: Priced, line: Named, digits: int) -> Facts:
    rule = price.rule
    exact = Decimal(line.usage.charged) * price.price / MILLIGPU_SECONDS_PER_HOUR
    return {
        **_rule(rule),
        "rule": rule.told,
        "gpu_hour": money(rule.worth, digits),
        "su": None if rule.su is None else f"{rule.su:f}",
        "beside": [
            {
                "what": one.what,
                "for_each_card": plain(much),
                "free": plain(one.free),
                "hour": money(one.worth, digits),
                "su": None if one.su is None else plain(one.su),
            }
            for one, much in price.beside
        ],
        "dominant": {name: plain(each) for name, each in rule.dominant},
        "share": plain(price.share),
        "factors": [{**_rule(factor), "name": factor.name, "factor": f"{factor.worth:f}"} for factor in price.factors],
        "gpu_hour_with_factors": money(price.price, digits),
        "su_with_factors": None if price.su is None else f"{price.su:f}",
        "exact_amount": f"{exact.normalize():f}",
        "counts": [{"from": moment(a), "to": moment(b)} for a, b in line.spans],
    }


def _rule(rule: Rule) -> Facts:
    return {"when": {name: value if isinstance(value, str) else [*value] for name, value in rule.when.items()}} | {
        "set_at": rule.key
    }


def line_facts(month: str, line: Named, rates: Rates, chain: Explanation, *, evidence: bool) -> Facts:
    """What `price_facts` has, whose line it is, and the sum per node; with ``evidence`` all that it stands on."""
    u, job = line.usage, chain.job
    words = ("display_id", "name", "user", "account", "partition", "qos", "state")
    linked = {p.link for day in chain.days for p in day.postings if p.link}
    records = len(chain.records) + len(chain.linked_records)
    return {
        **price_facts(month, line, rates),
        "job_told": {word: getattr(job, word) for word in words} if job else None,
        "linked_record": str(u.linked or ""),
        "link": sorted(linked),
        "reason": u.reason,
        "nodes": _nodes(chain, shown=u.disposition is None),
        "behind": {"node_days": len(chain.days), "records": records, "seen": len(chain.holdings)},
        **({"evidence": evidence_facts(chain)} if evidence else {}),
    }


def _nodes(chain: Explanation, *, shown: bool) -> Sequence[Facts]:
    """What a line comes to on each node, rounded so that it adds up to the line."""
    names = sorted({day.machine for day in chain.days})
    of_node = [[p for day in chain.days if day.machine == name for p in day.postings] for name in names]
    sums = [sum(p.held if shown else p.quantity for p in there) for there in of_node]
    printed = apportion(np.array(sums, dtype=np.int64)).tolist() if sums else []
    return [
        {
            "node": name,
            "gpu_hours": hours_text(micro),
            "start": moment(min(p.start for p in there)),
            "end": moment(max(p.end for p in there)),
        }
        for name, micro, there in zip(names, printed, of_node, strict=True)
    ]


def price_lines(f: Facts) -> Iterator[str]:
    """`price_facts` for people: which line, its use, its price and the arithmetic."""
    yield fit(f"{f['line_id']} of {f['billing_period']}" + (f", a correction of {f['corrects']}" * bool(f["corrects"])))
    about = (f"project {f['project'] or '-'}", f["job"] or "nobody", f["gpu_model"] or "unknown model")
    yield fit(f"  {', '.join(about)}")
    if f["start"] != f["end"]:
        yield f"  used between {f['start']} and {f['end']}"
    yield from _amount(f)


def _amount(f: Facts) -> Iterator[str]:
    """Hours, price and factors, and what they come to."""
    price: Facts | None = f["price"]
    if price is None:
        if f["price_rule"]:
            yield fit(f"  its part of what nobody used ({f['price_rule']}): {f['amount']} {f['currency']}")
            return
        word = f["disposition"] or "counted on another line"
        yield f"  {f['gpu_hours']} GPU-hours"
        yield f"  it is {word}, and only charged time has a price: 0 {f['currency']}"
        return
    seconds = f["milligpu_seconds"]
    yield f"  charged {f['gpu_hours']} GPU-hours = {seconds} milliGPU-seconds / {MILLIGPU_SECONDS_PER_HOUR}"
    worth = [f"{price['su']} SU"] if price["su"] is not None else []
    worth.append(f"{price['gpu_hour']} {f['currency']}")
    yield fit(f"  price {', '.join(worth)} per GPU-hour: {price['rule']}{_where(price, price['rule'])}")
    for one in price["beside"]:
        worth = [f"{one['su']} SU"] if one["su"] is not None else []
        worth.append(f"{one['hour']} {f['currency']}")
        free = f" beyond the {one['free']} that come with it" if one["free"] != "0" else ""
        yield f"  plus {one['for_each_card']} {one['what']} for each card{free}, at {', '.join(worth)} an hour"
    if price["dominant"]:
        comes = " and ".join(f"{much} {name}" for name, much in price["dominant"].items())
        yield f"  times {price['share']}: the largest share, where {comes} come with a card"
    yield from (fit(f"  times {one['factor']}: {one['name']}{_where(one, one['name'])}") for one in price["factors"])
    yield from (f"  this price counts from {one['from']} to {one['to']}" for one in price["counts"])
    yield (
        f"  amount {seconds} / {MILLIGPU_SECONDS_PER_HOUR} x {price['gpu_hour_with_factors']} = "
        f"{price['exact_amount']}, rounded once, half to even: {f['amount']} {f['currency']}"
    )
    if price["su_with_factors"] is not None and f["service_units"] is not None:
        units = f"{seconds} / {MILLIGPU_SECONDS_PER_HOUR} x {price['su_with_factors']} = {f['service_units']} SU"
        yield f"  service units {units}"


def _where(rule: Facts, told: str) -> str:
    """What a rule looks at, and where it is set, as far as it was not told."""
    when = ", ".join(f"{n} {v if isinstance(v, str) else ' or '.join(v)}" for n, v in rule["when"].items())
    return f" ({when or 'everything else'}{'' if rule['set_at'] == told else '; ' + rule['set_at']})"


def line_lines(f: Facts, chain: Explanation, *, evidence: bool) -> Iterator[str]:
    """`line_facts` for people, one line of text after the other; with ``evidence`` what it stands on."""
    yield from price_lines(f)
    yield from (fit(line) for line in _whose(f))
    yield from _by_node(f)
    if evidence:
        yield ""
        yield from (fit(line) for line in evidence_lines(chain))
    else:
        behind: Mapping[str, int] = f["behind"]
        told = f"{behind['node_days']} node-days, {behind['records']} records, {behind['seen']} sightings of cards"
        yield f"  behind it: {told} (--evidence prints them)"


def _whose(f: Facts) -> Iterator[str]:
    """Whose job it is, and what other record it has to do with."""
    if job := f["job_told"]:
        names = [name for name in dict.fromkeys((job["display_id"], job["name"])) if name]
        of = ", ".join(name for name in (job["user"], job["account"]) if name)
        yield f"  job {' '.join(names) or '-'} of {of or '-'}: {job['state'] or 'state unknown'}"
    linked, kinds = f["linked_record"], ", ".join(f["link"])
    if linked and f["disposition"] == Disposition.DISPUTED.value:
        yield f"  in dispute with {linked}: meterbridge disputes {f['billing_period']} names both parties"
    elif linked and not f["disposition"]:
        yield f"  shown here, and counted on {linked} ({kinds})"
    elif linked:
        yield f"  counted once, together with {linked} ({kinds})"
    if f["reason"]:
        yield f"  why: {f['reason']}"


def _by_node(f: Facts) -> Iterator[str]:
    """The sum per node."""
    nodes: Sequence[Mapping[str, str]] = f["nodes"]
    if not nodes:
        return
    names = [fit(one["node"]) for one in nodes]
    wide, deep = max(4, *map(len, names)), max(9, *(len(one["gpu_hours"]) for one in nodes), len(f["gpu_hours"]))
    yield f"  {'node':<{wide}}  {'GPU-hours':>{deep}}  from                  to"
    for name, one in zip(names, nodes, strict=True):
        yield f"  {name:<{wide}}  {one['gpu_hours']:>{deep}}  {one['start']}  {one['end']}"
    yield f"  {'sum':<{wide}}  {f['gpu_hours']:>{deep}}"
