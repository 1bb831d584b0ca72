"""``meterbridge merge``: one page of several shards."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.running import Part, serve_until_told


@click.command()
@click.argument("urls", nargs=-1, required=True, metavar="URL...")
@click.option("--interval", default=15.0, show_default=True, type=click.FloatRange(min=1), help="Seconds.")
@click.option("--timeout", default=10.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds per shard.")
@click.option("--token-file", type=click.Path(path_type=Path, exists=True), help="A bearer token for the shards.")
@click.option("--web.listen-address", "listen", default="127.0.0.1:9813", show_default=True, help="HOST:PORT.")
@click.option("--web.config-file", "web", type=click.Path(path_type=Path), help="TLS and basic auth of the page.")
def merge(
    urls: tuple[str, ...], interval: float, timeout: float, token_file: Path | None, listen: str, web: Path | None
) -> None:
    """Serve the sum of several shards' /metrics, as one exporter of the whole fleet would.

    URL is the page of one shard, as in http://shard-0:9810/metrics; give every shard once.
    """
    from exporters.http.server import Server, create_app
    from exporters.http.web_guard import WebGuard
    from exporters.shards.merger import Merger

    def parts() -> tuple[Part, Part]:
        headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else None
        merger = Merger(urls, interval, timeout, headers=headers)
        return merger, Server(create_app(merger.page, merger.ready), listen, web)

    serve_until_told(lambda: WebGuard(web), parts)
