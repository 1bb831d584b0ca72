"""Rule files as text, and on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alerts.generate import unfilled, words
from alerts.thresholds import Settings

MIXIN = Path(__file__).parent / "mixin-rules.json"
"""What `mixin.libsonnet` is made of: the rules with their words left in place, and what the words stand for."""

SHIPPED = Path(__file__).parent / "rules"
"""The rule files as shipped, with every threshold at its starting value."""

_WORD = re.compile(r"\$\{(\w+(?::seconds)?)\}")

_HEAD = "# Made by `python -m alerts` from alerts/groups/{name}.yaml and alerts/thresholds.yaml; do not edit.\n"


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks, as people read them."""


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _string)


def render(name: str, rules: Mapping[str, Any]) -> str:
    """One rule file. The same rules give the same bytes."""
    body = yaml.dump(dict(rules), Dumper=_Dumper, sort_keys=False, width=4096, allow_unicode=True)
    return _HEAD.format(name=name) + body


def write(folder: Path, all_rules: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Write every rule file below ``folder``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, rules in all_rules.items():
        path = folder / f"{name}.yaml"
        path.write_text(render(name, rules), "utf-8")
        written.append(path)
    return written


def mixin_text(settings: Settings) -> str:
    """The rules for the mixin, as JSON, which every jsonnet reads. The same settings give the same text.

    A text with words is a list: what stands between them and, at odd places, their names (``name`` or
    ``name:seconds``), since old jsonnets take a minute to look for them.
    """
    made = {
        "groups": _apart(unfilled(settings)),
        "words": words(settings),
        "thresholds": sorted(settings.thresholds),
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _apart(made: Any) -> Any:
    if isinstance(made, Mapping):
        return {key: _apart(value) for key, value in made.items()}
    if isinstance(made, list):
        return [_apart(value) for value in made]
    parts = _WORD.split(made)
    return made if len(parts) == 1 else parts


def write_mixin(settings: Settings) -> Path:
    """Write the rules for the mixin; their path."""
    MIXIN.write_text(mixin_text(settings), "utf-8")
    return MIXIN
