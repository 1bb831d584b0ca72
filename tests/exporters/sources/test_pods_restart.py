"""The pods source over a restart: what happened meanwhile is told, once it can be, as it happened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporters.sources.base import SourceError
from exporters.sources.kubernetes.pods import Pods
from exporters.sources.kubernetes.watch.resume import LIMIT
from tests.exporters.sources.pods_world import FINAL, names, until
from tests.lab.kube_fake import NODE_PATH, POD_PATH, KubeFake, node, pod


def test_a_restart_tells_exactly_what_happened_meanwhile(
    kube: KubeFake, make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "state" / "resume.json"
    for name in ("finishes", "forced", "stays"):
        kube.put(POD_PATH, pod(name, node="n", scheduled=1000, started=1010))
    before = make_pods(resume_file=resume)
    before.poll(1.0)
    before.close()
    kube.remove(POD_PATH, pod("finishes", node="n", scheduled=1000, started=1010, finished=1300))
    kube.remove(POD_PATH, pod("forced", node="n", scheduled=1000, started=1010), **FINAL)
    brief = pod("brief", node="n", scheduled=1100, started=1110)
    kube.put(POD_PATH, brief)
    kube.remove(POD_PATH, pod("brief", node="n", scheduled=1100, started=1110, finished=1200))
    kube.put(POD_PATH, pod("new", node="n", scheduled=1400))

    found = make_pods(resume_file=resume).poll(2.0)

    assert {"stays", "new"} == names(found.claims)
    assert {(c.native_id, c.start, c.end, c.end_basis) for c in found.ended} == {
        ("lab/finishes", 1000, 1300, "finished"),
        ("lab/forced", 1000, 1500, "deleted"),
        ("lab/brief", 1100, 1200, "finished"),
    }


def test_a_restart_after_the_server_forgot_closes_at_the_last_sighting(
    kube: KubeFake, make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "resume.json"
    gone = pod("gone", node="n", scheduled=1000, started=1010)
    kube.put(POD_PATH, gone)
    before = make_pods(resume_file=resume)
    before.poll(1500.0)
    before.close()
    kube.remove(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010, finished=1300))
    kube.compact()

    found = make_pods(resume_file=resume, clock=lambda: 7000.5).poll(2.0)

    assert [("lab/gone", 1000, 1500, "vanished")] == [(c.native_id, c.start, c.end, c.end_basis) for c in found.ended]
    assert ["lab/Pod/gone"] == [job.display_id for job in found.jobs], "with the job it belonged to"


def test_on_a_quiet_server_the_end_of_the_first_watch_is_the_end_of_the_replay(
    kube: KubeFake, make_pods: Callable[..., Pods], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.sources.kubernetes.watch.collection.CATCH_UP_SECONDS", 2)
    resume = tmp_path / "resume.json"
    kube.put(POD_PATH, pod("gone", node="n", scheduled=1000, started=1010))
    before = make_pods(resume_file=resume)
    before.poll(1500.0)
    before.close()
    kube.objects[POD_PATH].clear()  # no event tells
    kube.put(NODE_PATH, node("m"))

    found = make_pods(resume_file=resume).poll(2.0)

    assert [("lab/gone", "vanished")] == [(c.native_id, c.end_basis) for c in found.ended]


def test_what_nobody_acknowledged_is_told_again_after_a_crash(
    kube: KubeFake, make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    resume = tmp_path / "resume.json"
    for name in ("kept", "lost"):
        kube.put(POD_PATH, pod(name, node="n", scheduled=1000, started=1010))
    crashed = make_pods(resume_file=resume)
    crashed.poll(1.0)
    kube.remove(POD_PATH, pod("kept", node="n", scheduled=1000, started=1010, finished=1300))
    until(crashed, lambda s: bool(s.ended), "kept has ended")
    crashed.acknowledge(1.0)
    crashed.poll(2.0)
    kube.remove(POD_PATH, pod("lost", node="n", scheduled=1000, started=1010, finished=1400))
    until(crashed, lambda s: bool(s.ended), "lost has ended")
    aside = tmp_path / "crashed.json"
    aside.write_bytes(resume.read_bytes())  # what the crash leaves

    found = make_pods(resume_file=aside).poll(3.0)

    assert [("lab/lost", 1400)] == [(c.native_id, c.end) for c in found.ended]


def test_a_resume_file_that_is_none_is_set_aside(make_pods: Callable[..., Pods], tmp_path: Path) -> None:
    resume = tmp_path / "resume.json"
    resume.write_text('{"cluster": "k", "kept":')

    found = make_pods(resume_file=resume).poll(1000.0)

    assert "is not one of ours" in found.problems[0]
    assert '{"cluster": "k", "kept":' == (tmp_path / "resume.json.broken").read_text()
    assert json.loads(resume.read_text())["cluster"] == "k"


def test_a_resume_file_of_another_cluster_is_refused(make_pods: Callable[..., Pods], tmp_path: Path) -> None:
    resume = tmp_path / "resume.json"
    resume.write_text('{"cluster": "other"}')

    with pytest.raises(SourceError, match="is of cluster 'other', not 'k'"):
        make_pods(resume_file=resume).poll(1.0)


def test_a_resume_file_is_our_own_users_alone_and_no_link_is_followed(
    make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    resume, elsewhere = tmp_path / "resume.json", tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "resume.json.new").symlink_to(elsewhere)
    pods = make_pods(resume_file=resume)
    pods.poll(1.0)
    pods.close()
    mode = resume.stat().st_mode & 0o777
    link = tmp_path / "link.json"
    link.symlink_to(resume)

    assert (mode, elsewhere.read_text()) == (0o600, "precious")
    with pytest.raises(SourceError, match=r"link\.json cannot be read"):
        make_pods(resume_file=link).poll(1.0)


def test_a_resume_file_that_is_too_large_or_no_file_is_refused_unread(
    make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    huge, pipe = tmp_path / "huge.json", tmp_path / "pipe"
    with huge.open("wb") as file:
        file.truncate(LIMIT + 1)
    os.mkfifo(pipe)

    for path, says in ((huge, "more than"), (pipe, "not a plain file")):
        with pytest.raises(SourceError, match=says):
            make_pods(resume_file=path).poll(1.0)


def test_a_resume_file_that_cannot_be_written_is_said_and_the_rest_goes_on(
    kube: KubeFake, make_pods: Callable[..., Pods], tmp_path: Path
) -> None:
    kube.put(POD_PATH, pod("a", node="n", scheduled=1000))
    resume = tmp_path / "resume.json"
    pods = make_pods(resume_file=resume)
    (tmp_path / "resume.json.new").mkdir()

    pods.poll(1.0)
    found = pods.poll(2.0)

    assert {"a"} == names(found.claims)
    assert "cannot be written" in found.problems[0]
