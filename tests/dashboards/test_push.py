"""Boards into a Grafana: only what differs is written, and what refuses is told in words. Against a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from dashboards import push as p
from meterbridge import main
from tests.dashboards.fake_grafana import TOKEN, FakeGrafana

PROMETHEUS = p.Source("meterbridge", "http://prometheus:9090")
BOARDS = {"fleet": {"uid": "meterbridge-fleet", "title": "Fleet", "panels": []}}


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    with FakeGrafana() as fake:
        yield fake


def push(grafana: FakeGrafana, *, boards: p.Mapping = BOARDS, dry_run: bool = False) -> list[tuple[str, str]]:  # type: ignore[type-arg]
    steps = p.push(p.connect(grafana.url, TOKEN), boards, source=PROMETHEUS, dry_run=dry_run)
    return [(s.what, s.change) for s in steps]


def test_an_empty_grafana_gets_everything(grafana: FakeGrafana) -> None:
    assert [
        ("folder meterbridge", "created"),
        ("data source meterbridge", "created"),
        ("board fleet", "created"),
    ] == push(grafana)
    assert "meterbridge" == grafana.boards["meterbridge-fleet"]["meta"]["folderUid"]
    assert "http://prometheus:9090" == grafana.sources["meterbridge-prometheus"]["url"]


def test_a_second_push_writes_nothing(grafana: FakeGrafana) -> None:
    push(grafana)
    grafana.writes.clear()

    assert {"unchanged"} == {change for _, change in push(grafana)}
    assert [] == grafana.writes


def test_a_dry_run_writes_nothing_and_says_the_same(grafana: FakeGrafana) -> None:
    dry = push(grafana, dry_run=True)

    assert [] == grafana.writes
    assert dry == push(grafana)


def test_what_somebody_changed_by_hand_is_told_with_the_difference_and_put_right(grafana: FakeGrafana) -> None:
    push(grafana)
    grafana.boards["meterbridge-fleet"]["dashboard"]["title"] = "My fleet"
    steps = {s.what: s for s in p.push(p.connect(grafana.url, TOKEN), BOARDS)}

    assert "changed" == steps["board fleet"].change
    assert '- "title": "My fleet"' in steps["board fleet"].difference
    assert '+ "title": "Fleet"' in steps["board fleet"].difference
    assert "Fleet" == grafana.boards["meterbridge-fleet"]["dashboard"]["title"]


def test_a_board_that_was_moved_comes_back(grafana: FakeGrafana) -> None:
    push(grafana)
    grafana.boards["meterbridge-fleet"]["meta"]["folderUid"] = "elsewhere"

    assert ("board fleet", "changed") in push(grafana)
    assert "meterbridge" == grafana.boards["meterbridge-fleet"]["meta"]["folderUid"]


def test_what_a_site_set_on_the_data_source_stays(grafana: FakeGrafana) -> None:
    push(grafana)
    grafana.sources["meterbridge-prometheus"] |= {"url": "http://old:9090", "jsonData": {"timeInterval": "30s"}}

    assert ("data source meterbridge", "changed") in push(grafana)
    assert "http://prometheus:9090" == grafana.sources["meterbridge-prometheus"]["url"]
    assert {"timeInterval": "30s"} == grafana.sources["meterbridge-prometheus"]["jsonData"]


def test_a_grafana_below_a_path_is_reached() -> None:
    with FakeGrafana("/grafana") as grafana:
        assert ("board fleet", "created") in push(grafana)


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://grafana", "http://", "http://u:p@grafana", "http://g/?a=1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(p.PushError, match="is not the address of a Grafana"):
        p.connect(url, TOKEN)


def test_a_wrong_token_is_told(grafana: FakeGrafana) -> None:
    with pytest.raises(p.PushError, match="Grafana does not know the token"):
        list(p.push(p.connect(grafana.url, "other"), BOARDS))


def test_a_token_that_may_not_is_told_the_role_it_needs(grafana: FakeGrafana) -> None:
    grafana.refuse["/api/dashboards/db"] = 403

    with pytest.raises(p.PushError, match=r"save the board fleet.*role Editor"):
        push(grafana)


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_grafana_is_told(grafana: FakeGrafana, status: int) -> None:
    grafana.refuse["/api/folders/meterbridge"] = status

    with pytest.raises(p.PushError, match=f"read the folder: Server Error {status}"):
        push(grafana)


def test_nobody_there_is_told() -> None:
    with pytest.raises(p.PushError, match="no answer of a Grafana"):
        list(p.push(p.connect("http://127.0.0.1:1", TOKEN), BOARDS))


# the command


def run(grafana: FakeGrafana, *words: str, token: str = TOKEN) -> tuple[int, str]:
    result = CliRunner(env={"GRAFANA_TOKEN": token}).invoke(main, ["dashboards", "push", "--url", grafana.url, *words])
    return result.exit_code, result.output


def test_the_command_pushes_the_installed_boards_and_shows_differences(grafana: FakeGrafana) -> None:
    code, told = run(grafana)
    grafana.boards["meterbridge-job"]["dashboard"]["title"] = "other"
    _, again = run(grafana, "--dry-run", "--diff")

    assert 0 == code
    assert {"fleet", "project", "job", "fabric", "chargeback", "self"} == {
        line.split()[1].removesuffix(":") for line in told.splitlines() if line.startswith("board ")
    }
    assert "board job: would be changed" in again
    assert '- "title": "other"' in again
    assert "other" == grafana.boards["meterbridge-job"]["dashboard"]["title"]


def test_the_command_exits_3_when_grafana_refuses_and_2_without_a_token(grafana: FakeGrafana) -> None:
    assert 3 == run(grafana, token="wrong")[0]
    assert (2, True) == (run(grafana, token="")[0], "GRAFANA_TOKEN" in run(grafana, token="")[1])


def test_a_token_may_come_from_a_file(grafana: FakeGrafana, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    assert 0 == run(grafana, "--token-file", str(tmp_path / "token"), token="")[0]


def test_the_boards_are_written_for_provisioning(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["dashboards", "write", str(tmp_path / "boards")])

    assert 0 == result.exit_code
    assert {f"meterbridge-{name}.json" for name in p.boards()} == {f.name for f in (tmp_path / "boards").iterdir()}
