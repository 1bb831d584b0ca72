"""Record what a release of Slurm prints while `tests.lab.jobs` is played: ``python -m tests.lab.record_slurm FOLDER``.

Run it as root where that release is installed, in a container or a chroot with this checkout in it. FOLDER gets one
file per output, named for the moment and the command, as printed but for this machine's host name and kernel. The
sources' own words are used; the delimiter that they make up anew for each call is the fixed `DELIMITER` here.
"""

from __future__ import annotations

import gzip
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exporters.sources.slurm import runs
from exporters.sources.slurm.history import rows
from exporters.sources.slurm.live import queue_text
from tests.lab.jobs import play
from tests.lab.slurm import SlurmLab
from tests.lab.slurm_config import NodeGroup

DELIMITER = "|recorded|"

GROUPS = (
    NodeGroup(4, {"h100": 8}, cpus=8),
    NodeGroup(1, {"a100": 4, "1g.10gb": 7}, prefix="mx", cpus=8),
    NodeGroup(1, {}, prefix="cn", cpus=8),
)


def main(folder: Path) -> None:
    """Start the lab, play, record."""
    folder.mkdir(parents=True, exist_ok=True)
    with SlurmLab(Path(tempfile.mkdtemp(prefix="slurm-record-")), groups=GROUPS) as lab:
        lab.seed({}, {"urgent": ["Priority=1000", "Preempt=normal"]})
        sluids = lab.release >= runs.SLUID_RELEASE

        def keep(name: str, *command: str) -> None:
            env = {**os.environ, **lab.environment, "SLURM_TIME_FORMAT": "%s", "TZ": "UTC", "SLURM_BITSTR_LEN": "0"}
            out = subprocess.run(command, env=env, capture_output=True, check=True).stdout
            host = socket.gethostname().split(".")[0].encode()
            for found, made in (
                (platform.release().encode(), b"6.1.0"),
                (b"NodeHostName=" + host, b"NodeHostName=node1"),
            ):
                out = out.replace(found, made)
            (folder / f"{name}.gz").write_bytes(gzip.compress(out, mtime=0))

        def queue(moment: str) -> None:
            form = queue_text.squeue_format(DELIMITER, sluids=sluids)
            keep(f"{moment}.squeue.json", "squeue", "-a", "--json")
            keep(f"{moment}.squeue.txt", "squeue", "-a", "-h", f"--Format={form}")
            keep(f"{moment}.scontrol-job.txt", "scontrol", "-a", "-d", "show", "job")
            keep(f"{moment}.scontrol-node.txt", "scontrol", "-a", "-d", "-o", "show", "node")

        story = play(lab, queue)
        fields = ",".join(rows.SLUID_FIELDS if sluids else rows.FIELDS)
        window = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) for t in (story.start, story.end)]
        form = (f"--delimiter={DELIMITER}", f"--format={fields}", "-S", window[0], "-E", window[1])
        keep("end.sacct.txt", "sacct", "-a", "-D", "-X", "-n", "-P", *form)
        events = (
            "show",
            "event",
            f"start={window[0]}",
            f"end={window[1]}",
            "format=NodeName,Start,End,State,TRES,Reason",
        )
        keep("end.sacctmgr-event.txt", "sacctmgr", "-n", "-P", *events)
        keep("version.txt", "sacct", "--version")
        keep("helpformat.txt", "sacct", "--helpformat")
        hour = story.start // 3600 * 3600
        lab.rollup(hour, hour + 7200)
        report = [
            f"{name}={time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(t))}"
            for name, t in (("start", hour), ("end", hour + 7200))
        ]
        keep(
            "end.sreport.txt",
            "sreport",
            "-n",
            "-P",
            "-t",
            "seconds",
            "-T",
            "gres/gpu",
            "cluster",
            "AccountUtilizationByUser",
            *report,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
