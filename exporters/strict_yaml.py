"""YAML as settings need it: a key given twice is an error, an error never prints the line, a price stays as written.

The line of an error is not shown since it may hold a password; its number is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode


class YamlError(Exception):
    """The text cannot be read. The message says what is wrong and at which line and column."""


class Written(float):
    """A number that remembers its text, so that a decimal is exactly what was written: 2.10, not 2.1000000000000001."""

    text: str

    def __new__(cls, value: float, text: str) -> Written:
        """A float with the text it was written as."""
        number = super().__new__(cls, value)
        number.text = text
        return number


class _Loader(yaml.SafeLoader):
    """The safe loader, without the silent part: of a key given twice, yaml takes the last."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that was there before."""
        seen: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                there = f"key {key} was given before, in line {seen[key]}"
                raise ConstructorError(None, None, there, key_node.start_mark)
            if isinstance(key, Hashable):
                seen[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_float(self, node: ScalarNode) -> float:
        """A float that remembers its text."""
        return Written(super().construct_yaml_float(node), str(node.value))

    def construct_yaml_timestamp(self, node: ScalarNode) -> Any:
        """A date; one that is not in the calendar is an error with its place."""
        try:
            return super().construct_yaml_timestamp(node)
        except ValueError as e:
            raise ConstructorError(None, None, f"{node.value} is not a date: {e}", node.start_mark) from e


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_timestamp)


def read(text: str) -> Any:
    """The one document in ``text``; None when it is empty. Raises `YamlError`."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise YamlError(f"{where}{e.problem or e.context}") from None
    except yaml.YAMLError as e:
        raise YamlError(str(e)) from None
    except RecursionError:
        raise YamlError("nested too deeply") from None


Path = tuple[str | int, ...]
"""Where something is in a document: keys of mappings, and places in lists."""


def lines(text: str) -> dict[Path, int]:
    """The line of everything in a document that `read` could read; of what has a key, that of its key."""
    node = yaml.compose(text, _Loader)
    return {} if node is None else dict(_lines(node, (), node.start_mark.line + 1))


def _lines(node: Node, path: Path, line: int) -> Iterator[tuple[Path, int]]:
    yield path, line
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*path, str(key.value)), key.start_mark.line + 1)
    elif isinstance(node, SequenceNode):
        for n, value in enumerate(node.value):
            yield from _lines(value, (*path, n), value.start_mark.line + 1)
