"""Which real servers this machine has, and what to do about the ones it lacks.

A test that needs a server says so with ``@pytest.mark.server("slurm")``. Where the server is missing the test fails
and says how to get it, unless ``METERBRIDGE_TEST_WITHOUT=slurm,prometheus`` names it: then it is skipped, out loud.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import grafana_data, newer

SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin")


@dataclass(frozen=True)
class Server:
    """Programs that make up a server, and the Debian packages that hold them."""

    programs: tuple[str, ...]
    packages: tuple[str, ...]
    globs: tuple[str, ...] = ()  # where a program lives outside PATH
    libraries: tuple[str, ...] = ()  # shared libraries it needs, as globs under /usr/lib
    data: bool = False  # and Grafana's own package of npm (tests.lab.grafana_data)
    newer: str = ""  # a Debian suite that has it new enough: unpacked from there (tests.lab.newer), wherever we run


SERVERS = {
    "slurm": Server(
        (
            "slurmctld",
            "slurmd",
            "slurmdbd",
            "sacct",
            "squeue",
            "scontrol",
            "sacctmgr",
            "sreport",
            "sdiag",
            "slurmrestd",
            "munged",
            "mariadbd",
            "mariadb-install-db",
        ),
        (
            "slurmctld",
            "slurmd",
            "slurmdbd",
            "slurm-client",
            "slurm-wlm-basic-plugins",
            "slurm-wlm-mysql-plugin",
            "slurm-wlm-jwt-plugin",
            "slurmrestd",
            "munge",
            "mariadb-server",
            "libnss-wrapper",
        ),
        libraries=("*/libnss_wrapper.so", "*/slurm-wlm/auth_jwt.so"),
    ),
    "mariadb": Server(("mariadbd", "mariadb-install-db"), ("mariadb-server",)),
    "prometheus": Server(("prometheus", "promtool"), ("prometheus",)),
    "alertmanager": Server(("prometheus-alertmanager", "amtool"), ("prometheus-alertmanager",)),
    # Only from 1.11 on does it read hw_counters.
    "jsonnet": Server(("jsonnet",), ("jsonnet",)),
    "node_exporter": Server(("prometheus-node-exporter",), ("prometheus-node-exporter",), newer="forky"),
    "ethtool": Server(("ethtool", "ip"), ("ethtool", "iproute2")),
    "postgresql": Server(("initdb", "postgres"), ("postgresql",), ("/usr/lib/postgresql/*/bin",)),
    "chromium": Server(("chromium",), ("chromium",)),
    # Builds and installs our Debian package; the last verifies its units.
    "dpkg": Server(
        ("dpkg-deb", "unshare", "setpriv", "adduser", "systemd-analyze"), ("adduser", "util-linux", "systemd")
    ),
    # Grafana's own formatting of values; Grafana itself is in no package.
    "grafana": Server(("node", "npm"), ("nodejs", "npm"), data=True),
}


def find(program: str) -> str | None:
    """Full path of a program of the lab, also where PATH does not look (sbin, versioned PostgreSQL folders)."""
    for server in SERVERS.values():
        if server.newer and program in server.programs:
            folders = os.pathsep.join(str(newer.CACHE / package / "usr/bin") for package in server.packages)
            return shutil.which(program, path=folders)
    found = shutil.which(program) or shutil.which(program, path=os.pathsep.join(SBIN))
    if found:
        return found
    for server in SERVERS.values():
        for pattern in server.globs:
            for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
                if (folder / program).exists():
                    return str(folder / program)
    return None


def program(name: str) -> str:
    """Full path of a program; raises when `require` was not called for its server or it is missing."""
    found = find(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed on this machine")
    return found


def missing(name: str) -> list[str]:
    """The programs and libraries of a server that this machine lacks."""
    server = SERVERS[name]
    programs = [p for p in server.programs if find(p) is None]
    if server.data and not programs and not grafana_data.present():
        programs = ["@grafana/data"]
    return programs + [Path(lib).name for lib in server.libraries if not any(Path("/usr/lib").glob(lib))]


def without() -> set[str]:
    """The servers that METERBRIDGE_TEST_WITHOUT names. Raises ValueError for a name that is no server."""
    named = {w.strip() for w in os.environ.get("METERBRIDGE_TEST_WITHOUT", "").split(",") if w.strip()}
    unknown = named - SERVERS.keys()
    if unknown:
        raise ValueError(f"METERBRIDGE_TEST_WITHOUT names {', '.join(sorted(unknown))}; known: {', '.join(SERVERS)}")
    return named


def unavailable(name: str, lacking: list[str]) -> str:
    """Say that a server cannot be had, how to get it, and how to go on without it."""
    suite, packages = SERVERS[name].newer, SERVERS[name].packages
    how = (
        "python -m tests.lab.install"
        if SERVERS[name].data
        else f"python -m tests.lab.newer {' '.join(f'{package}/{suite}' for package in packages)}"
        if suite
        else f"apt-get install {' '.join(packages)}"
    )
    return (
        f"{name} cannot be had here: no {', '.join(lacking)}. Get it: {how}. "
        f"Or run without it: METERBRIDGE_TEST_WITHOUT={name} make test"
    )


def require(name: str) -> None:
    """Fail the calling test when a server is missing, or skip it when METERBRIDGE_TEST_WITHOUT names the server."""
    try:
        left_out = without()
    except ValueError as e:
        pytest.fail(str(e), pytrace=False)
    if name in left_out:
        pytest.skip(f"METERBRIDGE_TEST_WITHOUT names {name}")
    if lacking := missing(name):
        pytest.fail(unavailable(name, lacking), pytrace=False)
