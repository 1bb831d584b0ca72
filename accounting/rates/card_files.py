"""Rate cards from files: YAML, strict; every error names file, line and key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from math import ceil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accounting.rates.allocations import SU, Grant
from accounting.rates.card_entries import (
    CardEntry,
    CardFile,
    DatedRule,
    DistributionEntry,
    GrantEntry,
    Hourly,
    PriceEntry,
    When,
)
from accounting.rates.iso4217 import CURRENCIES
from accounting.rates.rate_cards import Card, RateCards
from accounting.rates.rating import (
    BEGINNING,
    BESIDE,
    CORES,
    FOREVER,
    GB,
    GPU_MODEL,
    LABEL,
    RAN_UNDER,
    Beside,
    Distribution,
    Factor,
    PriceRule,
    Rates,
    RatingError,
)
from accounting.rates.senseless import Names, refuse_senseless, unknown
from exporters.config import Config
from exporters.config.payers import Rates as Settings
from exporters.config.reading import sentence
from exporters.config.values import Moment
from exporters.strict_yaml import YamlError, lines, read

Texts = tuple[tuple[Path, str], ...]
"""Files, and what is in them. Reading is cheap and says surely what changed; parsing takes a thousand times as long."""

_KEPT = 64
"""Texts that are kept parsed: those of a site, and drafts that are compared with them."""


def rate_cards(config: Config, zone: tzinfo) -> RateCards:
    """All prices of a site, from its settings, or from the files that these name.

    Days begin at midnight in ``zone``. Raises `RatingError` with a line for each thing that is wrong.
    """
    settings = config.rates
    if not settings.cards:
        return _of_settings(settings, zone)
    return cards_of(settings.cards, config, zone)


def cards_of(paths: Sequence[str], config: Config, zone: tzinfo) -> RateCards:
    """The cards of some files, or of folders of them; the settings say which projects and clusters there are.

    Raises `RatingError` as `rate_cards` does.
    """
    return _cards_in(_texts(paths), _names(config), zone)


@lru_cache(maxsize=_KEPT)
def _cards_in(texts: Texts, names: Names, zone: tzinfo) -> RateCards:
    """The cards in the texts of some files: the same texts are the same cards, so they are made once."""
    found: list[Card] = []
    for file, where in (_of_file(*one) for one in texts):
        found += [_card(entry, n, where, zone) for n, entry in enumerate(file.cards)]
    if wrong := [told for card in found for told in refuse_senseless(card, names)]:
        raise RatingError("\n".join(wrong))
    return RateCards(tuple(sorted(found, key=lambda card: (card.valid_from, card.valid_to))))


def grants(config: Config, zone: tzinfo) -> list[Grant]:
    """What was granted to projects, in the files that the settings name; none where they name none.

    Raises `RatingError` with a line for each thing that is wrong.
    """
    found: list[Grant] = []
    wrong: list[str] = []
    for file, where in (_of_file(*one) for one in _texts(config.rates.cards)):
        for n, entry in enumerate(file.allocations):
            key = where.key("allocations", n)
            grant = _grant(entry, key, zone)
            wrong += [f"{key}: {told}" for told in _senseless(entry, grant, _names(config))]
            wrong += [f"{key}: {g.key} has this name, too" for g in found if g.name == grant.name]
            found.append(grant)
    if wrong:
        raise RatingError("\n".join(wrong))
    return found


def _grant(entry: GrantEntry, key: str, zone: tzinfo) -> Grant:
    unit, amount = (SU, entry.su) if entry.su is not None else (entry.currency, entry.money)
    begin, end = _moment(entry.valid_from, zone, BEGINNING), _moment(entry.valid_to, zone, FOREVER)
    return Grant(entry.name, entry.project, unit, amount or Decimal(), begin, end, entry.overdraft == "allow", key)


def _senseless(entry: GrantEntry, grant: Grant, names: Names) -> Iterator[str]:
    """What is wrong with a grant."""
    if (entry.su is None) == (entry.money is None):
        yield "a grant is in su, or in money: one of them"
    if entry.money is not None and entry.currency not in CURRENCIES:
        yield f"a grant of money needs its currency, a code of ISO 4217, not {entry.currency!r}"
    if (entry.valid_from.day, entry.valid_to.day) != (1, 1) or grant.valid_from >= grant.valid_to:
        yield "a grant is for whole months: valid_from and a later valid_to are first days of months"
    yield from unknown("project", [entry.project], names.projects)


def _names(config: Config) -> Names:
    clusters = {*(c.cluster for c in config.slurm), *(c.cluster for c in config.kubernetes)}
    return Names(frozenset(p.project for p in config.projects), frozenset(clusters))


def _of_settings(settings: Settings, zone: tzinfo) -> RateCards:
    """Flat prices, or lists of them with dates."""
    if isinstance(settings.gpu_hour, dict):
        flat = Rates(dict(settings.gpu_hour), settings.currency, settings.default)
        return RateCards((Card("rates", flat),))
    rules = []
    for n, entry in enumerate(settings.gpu_hour):
        span = _moment(entry.valid_from, zone, BEGINNING), _moment(entry.valid_to, zone, FOREVER)
        for model, price in entry.price.items():
            rules.append(PriceRule(price, {GPU_MODEL: model}, f"rates.gpu_hour.{n}.price.{model}", *span))
    card = Card("rates", Rates({}, settings.currency, settings.default, tuple(rules)))
    if wrong := [*refuse_senseless(card, Names())]:
        raise RatingError("\n".join(wrong))
    return RateCards((card,))


def _files(path: Path) -> list[Path]:
    """A file, or those of a folder that end in ``.yaml``, in the order of their names."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*.yaml"))
    if not found:
        raise RatingError(f"{path}: there is no rate card in this folder: a card is a file NAME.yaml")
    return found


