"""``sacct`` and ``sacctmgr`` of the demo site: answers from the recorded Slurm, as of the site's time.

    METERBRIDGE_DEMO_SITE=FOLDER python slurm_replay.py sacct -a -D -X -n -P --format=JobIDRaw,State -S ... -E ...

It stands where a site has Slurm's own commands, and is asked by the same code with the same words. It knows the calls
that meterbridge makes, in every combination of their windows and formats, and refuses all others with a non-zero exit.
``FOLDER/now`` holds the site's time in epoch seconds; what accounting knew at that time is printed, and no more.

It runs once per call, so it imports little and needs nothing but this file and the data beside it.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
SITE = "METERBRIDGE_DEMO_SITE"
COMPUTED = ("Elapsed", "ElapsedRaw", "CPUTime", "CPUTimeRAW", "Reserved", "ResvCPU", "ResvCPURAW", "Duration")
"""Fields that are differences of times; the recorded times were moved, so these are computed as Slurm computes them."""

TIMES = ("Submit", "Eligible", "Start", "End", "TimeStart", "TimeEnd")
DURATIONS = (*COMPUTED, "Suspended")
EVENT_NAMES = {"start": "TimeStart", "end": "TimeEnd"}
"""``sacctmgr`` takes these names in a format and prints the others as headings."""

Row = dict[str, str]


class UnknownCallError(Exception):
    """A call that the replay does not know."""


def main(words: Sequence[str]) -> int:
    """Answer one call on standard output; the exit status."""
    try:
        name, *rest = words
        answer = {"sacct": sacct, "sacctmgr": sacctmgr}[name](rest, _now())
    except (UnknownCallError, KeyError, ValueError, OSError) as error:
        print(f"demo replay of {' '.join(words) or 'nothing'}: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(answer)
    return 0


def sacct(words: Sequence[str], now: int) -> str:
    """``sacct`` at site time ``now``."""
    table = _load("slurm-jobs")
    if list(words) == ["--version"]:
        return str(table["version"])
    if list(words) == ["--helpformat"]:
        return str(table["help"])
    options = _options(  # the recorded Slurm is in no federation: --local changes nothing
        words, flags=("-a", "-D", "-X", "-n", "-P", "--local"), values=("--format", "--delimiter", "-S", "-E", "-j")
    )
    if "-P" not in options or "-X" not in options or "-D" not in options:
        raise UnknownCallError("only -P -X -D was recorded")
    start = 0 if "-j" in options else _moment(options["-S"], now)
    rows = _known(table, now, ("Eligible", "End"), start, _moment(options.get("-E", ""), now))
    if "-j" in options:
        ids = set(options["-j"].split(","))
        rows = [row for row in rows if row["JobIDRaw"] in ids or row["JobID"].split("_")[0] in ids]
    names = [_field(name, table["all"]) for name in options["--format"].split(",")]
    return _print(rows, names, options.get("--delimiter", "|"), heading="-n" not in options)


def sacctmgr(words: Sequence[str], now: int) -> str:
    """``sacctmgr show event`` at site time ``now``."""
    table = _load("slurm-events")
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    if plain[-2:] != ["show", "event"] or set(plain[:-2]) - {"-n", "-P"} or "-P" not in plain:
        raise UnknownCallError("only 'sacctmgr -P show event' was recorded")
    if set(settings) - {"start", "end", "format"}:
        raise UnknownCallError("only start=, end= and format= are known")
    start, end = _moment(settings["start"], now), _moment(settings.get("end", ""), now)
    rows = _known(table, now, ("TimeStart", "TimeEnd"), start, end)
    wanted = [EVENT_NAMES.get(name.lower(), name) for name in settings["format"].split(",")]
    names = [_field(name, table["all"]) for name in wanted]
    return _print(rows, names, "|", heading="-n" not in plain)


def _now() -> int:
    folder = os.environ.get(SITE, "")
    if not folder:
        raise UnknownCallError(f"{SITE} does not name the demo site's folder")
    return int(float((Path(folder) / "now").read_text()))


def _load(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


def _options(words: Sequence[str], flags: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    """Flags as empty strings, and options with their values; UnknownCallError for any other word."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in flags and not equals:
            found[name] = ""
        elif name in values:
            found[name] = value if equals else rest.pop(0)
        else:
            raise UnknownCallError(f"{name} is not an option that was recorded")
    return found


