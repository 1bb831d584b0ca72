"""What a bare root is given of this machine, and what runs in it, without making one: `make test-bare` does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab import bare, handed

ROOT = Path(__file__).parent.parent


def test_files_that_settings_name_are_seen_beside_the_roots_own(tmp_path: Path) -> None:
    bundle, index = tmp_path / "ca.crt", tmp_path / "pypi" / "simple"
    index.mkdir(parents=True)
    bundle.touch()

    moved = handed.moved(f"cert = {bundle}\nextra = file://{index} https://host/simple /no/such\nplain = 5\n")

    assert (
        f"cert = {handed.PLACE}{bundle}\nextra = file://{handed.PLACE}{index} https://host/simple /no/such\nplain = 5\n"
    ) == moved.inside
    assert {bundle: f"{handed.PLACE}{bundle}", index.parent: f"{handed.PLACE}{index.parent}"} == moved.shares


def test_pips_files_become_one_and_its_variables_stay_variables() -> None:
    listed = "global.cert='/ca.crt'\nglobal.find-links='\\n/a\\n/b'\n:env:.timeout='180'\ninstall.no-compile='true'\n"

    assert "[global]\ncert = /ca.crt\nfind-links = /a /b\n\n[install]\nno-compile = true\n\n" == handed.pip_conf(listed)


def test_only_variables_that_package_clients_read_are_handed_in() -> None:
    given = {"https_proxy": "http://p:1", "PIP_INDEX_URL": "https://h/x=1", "SECRET": "s", "HOME": "/h", "PIPER": "1"}

    told = handed.variables(handed.environment(given).inside)

    assert {"https_proxy": "http://p:1", "PIP_INDEX_URL": "https://h/x=1"} == told


def test_what_runs_in_a_bare_root_is_what_the_readme_says_to_type() -> None:
    readme = (ROOT / "README.md").read_text()

    assert ["make demo", "make test"] == bare.commands(readme)
    assert f"On a Debian machine with {'`{}`, `{}` and `{}`'.format(*bare.PACKAGES)}" in readme
    with pytest.raises(ValueError, match="no block of make commands"):
        bare.commands("```\nmake\n```\n")


def test_the_tree_is_laid_as_it_is_now_without_what_git_does_not_track(tmp_path: Path) -> None:
    tree, clone = tmp_path / "tree", tmp_path / "clone"
    (tree / "sub").mkdir(parents=True)
    clone.mkdir()
    for name in ("kept", "sub/script", "gone", "untracked"):
        (tree / name).write_text(name)
    (tree / "sub/script").chmod(0o755)
    subprocess.run(["git", "init", "-q", tree], check=True)
    subprocess.run(["git", "-C", tree, "add", "kept", "sub/script", "gone"], check=True)
    (tree / "gone").unlink()
    (tree / "kept").write_text("changed")

    bare.lay(tree, clone)

    assert ["kept", "sub/script"] == sorted(str(p.relative_to(clone)) for p in clone.rglob("*") if p.is_file())
    assert ("changed", True) == ((clone / "kept").read_text(), bool((clone / "sub/script").stat().st_mode & 0o100))


def test_a_command_sees_caches_it_may_write_and_shares_it_may_not() -> None:
    nothing = handed.Settings("", "")
    machine = bare.Bare("trixie", {Path("/c"): "/cache"}, {Path("/s"): "/mnt/s"}, {}, nothing, nothing)

    words = machine.words("true")

    assert [str(machine.root), "rw", "/c", "/cache", "ro", "/s", "/mnt/s", "--", "true"] == words[-9:]
