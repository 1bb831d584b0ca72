"""The Debian package, and the wheel in it: built, installed, used, upgraded, removed and purged.

It is installed into what is this machine but for its own changes (an overlay in a mount namespace, gone with it), where
no service manager runs: that units start is for `systemd-analyze verify` to say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.bare import NAMESPACES

ROOT = Path(__file__).parents[2]
PACKAGES = ("accounting", "alerts", "dashboards", "demo", "exporters")

pytestmark = [pytest.mark.server("dpkg"), pytest.mark.timeout(600)]

OVERLAY = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/upper" "$1/work" "$1/machine"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/machine"
mount -t proc proc "$1/machine/proc"
mount --rbind /dev "$1/machine/dev"
mount -t tmpfs none "$1/machine/run"
chroot "$1/machine" sh -c "$2"
"""
"""Its own /run: what manages services on this machine is not asked."""


@dataclass(frozen=True)
class Machine:
    """A machine that is as this one, anew in every run."""

    folder: Path

    def run(self, script: str) -> str:
        """What a script of root's prints there. Raises AssertionError where it fails."""
        words = [*NAMESPACES, "sh", "-c", OVERLAY, "sh", str(self.folder), f"set -e\ncd /\n{script}"]
        plain = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=plain)
        assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="deb-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    """The package of the tree as it is, made by the machine's own Python."""
    environment = {
        **os.environ,
        "COMPRESSION": "none",
        "TOOLS": str(ROOT / ".venv"),
        "PIP_NO_COMPILE": "1",
    }
    done = subprocess.run(
        [ROOT / "packaging/deb/build.sh", folder], check=False, capture_output=True, text=True, env=environment
    )
    assert 0 == done.returncode, done.stderr[-3000:]
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def newer(package: Path, folder: Path) -> Path:
    """The same as a later version, without most of what makes it large."""
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "-R", package, unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:"))
    for large in ("pyarrow", "polars", "_polars_runtime_32", "pandas", "numpy", "numpy.libs"):
        for found in unpacked.glob(f"opt/meterbridge/.venv/lib/python3*/site-packages/{large}"):
            shutil.rmtree(found)
    made = folder / "newer.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, made], check=True)
    shutil.rmtree(unpacked)
    return made


@pytest.fixture
def machine(folder: Path) -> Iterator[Machine]:
    place = folder / "machine"
    place.mkdir()
    yield Machine(place)
    place.rmdir()


AS_A_SERVICE = "setpriv --reuid=meterbridge --regid=meterbridge --clear-groups env -i PATH=/usr/bin"


def test_what_is_installed_does_the_main_job_without_the_tree(machine: Machine, package: Path) -> None:
    said = machine.run(
        f"""
        dpkg -i {package} >&2
        rm -rf {ROOT}/exporters {ROOT}/accounting
        cd /var/lib/meterbridge
        {AS_A_SERVICE} meterbridge --version
        {AS_A_SERVICE} /opt/meterbridge/.venv/bin/python -c 'import accounting, meterbridge; print(accounting.__file__)'
        {AS_A_SERVICE} meterbridge demo --out demo
        ls demo
        dpkg --verify meterbridge
        """
    )

    assert "meterbridge, version " in said or said.startswith("meterbridge ")
    assert "/opt/meterbridge/.venv/lib/python3" in said
    assert "chargeback-" in said


def test_every_file_of_the_packages_is_in_it(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True, text=True).stdout
    there = {line.partition("/site-packages/")[2] for line in listed.splitlines() if "/site-packages/" in line}
    told = subprocess.run(["git", "ls-files", *PACKAGES], check=False, cwd=ROOT, capture_output=True, text=True).stdout
    tracked = set(told.splitlines()) or {
        str(p.relative_to(ROOT)) for name in PACKAGES for p in (ROOT / name).rglob("*") if p.is_file()
    }
    meant = {name for name in tracked if "__pycache__" not in name}

    assert set() == meant - there
    assert not [line for line in listed.splitlines() if str(ROOT) in line]


def test_users_folders_and_units_are_as_the_units_need_them(machine: Machine, package: Path) -> None:
    said = machine.run(
        f"""
        dpkg -i {package}
        stat -c '%U:%G %a %n' /etc/meterbridge /var/lib/meterbridge
        getent passwd meterbridge
        systemd-analyze verify /usr/lib/systemd/system/meterbridge-*.service
        ls /etc/systemd/system/multi-user.target.wants 2>/dev/null | grep -c meterbridge || true
        """
    )

    assert "root:meterbridge 750 /etc/meterbridge\nmeterbridge:meterbridge 750 /var/lib/meterbridge\n" in said
    assert "/var/lib/meterbridge:/usr/sbin/nologin\n" in said
    assert "meterbridge init --config /etc/meterbridge/meterbridge.yaml" in said
    assert said.endswith("\n0\n")  # no unit runs before there are settings


def test_an_upgrade_keeps_what_the_site_wrote_and_purge_never_takes_a_ledger(
    machine: Machine, package: Path, newer: Path
) -> None:
    said = machine.run(
        f"""
        dpkg -i {package} >&2
        echo 'OPTIONS="--web.listen-address=:9812"' > /etc/default/meterbridge-node
        echo 'site: mine' > /etc/meterbridge/meterbridge.yaml
        echo precious > /var/lib/meterbridge/ledger.db
        dpkg -i {newer} >&2
        dpkg-query -W -f '${{Version}}\\n' meterbridge
        cat /etc/default/meterbridge-node /etc/meterbridge/meterbridge.yaml
        dpkg -r meterbridge >&2
        ls -d /opt/meterbridge /usr/bin/meterbridge 2>/dev/null || echo removed
        dpkg -P meterbridge
        ls /etc/default/meterbridge-node 2>/dev/null || echo purged
        cat /var/lib/meterbridge/ledger.db /etc/meterbridge/meterbridge.yaml
        getent passwd meterbridge >/dev/null && echo still its owner
        """
    )

    assert said.startswith("1:")
    assert 'OPTIONS="--web.listen-address=:9812"\nsite: mine\nremoved\n' in said
    assert "your ledger are still in" in said
    assert said.endswith("purged\nprecious\nsite: mine\nstill its owner\n")


def test_purge_leaves_nothing_where_nothing_was_written(machine: Machine, newer: Path) -> None:
    said = machine.run(
        f"""
        dpkg -i {newer} >&2
        dpkg -P meterbridge
        ls -d /etc/meterbridge /var/lib/meterbridge /opt/meterbridge /etc/default/meterbridge-node 2>/dev/null || true
        getent passwd meterbridge || echo no user
        """
    )

    assert said.endswith("no user\n")
    assert "/etc/meterbridge" not in said.replace("directory", "")
