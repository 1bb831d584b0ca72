"""How this machine's package clients reach their registries, for a root that has nothing else of it: `tests.lab.bare`.

apt's ``Acquire`` settings, pip's configuration, and the variables that tell clients of proxies and certificates. A file
or folder that a value names is seen in the root under `PLACE`, so that no package which is installed there replaces it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from configparser import RawConfigParser
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

PLACE = "/mnt/outside"

VARIABLE = re.compile(r"(PIP|UV|SSL_CERT)_\w+|(\w+_proxy|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)", re.IGNORECASE)

FETCHING = re.compile(r"Acquire::(https?|ftp|proxy|retries|check)\b", re.IGNORECASE)

_PATH = re.compile(r"""(?P<before>^|[\s"'=]|file://)(?P<path>/[^\s"';,]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """A text of settings as it is here and as it reads in the root, and what must be seen there: outside -> inside."""

    outside: str
    inside: str
    shares: Mapping[Path, str] = field(default_factory=dict)


def moved(text: str, exists: Callable[[Path], bool] = Path.exists) -> Settings:
    """``text`` with every path that is there put under `PLACE`."""
    shares: dict[Path, str] = {}

    def place(found: re.Match[str]) -> str:
        path = Path(found["path"])
        if path == Path("/") or not exists(path):
            return found[0]
        shared = path.parent if found["before"] == "file://" else path  # an index points to files beside it
        shares[shared] = f"{PLACE}{shared}"
        return f"{found['before']}{PLACE}{path}"

    return Settings(text, _PATH.sub(place, text), shares)


def apt() -> Settings:
    """Proxies, certificates and what else apt was told about fetching."""
    told = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    return moved("".join(line for line in told.splitlines(keepends=True) if FETCHING.match(line)))


def pip() -> Settings:
    """pip's own files, all of them as one; what its variables say comes with `environment`."""
    asked = [sys.executable, "-m", "pip", "config", "list"]
    return moved(pip_conf(subprocess.run(asked, check=True, capture_output=True, text=True).stdout))


def pip_conf(listed: str) -> str:
    """A pip.conf that says what ``pip config list`` printed, variables left out."""
    told = RawConfigParser()
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section.startswith(":"):
            continue
        if not told.has_section(section):
            told.add_section(section)
        told.set(section, option, " ".join(ast.literal_eval(value).split()))
    text = StringIO()
    told.write(text)
    return text.getvalue()


def environment(variables: Mapping[str, str]) -> Settings:
    """The variables that package clients look at, one in a line."""
    return moved("".join(f"{name}={value}\n" for name, value in sorted(variables.items()) if VARIABLE.fullmatch(name)))


def variables(text: str) -> dict[str, str]:
    """The lines of `environment` as variables."""
    return {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}
