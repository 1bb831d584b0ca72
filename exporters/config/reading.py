"""Settings from a file: YAML, and errors in its own words."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from exporters.config.section import ConfigError, Section
from exporters.config.whole import Config
from exporters.strict_yaml import YamlError, read


def load(path: Path) -> Config:
    """Read settings from a file. Raises `ConfigError` with one line per thing that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: cannot be read: {e}") from e
    return parse(text, str(path))


def parse(text: str, name: str = "config") -> Config:
    """Settings from YAML text; ``name`` is how errors call it. Raises `ConfigError`."""
    try:
        data = read(text)
    except YamlError as e:
        raise ConfigError(f"{name}: not valid YAML: {e}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}: must be a mapping of keys, not a {type(data).__name__}")
    try:
        config = Config.model_validate(data)
        config.project_map()
    except ValidationError as e:
        raise ConfigError("\n".join(f"{name}: {sentence(error)}" for error in e.errors())) from None
    except ConfigError as e:
        raise ConfigError(f"{name}: {e}") from None
    return config


_PLAIN = {
    "missing": "is required",
    "tuple_type": "must be a list, like [a, b]",
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "string_type": "must be text: put a number in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
"""What pydantic says in Python's words, in YAML's."""


def sentence(error: Any, root: type[Section] = Config) -> str:
    """One validation error of a file for people: where, what, and the nearest valid key for an unknown one."""
    where = ".".join(str(p) for p in error["loc"] if not str(p).startswith("[")) or "the file"
    if error["type"] != "extra_forbidden":
        return f"{where}: {_PLAIN.get(error['type']) or error['msg'].removeprefix('Value error, ')}"
    key = str(error["loc"][-1])
    valid = sorted(_section(error["loc"][:-1], root).model_fields)
    near = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    return f"{where}: unknown key" + (f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(valid)}")


def _section(loc: tuple[Any, ...], root: type[Section]) -> type[Section]:
    """The section class at a location of the file."""
    here = root
    for part in loc:
        if isinstance(part, str) and part in here.model_fields:
            inner = _sections(here.model_fields[part].annotation)
            here = inner[0] if inner else here
    return here


def _sections(kind: Any) -> list[type[Section]]:
    """The section classes that a type is made of."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return [kind]
    return [found for inner in get_args(kind) for found in _sections(inner)]
