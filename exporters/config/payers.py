"""Settings of who pays and at what price: machines, projects, the ledger, rates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from exporters.config.section import Section
from exporters.config.values import Duration, Moment, Paths, Price
from exporters.masking import masked


class MachineRules(Section):
    """Which node names are the same machine where neither Slinky's labels nor the nodes themselves say so.

    ``names`` maps ``slurm/<cluster>/<node>`` and ``kubernetes/<cluster>/<node>`` to machines.
    """

    match: Literal["short_name", "full_name"] = "short_name"
    names: dict[str, str] = Field(default_factory=dict)


class Project(Section):
    """Who pays: Slurm accounts and Kubernetes namespaces or labels, while ``valid_from <= day < valid_to``.

    Labels are believed in ``label_namespaces``, and everywhere without any: whoever makes a pod writes its labels.
    """

    project: str = Field(min_length=1)
    accounts: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    label_namespaces: tuple[str, ...] = ()
    valid_from: date | None = None
    valid_to: date | None = None

    @model_validator(mode="after")
    def _something_is_bound(self) -> Self:
        if self.label_namespaces and not self.labels:
            raise ValueError("label_namespaces says where labels are believed, and there are no labels here")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """As before where labels are bound to nothing: the ledger keeps what its days were booked with in this form."""
        return (pair for pair in super().__repr_args__() if pair != ("label_namespaces", ()))


class Ledger(Section):
    """Where the ledger is kept. Without it the exporter is live only."""

    url: str
    gap: Duration = 120.0
    settle: Duration = 86_400.0
    live_only: Literal["unknown", "charge"] = "unknown"

    @field_validator("url")
    @classmethod
    def _known_kind(cls, url: str) -> str:
        if not re.match(r"sqlite:///|postgresql(\+psycopg)?://", url):
            raise ValueError("the ledger is sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
        return url

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Mask the password in every repr and log."""
        told = [(name, getattr(self, name)) for name in ("gap", "settle", "live_only")]
        return [("url", masked(self.url)), *told]


class DatedPrices(Section):
    """Prices per GPU model and hour of what is used while ``valid_from <= time < valid_to``, in the site's zone."""

    valid_from: Moment | None = None
    valid_to: Moment | None = None
    price: dict[str, Price] = Field(min_length=1)


def _kind(value: object) -> str:
    return "[dated]" if isinstance(value, (list, tuple)) else "[flat]"


class Rates(Section):
    """A price per GPU model and hour, exact decimals. ``default`` prices the models that are not listed.

    ``gpu_hour`` maps models to prices, or is a list of such maps with dates. Or ``cards`` names files of rate cards, or
    folders of them (``*.yaml``), and there are no prices here.
    """

    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    gpu_hour: Annotated[
        Annotated[dict[str, Price], Tag("[flat]")] | Annotated[tuple[DatedPrices, ...], Tag("[dated]")],
        Discriminator(_kind),
    ] = Field(default_factory=dict)
    default: Price | None = None
    cards: Paths = ()

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Rates:
        if self.cards and (self.gpu_hour or self.default is not None or "currency" in self.model_fields_set):
            raise ValueError("cards say all prices and their currency: move gpu_hour, default and currency into a card")
        return self


class Statements(Section):
    """How pages for people write numbers and dates: each format is an example of itself."""

    numbers: Literal["1,234.56", "1.234,56", "1 234,56", "1 234.56", "1'234.56", "1234.56"] = "1,234.56"
    dates: Literal["2026-10-31", "31.10.2026", "31/10/2026", "10/31/2026"] = "2026-10-31"
