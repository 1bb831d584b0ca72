"""The console script. `meterbridge node` runs on every machine of a site, so it loads no more than it uses."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_WITH_VALUE = ("--log-level", "--log-format")


def command_of(words: Sequence[str]) -> str:
    """The command among the words after the program's name; empty when there is none.

    >>> command_of(["--log-format", "json", "node", "--once"])
    'node'
    """
    value_follows = False
    for word in words:
        if not value_follows and not word.startswith("-"):
            return word
        value_follows = word in _WITH_VALUE and not value_follows
    return ""


def main() -> None:
    """Run the front door, or for `node` the agent alone: a tenth of the modules, a third of the memory."""
    if command_of(sys.argv[1:]) == "node":
        from exporters.node.command import small  # noqa: PLC0415 - what is not used is not loaded

        small(prog_name="meterbridge")
    else:
        from meterbridge import main as front_door  # noqa: PLC0415 - what is not used is not loaded

        front_door(prog_name="meterbridge")


if __name__ == "__main__":
    main()
