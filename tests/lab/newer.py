"""Programs that this machine's Debian has too old, out of a package of a newer suite: ``python -m tests.lab.newer``.

The package is fetched by apt itself, from the machine's own mirror and with its own keys, into a cache under build/ and
unpacked there: nothing is installed, and the machine's package lists stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / "build" / "packages"


def fetch(package: str, suite: str) -> bool:
    """Unpack ``package`` of ``suite`` into the cache; whether that worked. What apt says goes to the terminal."""
    base = mirror()
    if not base or shutil.which("dpkg-deb") is None:
        print(f"newer.py: no Debian mirror among the machine's apt sources; {package} of {suite} is wanted")
        return False
    with tempfile.TemporaryDirectory(prefix="newer-") as root:
        folder = Path(root)
        (folder / "sources.list").write_text(f"deb {base} {suite} main\n")
        (folder / "lists").mkdir()
        (folder / "status").touch()
        options = [
            f"Dir::Etc::sourcelist={folder}/sources.list",
            "Dir::Etc::sourceparts=-",
            f"Dir::State::lists={folder}/lists",
            f"Dir::State::status={folder}/status",
            f"Dir::Cache={folder}/cache",
            "Acquire::Check-Valid-Until=false",
            "Acquire::Languages=none",
            "APT::Sandbox::User=root",
        ]
        apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
        for command in ([*apt, "update"], [*apt, "download", package]):
            if subprocess.run(command, cwd=folder, check=False).returncode != 0:
                return False
        target = CACHE / package
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        (found,) = folder.glob(f"{package}_*.deb")
        return subprocess.run(["dpkg-deb", "-x", str(found), str(target)], check=False).returncode == 0


def mirror() -> str:
    """Where this machine has its Debian from, as apt itself says."""
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(RELEASE)", "Created-By: Packages"]
    try:
        printed = subprocess.run(asked, check=False, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""
    plain = [line.split() for line in printed.splitlines()]
    known = [uri for uri, *rest in plain if rest[:1] == ["Debian"] and re.fullmatch(r"[a-z]+", rest[-1])]
    return known[0] if known else ""


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(0 if all(fetch(*word.partition("/")[::2]) for word in sys.argv[1:]) else 1)
