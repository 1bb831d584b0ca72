"""``meterbridge explain``, ``job`` and ``job-mail``: what is asked of one line of a statement, and of one job."""

from __future__ import annotations

from pathlib import Path

import click

from accounting.commands.month import month
from exporters.commands.options import config_option

EXAMPLES = """\b
Examples:
  meterbridge explain L7ad1b0ff1b9d8975afab     hours, price, amount, and the sum per node
  meterbridge explain L7ad1 --evidence          by the beginning of its id; with the raw records
"""

JOB_EXAMPLES = """\b
Examples:
  meterbridge job 12345                          a Slurm job
  meterbridge job 12345_7                        a task of an array
  meterbridge job 12345@1790812500               one run of a job that was requeued
  meterbridge job vision/train-worker-0          a pod: the job that it belongs to
  meterbridge job slurm/hpc1/12345@1790812500    whatever else has that number
"""


@click.command(epilog=EXAMPLES)
@click.argument("line_id")
@config_option
@click.option("--period", callback=month, help="The month of the line; default: look in every month.")
@click.option("--evidence", is_flag=True, help="Also what it stands on: postings, node-days, claims, raw records.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON; with --evidence raw records to the byte.")
def explain(line_id: str, config_file: Path, period: str | None, evidence: bool, as_json: bool) -> None:
    """Say why a line comes to its amount: hours, price, arithmetic, and the sum per node.

    LINE_ID is what the CSV's column line_id says, or the beginning of it.
    """
    from accounting.commands.terminal import print_json
    from accounting.site import line_questions
    from exporters.config import load

    config = load(config_file)
    if as_json:
        print_json(line_questions.explained(config, line_id, period, evidence=evidence))
        return
    for line in line_questions.explain(config, line_id, period, evidence=evidence):
        click.echo(line)


@click.command(epilog=JOB_EXAMPLES)
@click.argument("job_id")
@config_option
@click.option("--json", "as_json", is_flag=True, help="The same as JSON; null is what nobody measured or told.")
def job(job_id: str, config_file: Path, as_json: bool) -> None:
    """Say what a job held, how it used it, what it costs, and what to do about it."""
    import time

    from accounting.commands.terminal import print_json
    from accounting.site import job_questions
    from accounting.statements.one_job.job_told import job_lines
    from exporters.config import load

    facts = job_questions.job(load(config_file), job_id, int(time.time()))
    if as_json:
        print_json(facts)
        return
    for line in job_lines(facts):
        click.echo(line)


@click.command("job-mail")
@click.argument("job_id")
@config_option
def job_mail(job_id: str, config_file: Path) -> None:
    """Say in one line what a job used, for the mail that Slurm sends at its end (docs/jobs.md)."""
    import time

    from accounting.site import job_questions
    from accounting.statements.one_job.job_told import job_mail_line
    from exporters.config import load

    click.echo(job_mail_line(job_questions.job(load(config_file), job_id, int(time.time()))))
