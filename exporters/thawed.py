"""Frozen values made at the price of plain ones.

A frozen dataclass sets each of its fields through ``object.__setattr__``, which for a dozen fields costs six times what
plain assignment does. Where some hundred thousand are made in one go, that is most of the work. So a twin of the class,
with the same slots and not frozen, is filled plainly, and as its last act becomes the class it is a twin of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields, make_dataclass
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def thawed(frozen: Callable[P, T]) -> Callable[P, T]:
    """What makes values of a frozen dataclass with slots: called as the class is, fastest without keywords.

    Raises TypeError for any other class, or one that does more than to keep its fields: a twin could not become it.
    """
    if not isinstance(frozen, type) or "__slots__" not in vars(frozen) or hasattr(frozen, "__post_init__"):
        raise TypeError(f"{frozen!r} is not a plain dataclass with slots")

    def become(self: Any) -> None:
        self.__class__ = frozen

    own = [(each.name, Any, _like(each)) for each in fields(frozen)]
    twin = make_dataclass(frozen.__name__, own, namespace={"__post_init__": become}, eq=False, repr=False, slots=True)
    return cast("Callable[P, T]", twin)


def _like(told: Field[Any]) -> Any:
    return field(default=told.default, default_factory=told.default_factory, kw_only=told.kw_only)
