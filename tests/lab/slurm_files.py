"""What the Slurm lab finds on disk before it starts: configuration, fake GPUs, and users of its own."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from tests.lab import slurm_config
from tests.lab.mariadb import MariaDB
from tests.lab.slurm_config import Layout

FIRST_UID = 62001


def write(layout: Layout, database: MariaDB, users: Sequence[str], release: tuple[int, int]) -> None:
    """Write everything below ``layout.root``, which must be open to the users that jobs run as."""
    etc = layout.conf.parent
    for folder in (etc, layout.state / "ctld", layout.log, layout.devices):
        folder.mkdir(parents=True)
    layout.munge_socket.parent.mkdir(parents=True, exist_ok=True)
    layout.root.chmod(0o755)
    for folder in layout.root.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise PermissionError(f"jobs of other users must reach {layout.root}, but {folder} is closed to them")
    for index in range(max((group.cards for group in layout.groups), default=0)):
        device = layout.devices / f"gpu{index}"
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.chmod(0o666)
    layout.conf.write_text(slurm_config.slurm_conf(layout))
    (etc / "gres.conf").write_text(slurm_config.gres_conf(layout))
    (etc / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if release >= (23, 11) else "")
    dbd = etc / "slurmdbd.conf"
    dbd.write_text(slurm_config.slurmdbd_conf(layout, database.database, database.user, database.password))
    dbd.chmod(0o600)
    layout.jwt_key.write_bytes(secrets.token_bytes(32))
    layout.jwt_key.chmod(0o600)
    # Daemons told not to listen everywhere bind to what their host name resolves to: here, loopback.
    (layout.root / "hosts").write_text(f"127.0.0.1 localhost {layout.host} {socket.gethostname()}\n")
    uids = range(FIRST_UID, FIRST_UID + len(users))
    for file, line in (("passwd", "{0}:x:{1}:{1}::/:/bin/sh\n"), ("group", "{0}:x:{1}:\n")):
        ours = "".join(line.format(user, uid) for user, uid in zip(users, uids, strict=True))
        (layout.root / file).write_text(Path("/etc", file).read_text() + ours)
