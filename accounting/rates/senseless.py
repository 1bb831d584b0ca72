"""What is wrong with a card by itself, in sentences: whatever will be used, such a card makes no sense."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, pairwise, product

from accounting.rates.rate_cards import Card
from accounting.rates.rating import (
    BEGINNING,
    FOREVER,
    GPU_MODEL,
    GPUS,
    LABEL,
    NAMESPACE,
    QUEUE,
    RAN_UNDER,
    Factor,
    PriceRule,
    Rule,
)
from exporters.join.projects import UNMAPPED
from exporters.model import Scheduler

_SCHEDULERS = tuple(s.value for s in Scheduler)


@dataclass(frozen=True, slots=True)
class Names:
    """The projects and clusters that there are; nothing is known of them where a set is empty."""

    projects: Set[str] = frozenset()
    clusters: Set[str] = frozenset()


def refuse_senseless(card: Card, names: Names) -> Iterator[str]:
    """Say what is wrong with a card: one sentence each, beginning with file, line and key."""
    if card.valid_from >= card.valid_to:
        begin, end = told_moment(card.valid_from), told_moment(card.valid_to)
        yield f"{card.key}: valid_from {begin} is not before valid_to {end}: it is never valid"
    rates = card.rates
    for rule in (*rates.more, *rates.factors):
        yield from _of_rule(rule, card, names)
    yield from _of_rules(rates.more)
    for one, other in combinations(rates.distribute, 2):
        of, models = {*one.of} & {*other.of}, {name.casefold() for name in other.gpu_models}
        if of and (not one.gpu_models or not models or any(map(other.is_about, one.gpu_models))):
            hours = f"{' and '.join(sorted(of))} hours of the same cards"
            yield f"{one.key} and {other.key} both share out {hours}: keep one"
    for name in sorted({factor.name for factor in rates.factors}):
        yield from _of_rules([factor for factor in rates.factors if factor.name == name])


def _of_rule(rule: Rule, card: Card, names: Names) -> Iterator[str]:
    """A rule that can never win, or that names what there is not."""
    if rule.valid_from >= rule.valid_to:
        told = f"valid_from {told_moment(rule.valid_from)} is not before valid_to {told_moment(rule.valid_to)}"
        yield f"{rule.key}: {told}: it is never valid"
    elif rule.valid_from < card.valid_from or rule.valid_to > card.valid_to:
        yield f"{rule.key}: it is valid outside of the time of its card ({card.key})"
    schedulers = values_of(rule, "scheduler")
    if odd := [s for s in schedulers if s not in _SCHEDULERS]:
        yield f"{rule.key}: scheduler {odd[0]!r} is none of {', '.join(_SCHEDULERS)}"
    elif schedulers and Scheduler.KUBERNETES.value not in schedulers and {NAMESPACE, QUEUE} & rule.when.keys():
        yield f"{rule.key}: it can never win: there are no {NAMESPACE}s and no {QUEUE}s in slurm"
    elif schedulers == (Scheduler.SLURM.value,) and any(name.startswith(LABEL) for name in rule.when):
        yield f"{rule.key}: it can never win: no job of slurm has a label"
    elif schedulers == (Scheduler.KUBERNETES.value,) and GPUS in rule.when:
        yield f"{rule.key}: it can never win: how many cards a workload has is known of jobs of slurm alone"
    for column, there in (("project", names.projects), ("cluster", names.clusters)):
        for told in unknown(column, values_of(rule, column), there):
            yield f"{rule.key}: {told}"


def unknown(what: str, values: Sequence[str], there: Set[str]) -> Iterator[str]:
    """Names of projects or clusters that the settings do not have, each with the nearest one that they have."""
    for value in values:
        if there and value not in there and not (what == "project" and value == UNMAPPED):
            near = difflib.get_close_matches(value, sorted(there), n=1, cutoff=0.5)
            more = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(there))}"
            yield f"there is no {what} {value!r} in the settings{more}"


def _of_rules(rules: Sequence[Rule]) -> Iterator[str]:
    """Rules of one kind: two about the same usages at one time, one that never wins, time without a price."""
    for one, other in combinations(rules, 2):
        if one.when.keys() == other.when.keys() and _meet(one, other) and _spans_meet(one, other):
            yield f"{one.key} and {other.key} both apply to the same usages at one time: keep one, or give it dates"
    for rule in rules:
        if isinstance(rule, (PriceRule, Factor)) and "scheduler" not in rule.when and _covered(rule, rules):
            yield f"{rule.key}: it can never win: a more specific one applies to each scheduler all the time"
    if rules and isinstance(rules[0], PriceRule):
        yield from _holes(rules)


def _meet(one: Rule, other: Rule) -> bool:
    """Whether a usage may fit both, which name the same columns."""
    return all(name == RAN_UNDER or {*values_of(one, name)} & {*values_of(other, name)} for name in one.when)


def _spans_meet(one: Rule, other: Rule) -> bool:
    return one.valid_from < other.valid_to and other.valid_from < one.valid_to


def _covered(rule: Rule, rules: Sequence[Rule]) -> bool:
    """Whether for each scheduler there is the same rule with the scheduler as well, whenever it is valid."""
    return all(
        any(
            {*other.when} == {*rule.when, "scheduler"}
            and scheduler in values_of(other, "scheduler")
            and all({*values_of(rule, name)} <= {*values_of(other, name)} for name in rule.when)
            and other.valid_from <= rule.valid_from
            and rule.valid_to <= other.valid_to
            for other in rules
        )
        for scheduler in _SCHEDULERS
    )


def _holes(rules: Sequence[Rule]) -> Iterator[str]:
    """Time between two prices of the same usages in which nothing else gives them a price."""
    chains: dict[tuple[tuple[str, str], ...], list[Rule]] = {}
    for rule in rules:
        names = sorted(rule.when)
        for values in product(*(values_of(rule, name) for name in names)):
            chains.setdefault(tuple(zip(names, values, strict=True)), []).append(rule)
    told: set[tuple[str, str]] = set()
    for about, chain in chains.items():
        for one, other in pairwise(sorted(chain, key=lambda rule: rule.valid_from)):
            if one.valid_to < other.valid_from and (one.key, other.key) not in told:
                gap = one.valid_to, other.valid_from
                if not any(
                    _fits(rule, about) and rule.valid_from <= gap[0] and rule.valid_to >= gap[1] for rule in rules
                ):
                    told.add((one.key, other.key))
                    between = f"from {told_moment(gap[0])} to {told_moment(gap[1])}"
                    yield f"{one.key} and {other.key}: between them, {between}, nothing gives a price"


def _fits(rule: Rule, about: tuple[tuple[str, str], ...]) -> bool:
    known = dict(about)
    return all(name in known and known[name] in values_of(rule, name) for name in rule.when)


def values_of(rule: Rule, column: str) -> tuple[str, ...]:
    """The values that a rule asks of a column, as they are compared; none where it does not look at it."""
    wanted = rule.when.get(column, ())
    some = (wanted,) if isinstance(wanted, str) else wanted
    return tuple(value.casefold() for value in some) if column == GPU_MODEL else some


def told_moment(moment: int) -> str:
    """A moment for people, in UTC."""
    if moment in (BEGINNING, FOREVER):
        return "the beginning" if moment == BEGINNING else "the end of time"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
