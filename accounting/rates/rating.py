"""Rates: what a GPU-hour costs, as a table of rules, and money for a quantity.

A rule names columns of a usage and what they must be (`SEEN`); of the rules that fit a usage the one that names most
columns gives its price (`accounting.rates.pricing`, which is the only one to ask).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from exporters.errors import EXIT_USAGE, OperatorError
from exporters.model import MILLI_PER_GPU

MILLIGPU_SECONDS_PER_HOUR = 3600 * MILLI_PER_GPU
"""milliGPU-seconds in one GPU-hour."""

GPU_MODEL = "gpu_model"
SEEN = ("project", "scheduler", "cluster", "account", "partition", "qos", "user", GPU_MODEL)
"""The columns of a usage that a rule may look at.

``account`` is the Slurm account or the Kubernetes namespace, ``partition`` the Slurm partition or the queue, ``user``
the Slurm user or who a pod's label names. Letter case matters in all of them but ``gpu_model``.
"""

_MINOR_DIGITS = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}
"""ISO 4217's currencies whose minor unit is not a hundredth, and its decimals."""

_CURRENCY = re.compile(r"[A-Z]{3}")


class RatingError(OperatorError):
    """A usage could not be priced, or the prices make no sense. The message names what, and the key to mend."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price per GPU-hour for the usages whose columns (of `SEEN`) are what ``when`` says; of all, when it is empty.

    ``key`` is where it is set, for whoever has to mend it. Raises `RatingError` for a column that there is not.
    """

    price: Decimal
    when: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        if odd := [name for name in self.when if name not in SEEN]:
            raise RatingError(f"{self.key}: {', '.join(odd)} is no column that a price depends on: {', '.join(SEEN)}")


@dataclass(frozen=True, slots=True)
class Rates:
    """A flat price per GPU-hour for each GPU model, in one currency (the settings' section ``rates``).

    ``gpu_hour`` maps a GPU model (letter case does not matter) to its price; ``default`` is the price of every model
    not listed, None when such a model is an error. ``currency`` is an ISO 4217 code.
    Raises `RatingError` for a price that is negative, not finite or not a `Decimal`.
    """

    gpu_hour: Mapping[str, Decimal]
    currency: str = "EUR"
    default: Decimal | None = None

    def __post_init__(self) -> None:
        if not _CURRENCY.fullmatch(self.currency):
            raise RatingError(f"rates.currency: {self.currency!r} is no ISO 4217 code (three capitals: EUR)")
        if self.default is not None:
            _check_price("rates.default", self.default)
        folded: set[str] = set()
        for model, price in self.gpu_hour.items():
            _check_price(f"rates.gpu_hour.{model}", price)
            if model.casefold() in folded:
                raise RatingError(f"rates.gpu_hour.{model}: the same model twice, in other letter case; keep one")
            folded.add(model.casefold())

    @property
    def rules(self) -> tuple[PriceRule, ...]:
        """What these prices are to `accounting.rates.pricing`: every rule by which a price is chosen."""
        by_model = [PriceRule(p, {GPU_MODEL: model}, f"rates.gpu_hour.{model}") for model, p in self.gpu_hour.items()]
        other = [] if self.default is None else [PriceRule(self.default, {}, "rates.default")]
        return (*by_model, *other)

    @property
    def minor_digits(self) -> int:
        """Decimals of the currency: 2 for EUR, 0 for JPY, 3 for KWD."""
        return _MINOR_DIGITS.get(self.currency, 2)

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


def _check_price(key: str, price: Decimal) -> None:
    if not isinstance(price, Decimal):
        raise RatingError(f"{key}: {price!r} is a {type(price).__name__}; money is Decimal, never float")
    if not price.is_finite() or price < 0:
        raise RatingError(f"{key}: {price} is no price; it must be 0 or more")
