"""Rates: what a GPU-hour costs, as tables of dated rules, and money for a quantity.

A rule names columns of a usage and what they must be (`SEEN`); of the rules that fit a usage the one that names most
columns gives its price (`accounting.rates.pricing`, which is the only one to ask). A rule may be valid for some time
only: it is the time of use that counts, whenever a month is looked at or closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from accounting.rates.iso4217 import CURRENCIES, MINOR_DIGITS
from exporters.errors import EXIT_USAGE, OperatorError
from exporters.model import MILLI_PER_GPU

MILLIGPU_SECONDS_PER_HOUR = 3600 * MILLI_PER_GPU
"""milliGPU-seconds in one GPU-hour."""

GPU_MODEL = "gpu_model"
NAMESPACE, QUEUE = "namespace", "queue"
GPUS, MIG, RAN_UNDER = "gpus", "mig", "ran_under"
CORES, GB, NODES = "cores", "gb", "nodes"
BESIDE = (CORES, GB, NODES)
"""What a job holds beside its cards, counted for each of them."""

LABEL = "label."
"""How the columns begin that hold a label's value: ``label.team``."""

SEEN = (
    "project",
    "scheduler",
    "cluster",
    "account",
    "partition",
    NAMESPACE,
    QUEUE,
    "qos",
    "user",
    "state",
    GPU_MODEL,
    GPUS,
    MIG,
    RAN_UNDER,
    *BESIDE,
)
"""The columns of a usage that a rule may look at.

``account`` is the Slurm account or the Kubernetes namespace, ``partition`` the Slurm partition or the queue, ``user``
the Slurm user or who a pod's label names; ``namespace`` and ``queue`` are those of Kubernetes alone, empty for Slurm.
``state`` is how a job ended, in its scheduler's own word (``NODE_FAIL``), as far as it is known. ``gpus`` is how many
cards a run of Slurm was given, ``mig`` the profile of a job's slices, and `BESIDE` what else, for each card, as its
record says (`accounting.statements.known.held`); they are empty where no record does. ``ran_under`` holds the seconds
that it ran, and fits a rule that names more. A column ``label.NAME`` is a label's value of a workload of Kubernetes.
Letter case matters in all of them but ``gpu_model``.
"""

SU_DIGITS = 6
"""Decimals of service units."""

BEGINNING, FOREVER = 0, 1 << 62
"""From when a rule without ``valid_from`` is valid, and until when one without ``valid_to``."""


class RatingError(OperatorError):
    """A usage could not be priced, or the prices make no sense. The message names what, and the key to mend."""

    exit_code = EXIT_USAGE


When = Mapping[str, str | tuple[str, ...]]
"""What columns of a usage must be: a value, or one of several."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What applies to the usages whose columns (of `SEEN`) are what ``when`` says; to all, when it is empty.

    ``key`` is where it is set, for whoever has to mend it, and ``label`` what finance calls it. It is valid for what is
    used in ``[valid_from, valid_to)``, epoch seconds. Raises `RatingError` for a column that there is not.
    """

    worth: Decimal
    when: When = field(default_factory=dict)
    key: str = ""
    valid_from: int = BEGINNING
    valid_to: int = FOREVER
    label: str = ""

    def __post_init__(self) -> None:
        if odd := [name for name in self.when if name not in SEEN and not name.startswith(LABEL)]:
            raise RatingError(f"{self.key}: {', '.join(odd)} is no column that a price depends on: {', '.join(SEEN)}")

    @property
    def looks(self) -> frozenset[str]:
        """The columns of a usage that what it comes to depends on."""
        return frozenset(self.when)

    @property
    def told(self) -> str:
        """What it is called on a line."""
        return self.label or self.key

    @property
    def terms(self) -> tuple[Decimal | None, ...]:
        """What it gives: two rules that give the same are no contradiction."""
        return (self.worth,)

    def valid_at(self, moment: int) -> bool:
        """Whether it is valid for what is used then."""
        return self.valid_from <= moment < self.valid_to

    def valid_in(self, start: int, end: int) -> bool:
        """Whether it is valid for something that is used in ``[start, end)``."""
        return self.valid_from < min(end, self.valid_to) and self.valid_to > start


@dataclass(frozen=True, slots=True)
class Beside:
    """What an hour of something beside the cards costs (``what`` is one of `BESIDE`), in money and in service units.

    ``free`` of it come with each card.
    """

    what: str
    worth: Decimal
    su: Decimal | None = None
    free: Decimal = Decimal(0)

    def of(self, held: Decimal) -> Decimal:
        """How much of what a job holds for each card is charged."""
        return max(held - self.free, Decimal(0))


@dataclass(frozen=True, slots=True)
class PriceRule(Rule):
    """A price per GPU-hour: ``worth`` in money, and ``su`` in service units, None where nothing is counted in them.

    ``beside`` is what is paid for what a job holds beside its cards. With ``dominant`` (so much of each of `BESIDE`
    comes with a card) whoever takes more pays for as many cards as that is the share of: the largest share of all
    counts, as with Slurm's MAX_TRES.
    """

    su: Decimal | None = None
    beside: tuple[Beside, ...] = ()
    dominant: tuple[tuple[str, Decimal], ...] = ()

    @property
    def looks(self) -> frozenset[str]:
        """What it fits by, and what it is paid for."""
        return frozenset({*self.when, *(one.what for one in self.beside), *(name for name, _ in self.dominant)})

    @property
    def terms(self) -> tuple[Decimal | None, ...]:
        """Money and service units, of the cards and of what is beside them."""
        more = (term for one in self.beside for term in (Decimal(BESIDE.index(one.what)), one.worth, one.su, one.free))
        shares = (term for name, each in self.dominant for term in (Decimal(BESIDE.index(name)), each))
        return (self.worth, self.su, *more, *shares)

    @property
    def price(self) -> Decimal:
        """Money per GPU-hour."""
        return self.worth


