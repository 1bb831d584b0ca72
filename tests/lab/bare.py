"""Both commands of the README on a Debian with nothing but python3, make and git: ``python -m tests.lab.bare``.

mmdebstrap makes a new root of each suite in a cache of ours (half a minute), from this machine's mirror and with its
keys. The tracked files are laid into it, and ``make demo`` and ``make test`` run there as a newcomer types them: by
root, in namespaces that end with them, on this machine's network. What they download is kept beside the roots for the
next time. How this machine's pip and apt reach their registries is handed in (`tests.lab.handed`), and nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import handed, newer

TREE = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meterbridge-bare"
"""Outside of the tree: a root has links to ``/``, and setuptools follows every link below the tree that it builds."""
CLONE = "/root/meterbridge"

PACKAGES = ("python3", "make", "git")
"""What the README asks for."""

SERVERS = "TESTS='-m server'"
"""Leaves out the tests that need no server."""

SUITES = {"trixie": "", "bookworm": SERVERS}
"""Suite -> what its ``make test`` leaves out: continuous integration has just run all of it on bookworm's servers."""

ENTER = """
root=$1; shift
mount -t proc proc "$root/proc" || exit 125
for folder in /sys /dev; do mount --rbind "$folder" "$root$folder" || exit 125; done
while [ "$1" != -- ]; do
    if [ -d "$2" ]; then mkdir -p "$root$3"
    elif [ ! -e "$root$3" ]; then mkdir -p "$root${3%/*}" && : >"$root$3"
    fi
    mount --bind "$2" "$root$3" && mount -o "remount,bind,$1" "$root$3" || exit 125
    shift 3
done
shift
exec chroot "$root" "$@"
"""
"""Run as ``ENTER ROOT [ro|rw OUTSIDE INSIDE]... -- COMMAND...`` in `NAMESPACES`: nothing stays mounted after it."""

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")

PLAIN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


def commands(readme: str) -> list[str]:
    """What the README's first block says to type. Raises ValueError where there is none."""
    found = re.search(r"^```\n((?:make [a-z-]+ *#.*\n)+)```$", readme, re.MULTILINE)
    if not found:
        raise ValueError("README.md has no block of make commands that a newcomer types")
    return [line.partition("#")[0].strip() for line in found[1].splitlines()]


@dataclass(frozen=True)
class Bare:
    """A root of ``suite``, what of this machine is seen in it, and how package clients there reach their registries."""

    suite: str
    caches: Mapping[Path, str]  # outside -> inside
    shares: Mapping[Path, str]  # likewise, and cannot be written there
    environment: Mapping[str, str]
    apt: handed.Settings
    pip: handed.Settings

    @classmethod
    def of(cls, suite: str) -> Bare:
        """As it will be on this machine."""
        apt, pip, environment = handed.apt(), handed.pip(), handed.environment(os.environ)
        archives, wheels = FOLDER / f"{suite}.archives", FOLDER / "pip"
        caches = {archives: "/var/cache/apt/archives", wheels: "/root/.cache/pip"}
        shares = {**apt.shares, **pip.shares, **environment.shares}
        return cls(suite, caches, shares, PLAIN | handed.variables(environment.inside), apt, pip)

    @property
    def root(self) -> Path:
        """Where it is unpacked."""
        return FOLDER / self.suite

    def words(self, *command: str) -> list[str]:
        """``command`` as a process in this root."""
        seen = [("rw", *pair) for pair in self.caches.items()] + [("ro", *pair) for pair in self.shares.items()]
        shares = [str(word) for share in seen for word in share]
        return [*NAMESPACES, "sh", "-c", ENTER, "sh", str(self.root), *shares, "--", *command]

    def run(self, line: str) -> bool:
        """A line of shell in the clone; whether it passed. What it says goes to the terminal."""
        words = self.words("sh", "-c", f"cd {CLONE} && {line}")
        return subprocess.run(words, check=False, env=self.environment, stdin=subprocess.DEVNULL).returncode == 0

    def make(self, mirror: str) -> bool:
        """The root, with the tracked files in it; whether that worked."""
        shutil.rmtree(self.root, ignore_errors=True)
        for archives in self.caches:
            (archives / "partial").mkdir(parents=True, exist_ok=True)
        options = FOLDER / f"{self.suite}.apt.conf"
        options.write_text(self.apt.outside)
        command = [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            f"--aptopt={options}", self.suite, str(self.root), f"deb {mirror} {self.suite} main",
        ]  # fmt: skip
        if subprocess.run(command, check=False).returncode != 0:
            return False
        etc = self.root / "etc"
        (etc / "apt/apt.conf.d/99mmdebstrap").write_text(self.apt.inside)
        (etc / "pip.conf").write_text(self.pip.inside)
        for name in ("hosts", "resolv.conf"):
            shutil.copy(f"/etc/{name}", etc / name)
        lay(TREE, self.root / CLONE.lstrip("/"))
        return True


def lay(tree: Path, clone: Path) -> None:
    """The tracked files of ``tree`` as they are now, in the new folder ``clone``."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=tree, check=True, capture_output=True).stdout.split(b"\0")
    for name in (os.fsdecode(name) for name in listed if name):
        if os.path.lexists(tree / name):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, clone / name, follow_symlinks=False)


def tried(machine: Bare, mirror: str, test: str) -> bool:
    """Both commands in a new root; says how long each took. The root of a failure stays."""
    demo, whole = commands((TREE / "README.md").read_text())
    steps: list[tuple[str, Callable[[], bool]]] = [("a bare root", lambda: machine.make(mirror))]
    steps += [(line, lambda line=line: machine.run(line)) for line in (demo, f"{whole} {test}".strip())]  # type: ignore[misc]
    for name, step in steps:
        begun = time.monotonic()
        print(f"== {machine.suite}: {name}", flush=True)
        passed = step()
        took = f"{time.monotonic() - begun:.0f} s"
        print(f"== {machine.suite}: {name}: {'passed' if passed else 'FAILED'} in {took}", flush=True)
        if not passed:
            print(f"== {machine.suite}: what is left of it is in {machine.root}", file=sys.stderr)
            return False
    shutil.rmtree(machine.root)
    return True


def hindrance() -> str:
    """Why no root can be made here, with what to do; empty where one can. Installs mmdebstrap."""
    if os.geteuid() != 0:
        return "a bare root needs root: mounts and chroot. Run make test-bare as root"
    if subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode != 0:
        return "nothing can be mounted here: this sandbox or container needs CAP_SYS_ADMIN"
    if shutil.which("mmdebstrap") is None:
        subprocess.run([str(Path(__file__).parent / "apt.sh"), "mmdebstrap"], check=False)
    if shutil.which("mmdebstrap") is None:
        return "no mmdebstrap: apt-get install mmdebstrap"
    if not newer.mirror():
        subprocess.run(["apt-get", "-q", "update"], check=False)
    return "" if newer.mirror() else "no Debian mirror among this machine's apt sources"


def main(arguments: Sequence[str]) -> int:
    """Try each suite; 1 when a command failed in one."""
    parser = argparse.ArgumentParser(description="both commands of the README on a bare Debian")
    parser.add_argument("--suite", action="append", choices=SUITES, help="only this one (again for another)")
    parser.add_argument("--whole", action="store_true", help="leave no test out")
    asked = parser.parse_args(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    if reason := hindrance():
        print(f"bare.py: {reason}", file=sys.stderr)
        return 1
    passed = [
        tried(Bare.of(suite), newer.mirror(), "" if asked.whole else SUITES[suite]) for suite in asked.suite or SUITES
    ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
