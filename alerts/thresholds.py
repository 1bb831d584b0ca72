"""The numbers of the rules: `thresholds.yaml` and `site.yaml`, with a site's own values in their place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from alerts.durations import duration, is_duration, milliseconds
from exporters.errors import OperatorError


class RulesError(OperatorError):
    """The rules cannot be made, or not be replayed. The message names what is wrong and how to mend it."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One number. ``value`` is a number, or a duration as Prometheus writes it; ``source`` says who says so."""

    name: str
    value: float | str
    what: str
    source: str

    @property
    def text(self) -> str:
        """The value as it stands in an expression: never in exponent notation."""
        if isinstance(self.value, str):
            return self.value
        return f"{self.value:.10f}".rstrip("0").rstrip(".")


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the rules' sources may name as ``${name}``: thresholds, and what differs from site to site."""

    thresholds: Mapping[str, Threshold]
    site: Mapping[str, str]

    def word(self, name: str) -> str:
        """What ``${name}`` stands for. Raises `RulesError` with the nearest valid name."""
        if name in self.thresholds:
            return self.thresholds[name].text
        if name in self.site:
            return self.site[name]
        raise RulesError(f"no threshold {name}{_nearest(name, self.thresholds)}")

    def seconds(self, value: str) -> str:
        """A duration as a number of seconds."""
        return f"{milliseconds(value) / 1000:g}"

    def override(self, values: Mapping[str, str]) -> Settings:
        """These settings with other values. Raises `RulesError` for an unknown name or a value of another kind."""
        changed = dict(self.thresholds)
        for name, text in values.items():
            if name not in changed:
                raise RulesError(f"no threshold {name}{_nearest(name, changed)}")
            old = changed[name]
            changed[name] = Threshold(name, _same_kind(old, text), old.what, old.source)
        return Settings(changed, self.site)

    def scale(self, factor: float) -> Settings:
        """These settings with every duration times ``factor``, to the millisecond; tests are quicker by it."""
        changed = {
            name: Threshold(name, duration(max(1, round(milliseconds(t.value) * factor))), t.what, t.source)
            if isinstance(t.value, str)
            else t
            for name, t in self.thresholds.items()
        }
        return Settings(changed, self.site)


@dataclass(frozen=True, slots=True)
class Open(Settings):
    """Settings that leave every ``${name}`` where it stands: for those who fill it in themselves (mixin, chart)."""

    def word(self, name: str) -> str:
        """The place of a word. Raises `RulesError` for one that is not known."""
        Settings.word(self, name)
        return f"${{{name}}}"

    def seconds(self, value: str) -> str:
        """The place of a duration as seconds."""
        return f"{value.removesuffix('}')}:seconds}}"


def load(site: Path | None = None) -> Settings:
    """The settings as shipped, with ``site`` in the place of `site.yaml`. Raises `RulesError`."""
    folder = files("alerts")
    shipped = _mapping((folder / "site.yaml").read_text("utf-8"), "site.yaml")
    values = dict(shipped)
    if site is not None:
        try:
            own = _mapping(site.read_text("utf-8"), str(site))
        except OSError as e:
            raise RulesError(f"{site} cannot be read: {e.strerror}") from e
        for name in own:
            if name not in shipped:
                raise RulesError(f"{site}: unknown key {name}{_nearest(name, shipped)}")
        values |= own
    rows = _mapping((folder / "thresholds.yaml").read_text("utf-8"), "thresholds.yaml")
    thresholds = {name: Threshold(name, r["value"], r["what"], r["source"]) for name, r in rows.items()}
    return Settings(thresholds, {name: str(value).rstrip("/") for name, value in values.items()})


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise RulesError(f"{where} is not YAML: {e}") from e
    if not isinstance(found, dict):
        raise RulesError(f"{where} must be keys and values")
    return found


def _same_kind(old: Threshold, text: str) -> float | str:
    if isinstance(old.value, str):
        if not is_duration(text):
            raise RulesError(f"threshold {old.name} is a duration, written like {old.value}, not {text}")
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RulesError(f"threshold {old.name} is a number, written like {old.text}, not {text}")
    return number


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"
