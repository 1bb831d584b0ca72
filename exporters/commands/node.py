"""``meterbridge node``: the agent on every machine. It loads a tenth of the house's modules, a third of its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from exporters.commands.running import Part, serve_until_told
from exporters.node.paths import Paths
from exporters.version import version

_FOLDER = click.Path(path_type=str, file_okay=False)
_DEFAULT = Paths()


@click.command()
@click.option(
    "--web.listen-address", "listen", default="127.0.0.1:9812", show_default=True, help="Listen here (HOST:PORT)."
)
@click.option(
    "--web.config.file",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TLS and basic auth, in the format of Prometheus' web configuration.",
)
@click.option("--path.sysfs", "sysfs", type=_FOLDER, default=_DEFAULT.sysfs, show_default=True, help="Where /sys is.")
@click.option("--path.procfs", "procfs", type=_FOLDER, default=_DEFAULT.procfs, show_default=True, help="And /proc.")
@click.option(
    "--path.cgroup", "cgroup", type=_FOLDER, default=_DEFAULT.cgroup, show_default=True, help="Where cgroups are."
)
@click.option(
    "--path.spool",
    "spool",
    type=_FOLDER,
    default=_DEFAULT.spool,
    show_default=True,
    help="Where our Prolog leaves what jobs hold (docs/install.md).",
)
@click.option(
    "--path.podresources",
    "podresources",
    type=click.Path(path_type=str),
    default=_DEFAULT.podresources,
    show_default=True,
    help="The kubelet's PodResources socket.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=1),
    default=15.0,
    show_default=True,
    help="Seconds between reads of holdings.",
)
@click.option("--all", "all_of_them", is_flag=True, help="Also the counters that node_exporter serves.")
@click.option("--once", is_flag=True, help="Read everything once, print the exposition and exit.")
def node(
    listen: str,
    config_file: Path | None,
    sysfs: str,
    procfs: str,
    cgroup: str,
    spool: str,
    podresources: str,
    interval: float,
    all_of_them: bool,
    once: bool,
) -> None:
    """Serve what only this machine knows: its RDMA ports, and who holds its cards.

    It runs on every machine beside node_exporter, reads files and the kubelet's socket, and changes nothing.
    docs/node-agent.md has its series and what it needs.
    """
    from exporters.http.server import Server
    from exporters.http.web_guard import WebGuard
    from exporters.node.agent import Agent
    from exporters.node.ethtool import Ethtool, Kernel
    from exporters.node.listener import create_agent_app

    kernel = Kernel()

    def agent() -> Agent:
        paths = Paths(sysfs, procfs, cgroup, spool, podresources)
        return Agent(paths, Ethtool(kernel), version(), all_of_them=all_of_them, interval=interval)

    def parts() -> tuple[Part, Part]:
        now = agent()
        return now, Server(create_agent_app(now.page), listen, config_file)

    try:
        if once:
            now = agent()
            now.read_holdings()
            sys.stdout.buffer.write(now.page().body())
        else:
            serve_until_told(lambda: WebGuard(config_file), parts)
    finally:
        kernel.close()
