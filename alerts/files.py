"""Rule files as text, and on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).parent / "rules"
"""The rule files as shipped, with every threshold at its starting value."""

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