def _moment(text: str, now: int) -> int:
    """A time as ``-S`` and ``-E`` take it (TZ=UTC), now when there is none."""
    if not text or text == "now":
        return now
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _known(table: Any, now: int, span: tuple[str, str], start: int, end: int) -> list[Row]:
    """What was known at ``now`` of ``[start, end)``, as slurmdbd selects it.

    A row belongs to the window when it began before the window's end and was not over before its beginning; ``span``
    names the fields that say so.
    """
    first, last = (table["fields"].index(name) + 2 for name in span)
    found = []
    for row in table["rows"]:
        known = row[0] <= now and (row[1] is None or now < row[1])
        began = row[first].isdigit() and int(row[first]) < end
        over = row[last].isdigit() and 0 < int(row[last]) < start
        if known and began and not over:
            values = {**table["same"], **dict(zip(table["fields"], row[2:], strict=True))}
            found.append(_finish(values, now))
    return found


def _finish(row: Row, now: int) -> Row:
    """Fill in what Slurm computes from times when it prints a row."""

    def moment(name: str) -> int:
        return int(row[name]) if row.get(name, "").isdigit() else 0

    if "TimeStart" in row:
        return {**row, "Duration": str((moment("TimeEnd") or now) - moment("TimeStart"))}
    start, suspended = moment("Start"), int(row["Suspended"])
    elapsed = max(0, (moment("End") or now) - start - suspended) if start else 0
    waited = max(0, (start or moment("End") or now) - moment("Eligible")) if moment("Eligible") else 0
    computed = {
        "Elapsed": elapsed,
        "ElapsedRaw": elapsed,
        "CPUTime": elapsed * int(row["AllocCPUS"] or 0),
        "CPUTimeRAW": elapsed * int(row["AllocCPUS"] or 0),
        "Reserved": waited,
        "ResvCPU": waited * int(row["ReqCPUS"] or 0),
        "ResvCPURAW": waited * int(row["ReqCPUS"] or 0),
    }
    return {**row, **{name: str(value) for name, value in computed.items()}}


def _field(name: str, known: Sequence[str]) -> str:
    """The recorded spelling of a field, which Slurm takes in any case and with a width (``JobName%30``)."""
    plain = name.partition("%")[0].lower()
    for field in known:
        if field.lower() == plain:
            return field
    raise UnknownCallError(f"Invalid field requested: {name!r}")


def _print(rows: Sequence[Row], names: Sequence[str], delimiter: str, *, heading: bool) -> str:
    write = {name: _writer(name) for name in names}
    lines = [delimiter.join(names)] if heading else []
    lines += [delimiter.join(write[name](row[name]) for name in names) for row in rows]
    return "".join(line + "\n" for line in lines)


def _writer(name: str) -> Callable[[str], str]:
    """How a field is printed: times by SLURM_TIME_FORMAT, durations as clocks, all else as recorded."""
    if name in TIMES:
        return _time_text
    if name in DURATIONS and not name.upper().endswith("RAW"):
        return lambda value: _clock(int(value))
    return lambda value: value


def _time_text(value: str) -> str:
    if not value.isdigit() or os.environ.get("SLURM_TIME_FORMAT") == "%s":
        return value
    return datetime.fromtimestamp(int(value), UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _clock(seconds: int) -> str:
    """``[days-]hours:minutes:seconds``."""
    days, rest = divmod(seconds, 86_400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