@dataclass(frozen=True, slots=True)
class _Text:
    """A file being read: where something is, for people."""

    path: Path
    lines: dict[tuple[str | int, ...], int]

    def key(self, *where: str | int) -> str:
        """File, line and key."""
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), 1)
        return f"{self.path}: line {line}: {'.'.join(map(str, where)) or 'the file'}"


def _texts(paths: Sequence[str]) -> Texts:
    """What is in some files, or in folders of them, now."""
    return tuple((path, _text(path)) for name in paths for path in _files(Path(name)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise RatingError(f"{path}: cannot be read: {e}") from e


@lru_cache(maxsize=_KEPT)
def _of_file(path: Path, text: str) -> tuple[CardFile, _Text]:
    """A file that holds this text; parsed once, however often prices are asked for."""
    try:
        data = read(text)
        where = _Text(path, lines(text))
    except YamlError as e:
        raise RatingError(f"{path}: not valid YAML: {e}") from None
    if not isinstance(data, dict):
        raise RatingError(f"{path}: must be a mapping with the key cards")
    try:
        return CardFile.model_validate(data), where
    except ValidationError as e:
        raise RatingError("\n".join(_told(error, where) for error in _own(e.errors()))) from None


def _own(errors: Sequence[Any]) -> Iterator[Any]:
    """Errors but those that only follow from another: a list is not empty of which an entry is wrong."""
    for error in errors:
        at = error["loc"]
        if error["type"] != "too_short" or not any(
            len(o["loc"]) > len(at) and o["loc"][: len(at)] == at for o in errors
        ):
            yield error


def _told(error: Any, where: _Text) -> str:
    """One error of a file: file, line, key, and what is wrong."""
    said = sentence(error, CardFile).partition(": ")[2]
    return f"{where.key(*error['loc'])}: {said}"


def _card(entry: CardEntry, n: int, where: _Text, zone: tzinfo) -> Card:
    at = ("cards", n)
    span = _moment(entry.valid_from, zone, BEGINNING), _moment(entry.valid_to, zone, FOREVER)
    try:
        prices = tuple(
            _price(p, (where.key(*at, "prices", m), m), zone, span, entry) for m, p in enumerate(entry.prices)
        )
        factors = tuple(
            Factor(f.factor, _when(f.when), where.key(*at, "factors", m), *_span(f, zone, span), name=f.name)
            for m, f in enumerate(entry.factors)
        )
        several = enumerate(entry.distribute)
        shared = tuple(_shared(d, where.key(*at, "distribute", m), entry) for m, d in several if d.how != "none")
        return Card(where.key(*at), Rates({}, entry.currency, None, prices, factors, shared), *span)
    except RatingError as e:
        told = str(e)
        raise RatingError(
            told if told.startswith(f"{where.path}: ") else f"{where.key(*at, 'currency')}: {told}"
        ) from e


def _shared(one: DistributionEntry, key: str, card: CardEntry) -> Distribution:
    """Who pays for some hours that nobody used. Nobody owns idle and down hours that stand on no project's lines."""
    if one.gpu_hour is None and one.su is None:
        raise RatingError(f"{key}: what is shared out needs gpu_hour (money), or su (service units)")
    if one.how == "owner" and "idle" in one.of:
        raise RatingError(f"{key}: idle cards are nobody's: share them out in proportion (how: proportional)")
    worth = one.gpu_hour if one.gpu_hour is not None else (one.su or Decimal(0)) * (card.su_price or Decimal(0))
    return Distribution(one.of, one.how == "owner", worth, one.su, one.gpu_model or (), key)


def _price(
    price: PriceEntry, place: tuple[str, int], zone: tzinfo, span: tuple[int, int], card: CardEntry
) -> PriceRule:
    key, n = place
    money, label = _money(price, card.su_price, key), price.name or f"{card.name} prices.{n}"
    each = zip(BESIDE, (price.core_hour, price.gb_hour, price.node_hour), strict=True)
    beside = tuple(_beside(what, one, price, card.su_price, key) for what, one in each if one is not None)
    comes = {} if price.dominant is None else {CORES: price.dominant.cores, GB: price.dominant.gb}
    dominant = tuple((name, much) for name, much in comes.items() if much is not None)
    return PriceRule(money, _when(price.when), key, *_span(price, zone, span), label, price.su, beside, dominant)


def _beside(what: str, one: Hourly, price: PriceEntry, su_price: Decimal | None, key: str) -> Beside:
    """What is beside the cards, in the units of its price."""
    if one.money is None and one.su is None:
        raise RatingError(f"{key}: an hour of {what} needs a price: a number, or money or su")
    if one.su is not None and price.su is None:
        raise RatingError(f"{key}: {what} are counted in service units (su) and the cards are not: give su to both")
    if one.money is not None:
        return Beside(what, one.money, one.su, one.free)
    by_units = su_price is not None and price.gpu_hour is None
    return Beside(what, one.su * su_price if by_units and one.su and su_price else Decimal(0), one.su, one.free)


def _money(price: PriceEntry, su_price: Decimal | None, key: str) -> Decimal:
    """Money per GPU-hour: as it is set, else that of its service units."""
    if price.gpu_hour is None and price.su is None:
        raise RatingError(f"{key}: a price needs gpu_hour (money), or su (service units)")
    if price.gpu_hour is not None:
        return price.gpu_hour
    return Decimal(0) if su_price is None or price.su is None else price.su * su_price


def _when(when: When) -> dict[str, str | tuple[str, ...]]:
    plain = When.model_fields.keys() - {RAN_UNDER, "label"}
    found: dict[str, tuple[str, ...] | None] = {n: getattr(when, n) for n in When.model_fields if n in plain}
    found |= {f"{LABEL}{name}": values for name, values in when.label.items()}
    if when.ran_under is not None:
        found[RAN_UNDER] = (str(ceil(when.ran_under)),)
    return {name: some[0] if len(some) == 1 else some for name, some in found.items() if some is not None}


def _span(rule: DatedRule, zone: tzinfo, card: tuple[int, int]) -> tuple[int, int]:
    """When a rule is valid: as its card, where it does not say."""
    return _moment(rule.valid_from, zone, card[0]), _moment(rule.valid_to, zone, card[1])


def _moment(told: Moment | None, zone: tzinfo, otherwise: int) -> int:
    """Epoch seconds of a day's first second, or of a time; in the site's zone where it names none."""
    if told is None:
        return otherwise
    at = told if isinstance(told, datetime) else datetime(told.year, told.month, told.day)
    return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp())
