"""The rules a statement was made by, in words, beside it: a CSV has no room for them, and a reader needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from zoneinfo import ZoneInfo

from jinja2 import Environment, StrictUndefined

from accounting.rates.rating import BEGINNING, FOREVER, GPU_MODEL, Beside, Rates, Rule, money, plain
from accounting.statements.compose import Statement
from accounting.statements.csvtext import printable
from accounting.statements.hours import hours_text, micro_hours, seconds_text
from exporters.model import Disposition

HOLD_FROM = {
    "scheduled": "the moment it is bound to its node (PodScheduled)",
    "started": "the first start of one of its containers",
}
"""From when a pod holds its cards, in words."""

_MEANINGS = {
    Disposition.CHARGED: "held by a job whose project pays",
    Disposition.RESERVED: "held by something that only passes cards on, with no job inside",
    Disposition.IDLE: "in service, and nobody asked",
    Disposition.DOWN: "drained, down, not ready or in maintenance",
    Disposition.DISPUTED: "claimed by two with no link between them, or above capacity; nobody pays until it is ruled",
    Disposition.UNKNOWN: "without evidence, because a source could not be read; never billed, and never called idle",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """A site's choices that a reader of its statements must know.

    ``time_zone`` is the IANA zone in which the billing month begins and ends; ``hold_from`` maps each Kubernetes
    cluster to one of `HOLD_FROM`. Raises ValueError for another word.
    """

    time_zone: str = "UTC"
    hold_from: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for cluster, word in self.hold_from.items():
            if word not in HOLD_FROM:
                raise ValueError(f"hold_from of {cluster}: {word!r} is not one of {', '.join(HOLD_FROM)}")


@dataclass(frozen=True, slots=True)
class Basis:
    """What a statement rests on: whether its month is closed, the prices of the months it corrects, and the
    milliGPU-seconds that were recovered, by the history's name and its cluster. ``doubts`` is what sources contradict
    each other about, and ``not_metered`` the accelerators that were seen and have no rule, in sentences.
    """

    closed: bool = False
    corrected: Mapping[str, Rates] = field(default_factory=dict)
    recovered: Mapping[tuple[str, str], int] = field(default_factory=dict)
    doubts: Sequence[str] = ()
    not_metered: Sequence[str] = ()


def notes_text(statement: Statement, rates: Rates, terms: Terms, basis: Basis | None = None) -> Iterator[str]:
    """Yield the text of ``chargeback-YYYY-MM-notes.txt``. The same statement gives the same bytes."""
    basis = basis or Basis()
    environment = Environment(trim_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 -- plain text
    template = environment.from_string(files(__package__).joinpath("notes.template.txt").read_text("utf-8"))
    own = [t for t in statement.totals if not t.corrects]
    sums = {word: sum(t.quantity for t in own if t.disposition is word) for word in Disposition}
    capacity = seconds_text(sum(sums.values()))
    earlier = sorted(basis.corrected.items())
    yield template.render(
        period=statement.billing_period,
        state="" if statement.as_of is None else statement.state,
        words=[(w.value, seconds_text(sums[w]).rjust(len(capacity)), _MEANINGS[w]) for w in Disposition],
        capacity=capacity,
        terms=terms,
        hold_from=[(cluster, HOLD_FROM[word]) for cluster, word in sorted(terms.hold_from.items())],
        rates=rates,
        prices=_prices(rates, terms.time_zone),
        factors=_factors(rates, terms.time_zone),
        shared=_shared(rates),
        closed=basis.closed,
        corrections=seconds_text(statement.capacity - sum(sums.values())),
        recovered=[(*place, hours_text(micro_hours(held))) for place, held in sorted(basis.recovered.items())],
        corrected=[(month, _prices(then, terms.time_zone), _factors(then, terms.time_zone)) for month, then in earlier],
        doubts=basis.doubts,
        not_metered=basis.not_metered,
    )


def _prices(rates: Rates, zone: str) -> list[tuple[str, str]]:
    """For what there is which price, in words."""
    prices = [(model, money(price, rates.minor_digits)) for model, price in sorted(rates.gpu_hour.items())]
    if rates.default is not None:
        prices.append(("any other model", money(rates.default, rates.minor_digits)))
    for rule in rates.more:
        told = [] if rule.su is None else [f"{rule.su:f} SU"]
        told += [money(rule.worth, rates.minor_digits)] if rule.worth or rule.su is None else []
        told += [_beside(one, rates.minor_digits) for one in rule.beside]
        if comes := " and ".join(f"{plain(each)} {name}" for name, each in rule.dominant):
            told.append(f"as many cards as the largest share, where {comes} come with one")
        prices.append((_about(rule, zone), ", ".join(told)))
    return prices


def _shared(rates: Rates) -> list[str]:
    """Who pays for what nobody used, in words."""
    told = []
    for one in rates.distribute:
        worth = [f"{plain(one.su)} SU"] if one.su is not None else []
        worth += [money(one.worth, rates.minor_digits)] if one.worth or one.su is None else []
        models = f" of {' and '.join(map(printable, one.gpu_models))}" if one.gpu_models else ""
        told.append(f"{one.told}{models}: {', '.join(worth)} per GPU-hour")
    return told


def _beside(one: Beside, digits: int) -> str:
    """What is paid for an hour of what is beside the cards, in words."""
    worth = f"{plain(one.su)} SU" if one.su is not None and not one.worth else money(one.worth, digits)
    return f"{worth} an hour of {one.what}" + (f" beyond {plain(one.free)} for each card" if one.free else "")


def _factors(rates: Rates, zone: str) -> list[tuple[str, str]]:
    """What is multiplied, and by how much."""
    return [(f"{factor.name}: {_about(factor, zone)}", f"times {factor.worth:f}") for factor in rates.factors]


def _about(rule: Rule, zone: str) -> str:
    """What a rule is about, and when it is valid."""
    words = []
    for name, wanted in rule.when.items():
        value = wanted if isinstance(wanted, str) else " or ".join(wanted)
        words.append(printable(value if [*rule.when] == [GPU_MODEL] else f"{name} {value}"))
    told = ", ".join(words) or "everything else"
    ends = ((" from ", rule.valid_from, BEGINNING), (" until ", rule.valid_to, FOREVER))
    return told + "".join(word + _moment(at, zone) for word, at, never in ends if at != never)


def _moment(at: int, zone: str) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).isoformat(timespec="seconds")
