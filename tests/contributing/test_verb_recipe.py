"""CONTRIBUTING's recipe for a verb of the command line, followed on a copy of the repository."""

from __future__ import annotations

from tests.contributing.tree import Tree

VERB = '''"""``meterbridge months``: which billing months there are."""

from __future__ import annotations

from pathlib import Path

import click

from exporters.commands.options import config_option
from exporters.errors import EXIT_BREACH, OperatorError


@click.command()
@config_option
@click.option("--strict", is_flag=True, help="Exit 1 where there is none.")
def months(config_file: Path, strict: bool) -> None:
    """Print the name of every billing month, the oldest first."""
    from accounting.site import book
    from accounting.site.known_months import month_names
    from exporters.config import load

    with book.opened(load(config_file)) as engine:
        names = month_names(engine)
    for name in names:
        click.echo(name)
    if strict and not names:
        raise OperatorError("nothing is booked yet: run meterbridge reconcile", EXIT_BREACH)
'''
HELP = ', help="Exit 1 where there is none."'
COMMANDS = (
    "tests/test_rooms.py",
    "tests/test_cli.py::test_what_only_tells_loads_click_alone[--help]",
    "tests/test_cli.py::test_what_only_tells_loads_click_alone[months --help]",
    "tests/test_docs.py::test_a_page_made_from_the_code_is_what_the_code_makes[cli.md]",
    "tests/test_docs.py::test_every_command_and_option_says_what_it_does[months]",
    "tests/accounting/test_trouble.py::test_every_verb_is_known_to_make_a_ledger_or_not",
)


def test_add_a_verb(tree: Tree) -> None:
    heavy = VERB.replace("import click\n", "import click\nimport numpy\n", 1).replace(
        ', help="Exit 1 where there is none."', ""
    )
    tree.write("accounting/commands/month_list.py", heavy)
    tree.insert("meterbridge.py", '    "months": "accounting.commands.month_list:months",\n', before='    "node":')

    forgotten = tree.failing(*COMMANDS)
    tree.replace("accounting/commands/month_list.py", heavy, VERB)
    tree.insert("tests/accounting/test_trouble.py", '    ("months",),\n', before='    ("periods",),')
    tree.make("docs")
    settings = tree.root / "meterbridge.yaml"
    settings.write_text("ledger: {url: 'sqlite:///ledger.db'}\n")
    tree.run("-c", "from accounting.store.schema import open_ledger; open_ledger('sqlite:///ledger.db')")
    strict = tree.meterbridge("months", "--strict")
    settings.write_text("ledgre: {}\n")
    misspelt = tree.meterbridge("months")

    assert {
        "test_what_only_tells_loads_click_alone",
        "test_every_command_and_option_says_what_it_does",
        "test_every_verb_is_known_to_make_a_ledger_or_not",
        "test_a_page_made_from_the_code_is_what_the_code_makes",
    } == forgotten
    assert set() == tree.failing(*COMMANDS)
    assert (
        "  months      Print the name of every billing month, the oldest first.\n" in tree.meterbridge("--help").stdout
    )
    assert "## `meterbridge months`\n" in tree.text("docs/cli.md")
    assert (1, "Error: nothing is booked yet: run meterbridge reconcile\n") == (strict.returncode, strict.stderr)
    assert (2, True) == (misspelt.returncode, "did you mean ledger?" in misspelt.stderr)