@dataclass(frozen=True, slots=True)
class Factor(Rule):
    """What a price is multiplied by: ``worth``. Of the factors of one ``name`` the most specific one counts; factors of
    different names are all multiplied.
    """

    name: str = ""

    @property
    def told(self) -> str:
        """What it is called on a line: its name, and by how much it multiplies."""
        return f"{self.name} {self.worth:f}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """Who pays for time that nobody used (`accounting.rates.distribution`): the hours of some dispositions (``of``), of
    some GPU models or of all, at a price per GPU-hour; by whose lines they stand on, or by what each was charged.
    """

    of: tuple[str, ...]
    by_owner: bool
    worth: Decimal
    su: Decimal | None = None
    gpu_models: tuple[str, ...] = ()
    key: str = ""

    @property
    def told(self) -> str:
        """What it is called on a line."""
        return f"{' and '.join(self.of)} hours {'of its own' if self.by_owner else 'shared by use'}"

    def is_about(self, model: str) -> bool:
        """Whether it is about cards of this model, in any letter case."""
        return not self.gpu_models or model.casefold() in {name.casefold() for name in self.gpu_models}


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of a time, in one currency: flat ones for each GPU model, and any other rules.

    ``gpu_hour`` maps a GPU model (letter case does not matter) to its price per GPU-hour; ``default`` is the price of
    every model not listed, None when such a model is an error (the settings' section ``rates``). ``currency`` is an
    ISO 4217 code. ``more`` are the prices of rate cards, and ``factors`` what prices are multiplied by.
    ``distribute`` says who pays for time that nobody used.
    Raises `RatingError` for a price that is negative, not finite or not a `Decimal`.
    """

    gpu_hour: Mapping[str, Decimal]
    currency: str = "EUR"
    default: Decimal | None = None
    more: tuple[PriceRule, ...] = ()
    factors: tuple[Factor, ...] = ()
    distribute: tuple[Distribution, ...] = ()

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise RatingError(f"rates.currency: {self.currency!r} is no ISO 4217 code (three capitals: EUR)")
        if self.default is not None:
            check_price("rates.default", self.default)
        folded: set[str] = set()
        for model, price in self.gpu_hour.items():
            check_price(f"rates.gpu_hour.{model}", price)
            if model.casefold() in folded:
                raise RatingError(f"rates.gpu_hour.{model}: the same model twice, in other letter case; keep one")
            folded.add(model.casefold())

    @property
    def rules(self) -> tuple[PriceRule, ...]:
        """What these prices are to `accounting.rates.pricing`: every rule by which a price is chosen."""
        by_model = [PriceRule(p, {GPU_MODEL: model}, f"rates.gpu_hour.{model}") for model, p in self.gpu_hour.items()]
        other = [] if self.default is None else [PriceRule(self.default, {}, "rates.default")]
        return (*by_model, *other, *self.more)

    @property
    def changes(self) -> tuple[int, ...]:
        """The moments at which a price begins or ends, in order."""
        dated = [moment for rule in (*self.rules, *self.factors) for moment in (rule.valid_from, rule.valid_to)]
        return tuple(sorted({*dated} - {BEGINNING, FOREVER}))

    @property
    def in_service_units(self) -> bool:
        """Whether something is counted in service units."""
        units = (*(rule.su for rule in self.rules), *(one.su for one in self.distribute))
        return any(su is not None for su in units)

    @property
    def minor_digits(self) -> int:
        """Decimals of the currency: 2 for EUR, 0 for JPY, 3 for KWD."""
        return MINOR_DIGITS.get(self.currency, 2)

    @property
    def zero(self) -> Decimal:
        """No money, with the currency's decimals."""
        return Decimal(0).scaleb(-self.minor_digits)


def money(amount: Decimal, minor_digits: int) -> str:
    """Print money with at least the currency's decimals, never in exponent form: ``2.5`` is ``2.50``."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and -exponent < minor_digits:
        amount = amount.quantize(Decimal(1).scaleb(-minor_digits))
    return f"{amount:f}"


def plain(number: Decimal) -> str:
    """A number without zeros at its end, never in exponent form: ``16.000`` is ``16``."""
    return f"{number.normalize():f}"


def check_price(key: str, price: Decimal) -> None:
    """Raise `RatingError` for what is no price."""
    if not isinstance(price, Decimal):
        raise RatingError(f"{key}: {price!r} is a {type(price).__name__}; money is Decimal, never float")
    if not price.is_finite() or price < 0:
        raise RatingError(f"{key}: {price} is no price; it must be 0 or more")


def parts(changes: Iterable[int], start: int, end: int) -> Sequence[int]:
    """Where the parts of ``[start, end)`` begin throughout each of which no price changes; the first is ``start``."""
    return [start, *sorted({moment for moment in changes if start < moment < end})]
