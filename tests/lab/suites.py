"""Slurm of newer Debian suites, beside the machine's own: ``python -m tests.lab.suites`` makes what is missing.

Each suite's Slurm is unpacked once by mmdebstrap, without installing anything, into a folder under build/ (100 MB, half
a minute), from the machine's own mirror and with its own keys. A program of it runs with that folder as its root, in a
mount namespace of its own that ends with it: nothing stays mounted, and only the lab's folder is shared. The database
and munge are this machine's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab import newer

CACHE = newer.CACHE.parent / "slurm"

PACKAGES = (
    "slurmctld", "slurmd", "slurmdbd", "slurm-client", "slurmrestd",
    "slurm-wlm-basic-plugins", "slurm-wlm-mysql-plugin", "slurm-wlm-jwt-plugin", "libnss-wrapper",
    "base-files", "base-passwd", "dash", "coreutils", "hostname", "libc-bin",
)  # fmt: skip
"""Slurm, and what its jobs need: a shell and ``sleep``."""

ENTER = """
root=$1 shared=$2; shift 2
for folder in /proc /sys /dev; do mkdir -p "$root$folder" && mount --rbind "$folder" "$root$folder" || exit 125; done
mkdir -p "$root$shared" && mount --bind "$shared" "$root$shared" || exit 125
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Suite:
    """A Debian suite and the Slurm release that it has; ``""`` is this machine itself."""

    name: str
    release: str

    @property
    def folder(self) -> Path:
        """Where it is unpacked."""
        return CACHE / self.name

    @property
    def there(self) -> bool:
        """Whether it is unpacked, and whole."""
        return (self.folder / "complete").exists()

    def words(self, shared: Path, *command: str) -> tuple[str, ...]:
        """``command`` as this suite's program, with ``shared`` at the same place inside as outside."""
        return ("unshare", "--mount", "sh", "-c", ENTER, "sh", str(self.folder), str(shared), *command)

    def make(self) -> bool:
        """Unpack it; whether that worked. What mmdebstrap says goes to the terminal."""
        mirror = newer.mirror()
        if not mirror or shutil.which("mmdebstrap") is None:
            print("suites.py: no Debian mirror among the machine's apt sources, or no mmdebstrap", file=sys.stderr)
            return False
        shutil.rmtree(self.folder, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [
            "mmdebstrap", "--quiet", "--mode=root", "--variant=extract",
            '--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Languages "none"',
            f"--include={','.join(PACKAGES)}", self.name, str(self.folder), f"deb {mirror} {self.name} main",
        ]  # fmt: skip
        if subprocess.run(command, check=False).returncode != 0:
            return False
        for program in self.folder.glob("usr/*bin/*-wlm"):  # what Debian's alternatives would do
            program.with_name(program.name.removesuffix("-wlm")).symlink_to(program.name)
        (self.folder / "complete").touch()
        return True


NEWER = (Suite("trixie", "24.11"), Suite("forky", "26.05"))


def main() -> int:
    """Make what is missing; 1 when something could not be had."""
    if shutil.which("mmdebstrap") is None and not all(suite.there for suite in NEWER):
        subprocess.run([str(Path(__file__).parent / "apt.sh"), "mmdebstrap"], check=False)
    made = [suite.there or suite.make() for suite in NEWER]
    for suite, worked in zip(NEWER, made, strict=True):
        print(f"Slurm {suite.release} of {suite.name}: {'there' if worked else 'cannot be had here'}")
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main())
