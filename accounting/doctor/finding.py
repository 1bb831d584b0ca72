"""What a look at one thing found: a sentence, why it matters, and the line that mends it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a thing is, the worst first."""

    WRONG = "wrong"  # numbers are missing or false until it is mended
    LOOK = "look"  # it may be meant so: somebody should know
    UNSEEN = "unseen"  # it could not be looked at, or nobody said where it is
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Finding:
    """``about`` is what was looked at, ``what`` how it is; ``why`` and ``mend`` are empty where it is well."""

    level: Level
    about: str
    what: str
    why: str = ""
    mend: str = ""


def wrong(about: str, what: str, why: str, mend: str) -> Finding:
    """Numbers are missing or false because of it."""
    return Finding(Level.WRONG, about, what, why, mend)


def look(about: str, what: str, why: str, mend: str) -> Finding:
    """It may be meant so."""
    return Finding(Level.LOOK, about, what, why, mend)


def well(about: str, what: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.WELL, about, what)


def unseen(about: str, what: str, mend: str) -> Finding:
    """Nobody looked."""
    return Finding(Level.UNSEEN, about, what, "", mend)


_ORDER = list(Level)


def as_text(findings: Sequence[Finding]) -> str:
    """For people: the worst first, each with why it matters and what mends it; then a line that counts them."""
    lines = []
    for finding in sorted(findings, key=lambda f: _ORDER.index(f.level)):
        lines.append(f"{finding.level.value:<6}  {finding.about}: {finding.what}")
        lines += [f"        {word}: {text}" for word, text in (("why", finding.why), ("mend", finding.mend)) if text]
    counted = ", ".join(f"{sum(f.level is level for f in findings)} {level.value}" for level in Level)
    return "\n".join([*lines, counted])


def as_json(findings: Sequence[Finding]) -> str:
    """The same for programs: a list of objects with the fields of `Finding`."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)
