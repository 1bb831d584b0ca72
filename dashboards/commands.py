"""The front door's commands about dashboards."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.group("dashboards")
def dashboards() -> None:
    """Six boards for Grafana: into a running one, or as files for its provisioning."""


@dashboards.command("push")
@click.option(
    "--url", required=True, envvar="GRAFANA_URL", show_envvar=True, help="Address of Grafana, with its path if any."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File with a service account's token; without it GRAFANA_TOKEN in the environment (a command line is public).",
)
@click.option("--folder", default="meterbridge", show_default=True, help="Title of the folder for the boards.")
@click.option("--prometheus", help="Also provide a data source: the Prometheus at this address, as Grafana reaches it.")
@click.option("--datasource", default="meterbridge", show_default=True, help="Name of that data source.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--diff", "show", is_flag=True, help="Show how what is there differs.")
@click.option("--insecure", is_flag=True, help="Do not verify Grafana's certificate.")
def push_boards(
    url: str,
    token_file: Path | None,
    folder: str,
    prometheus: str | None,
    datasource: str,
    dry_run: bool,
    show: bool,
    insecure: bool,
) -> None:
    """Bring folder, data source and boards to Grafana. Doing it again changes nothing.

    A board that was changed by hand in Grafana is overwritten: look first with `--dry-run --diff`. Exits 3 when
    Grafana cannot be reached or refuses.
    """
    try:
        from dashboards import push as p  # the library comes with the extra only
    except ImportError as e:
        raise click.ClickException(f"{e}: install meterbridge[grafana]") from e
    secret = token_file.read_text(encoding="utf-8").strip() if token_file else os.environ.get("GRAFANA_TOKEN", "")
    if not secret:
        raise click.UsageError("no token: give --token-file, or GRAFANA_TOKEN in the environment")
    source = p.Source(datasource, prometheus) if prometheus else None
    grafana = p.connect(url, secret, verify=not insecure)
    for step in p.push(grafana, p.boards(), folder=folder, source=source, dry_run=dry_run):
        would = "would be " if dry_run and step.change != "unchanged" else ""
        click.echo(f"{step.what}: {would}{step.change}")
        if show and step.difference:
            click.echo(step.difference, nl=False)


@dashboards.command("write")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def write_boards(folder: Path) -> None:
    """Write the boards' JSON into FOLDER, for Grafana's file provisioning or a sidecar."""
    from importlib.resources import files

    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(files("dashboards").joinpath("json").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".json"):
            target = folder / f"meterbridge-{file.name}"
            target.write_bytes(file.read_bytes())
            click.echo(target)
