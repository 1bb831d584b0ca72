"""slurmrestd without a Slurm: which version is asked for, who asks, and every way to fail."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exporters.model import Reject
from exporters.sources.base import SourceError
from exporters.sources.slurm.rest.delta import WHOLE
from exporters.sources.slurm.rest.rest_http import RestClient, RestTooLargeError, named_in
from exporters.sources.slurm.rest.slurmrestd import Slurmrestd, SlurmrestdHistory, newest
from tests.exporters.sources.fake_rest import FakeRest

OPENAPI = json.dumps({"paths": {f"/slurm/v0.0.{n}/jobs": {} for n in (36, 37, 38)}}).encode().replace(b"/", b"\\/")
NODE = {
    "name": "gn01", "hostname": "n1", "state": "down", "state_flags": ["NOT_RESPONDING"], "gres": "gpu:h100:8(S:0)",
    "reason": "bad | fan", "reason_changed_at": 5, "reason_set_by_user": "root", "comment": "",
}  # fmt: skip


def token_of(user: str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sun": user, "exp": 9}).encode()).decode().rstrip("=")
    return f"head.{payload}.signature"


def tres(kind: str, name: str | None, count: int | None) -> dict[str, Any]:
    return {"type": kind, "name": name, "count": count}


def document(**more: Any) -> bytes:
    meta = {"Slurm": {"version": {"major": 22, "minor": 5, "micro": 8}}}
    return json.dumps({"meta": meta, "errors": [], **more}).encode()


@pytest.fixture
def rest() -> Iterator[FakeRest]:
    answers = {
        "/openapi/v3": (200, OPENAPI),
        "/slurm/v0.0.38/jobs": (200, document(jobs=[])),
        "/slurm/v0.0.38/nodes": (200, document(nodes=[NODE])),
        "/slurmdb/v0.0.38/jobs": (200, document(jobs=[])),
    }
    with FakeRest(answers) as server:
        yield server


def test_the_newest_known_version_that_is_offered_is_used(rest: FakeRest) -> None:
    source = Slurmrestd("c", RestClient(rest.url))
    [node] = source.poll(1.0).nodes
    source.poll(16.0)

    assert ("gn01", 8000, "h100", False) == (node.key.name, node.milligpu, node.model, node.up)
    assert "DOWN+NOT_RESPONDING: bad | fan [root@5]" == node.reason
    jobs, nodes = "/slurm/v0.0.38/jobs", "/slurm/v0.0.38/nodes"
    assert ["/openapi/v3", nodes, jobs, nodes, jobs] == [path for path, _ in rest.asked]


def as_of(seconds: int) -> dict[str, Any]:
    return {"last_update": {"set": True, "infinite": False, "number": seconds}}


@pytest.mark.parametrize("nothing_new", [(200, document(jobs=[], **as_of(0))), (304, b"")])
def test_jobs_that_have_not_changed_are_not_sent_again(rest: FakeRest, nothing_new: tuple[int, bytes]) -> None:
    """As 24.11 and 26.05 say it (recorded), and as 22.05 does."""
    jobs = "/slurm/v0.0.42/jobs/"
    rest.answers["/slurm/v0.0.42/nodes/"] = (200, document(nodes=[NODE]))
    rest.answers[jobs] = (200, document(jobs=[{"gres_detail": []}], **as_of(70)))
    source = Slurmrestd("c", RestClient(rest.url), version="v0.0.42")
    first = source.poll(1.0)
    rest.answers[jobs] = nothing_new
    second = source.poll(16.0)
    rest.answers[jobs] = (200, document(jobs=[], **as_of(90)))
    third = source.poll(31.0)
    source.poll(46.0)

    assert ["", "update_time=70", "update_time=70", "update_time=90"] == [
        p.partition("?")[2] for p, _ in rest.asked[1::2]
    ]
    assert [(1.0, 1), (16.0, 1), (31.0, 0)] == [(s.at, len(s.rejects)) for s in (first, second, third)]
    assert first.rejects == second.rejects


def test_after_a_while_all_is_asked_for_and_after_a_clock_that_was_set_back(rest: FakeRest) -> None:
    rest.answers["/slurm/v0.0.38/jobs"] = (200, document(jobs=[], **as_of(70)))
    source = Slurmrestd("c", RestClient(rest.url), version="v0.0.38")
    for now in (1000.0, 1015.0, 1015.0 + WHOLE, 900.0):
        source.poll(now)

    assert ["", "update_time=70", "", ""] == [path.partition("?")[2] for path, _ in rest.asked[1::2]]


def test_nothing_new_for_one_who_knows_nothing_is_an_error(rest: FakeRest) -> None:
    rest.answers["/slurm/v0.0.38/jobs"] = (304, b"")
    source = Slurmrestd("c", RestClient(rest.url), version="v0.0.38")

    with pytest.raises(SourceError, match="has not changed"):
        source.poll(1.0)


def test_versions_newer_than_known_are_left_alone() -> None:
    offered = b"".join(b'"/slurm/v0.0.%d/jobs/"' % n for n in (44, 45, 46))

    assert (45, 38, None) == (newest(offered), newest(OPENAPI), newest(b'"/slurm/v0.0.99/jobs/"'))


def test_a_pinned_version_is_not_looked_for(rest: FakeRest) -> None:
    rest.answers["/slurm/v0.0.42/jobs/"] = (200, document(jobs=[]))
    rest.answers["/slurm/v0.0.42/nodes/"] = (200, document(nodes=[NODE]))
    Slurmrestd("c", RestClient(rest.url), version="v0.0.42").poll(1.0)

    assert ["/slurm/v0.0.42/nodes/", "/slurm/v0.0.42/jobs/"] == [path for path, _ in rest.asked]


def test_history_asks_for_earlier_runs_where_leaving_steps_out_would_leave_them_out(rest: FakeRest) -> None:
    list(SlurmrestdHistory("c", RestClient(rest.url)).records(10, 20))
    rest.answers["/slurmdb/v0.0.42/jobs/"] = (200, document(jobs=[]))
    list(SlurmrestdHistory("c", RestClient(rest.url), version="v0.0.42").records(10, 20))
    more = "&show_duplicates=true&disable_truncate_usage_time=true"

    assert [
        "/slurmdb/v0.0.38/jobs?start_time=uts10&end_time=uts20&skip_steps=true",
        f"/slurmdb/v0.0.42/jobs/?start_time=uts10&end_time=uts20&skip_steps=true{more}",
    ] == [path for path, _ in rest.asked[1:]]


def test_the_token_and_its_user_are_sent_and_a_rotated_file_is_read_anew(rest: FakeRest, tmp_path: Path) -> None:
    file = tmp_path / "token"
    client = RestClient(rest.url, token_file=file)
    for user in ("alice", "bob"):
        file.write_text(f"SLURM_JWT={token_of(user)}\n")
        client.get("/openapi/v3")

    headers = [headers for _, headers in rest.asked]
    assert [token_of("alice"), token_of("bob")] == [h["x-slurm-user-token"] for h in headers]
    assert ["alice", "bob"] == [h["x-slurm-user-name"] for h in headers]
    assert ("", "") == (named_in("no token"), named_in("a.b.c"))


def test_the_variable_is_for_http_alone(rest: FakeRest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slurmrestd on a socket that goes by who opens it refuses whoever brings a token."""
    monkeypatch.setenv("SLURM_JWT", token_of("carol"))
    RestClient(rest.url, user="carla").get("/openapi/v3")
    with FakeRest({"/x": (200, b"here")}, tmp_path / "socket") as by_socket:
        told = RestClient(by_socket.url).get("/x")

    assert b"here" == told
    assert "carla" == rest.asked[0][1]["x-slurm-user-name"]
    assert {"host", "accept", "accept-encoding", "user-agent"} == set(by_socket.asked[0][1])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b"Authentication failure"), r"wants a JSON web token: set SLURM_JWT or slurm\.slurmrestd\.token_file"),
        ((500, b'{"errors": [{"error": "Zero Bytes", "description": "slurmctld is away"}]}'), "500: slurmctld is away"),
        ((404, b"no"), r"has no /slurm/v0\.0\.38/jobs \(no\).*started with the plugins of slurm"),
        ((200, b'{"jobs": [1'), "bytes are not one whole JSON document|characters are not one whole JSON"),
        ((200, document(nodes=[])), "no list of jobs"),
        ((200, document(jobs=[], ) .replace(b'"errors": []', b'"errors": [{"error": "x"}]')), "reports errors"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(rest: FakeRest, answer: tuple[int, bytes], said: str) -> None:
    rest.answers["/slurm/v0.0.38/jobs"] = answer

    with pytest.raises(SourceError, match=said):
        Slurmrestd("c", RestClient(rest.url)).poll(1.0)


def test_a_token_of_somebody_else_is_named(rest: FakeRest, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token_of("alice"))
    rest.answers["/openapi/v3"] = (401, b"Authentication failure")

    with pytest.raises(SourceError, match=r"does not accept its caller alice \(Authentication failure\).*auth/jwt"):
        RestClient(rest.url, token_file=tmp_path / "token").get("/openapi/v3")
    with pytest.raises(SourceError, match=r"token file .*gone.* cannot be read"):
        RestClient(rest.url, token_file=tmp_path / "gone").get("/openapi/v3")


def test_a_slurm_too_old_is_said_to_be(rest: FakeRest) -> None:
    rest.answers["/openapi/v3"] = (200, b'{"paths": {"/slurm/v0.0.36/jobs": {}}}')

    with pytest.raises(SourceError, match=r"no version of its API between v0\.0\.38 and v0\.0\.45.*older than 22\.05"):
        Slurmrestd("c", RestClient(rest.url)).poll(1.0)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"unix:///.*none cannot be reached: .*No such file.*slurmrestd runs there"):
        RestClient(f"unix://{tmp_path}/none").get("/x")


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    for url in ("slurmrestd:6820", "http://", "unix://", "ftp://u:secret@h"):
        with pytest.raises(ValueError, match=r"no address of a slurmrestd") as caught:
            RestClient(url)

        assert "secret" not in str(caught.value)


def test_an_answer_without_end_is_cut_at_its_limit(rest: FakeRest) -> None:
    rest.answers["/x"] = (200, b"x" * 5000)

    assert 5000 == len(RestClient(rest.url, max_bytes=5000).get("/x"))
    with pytest.raises(RestTooLargeError, match=r"more than 4999 bytes: raise slurm\.slurmrestd\.max_response"):
        RestClient(rest.url, max_bytes=4999).get("/x")


@pytest.mark.parametrize("kind", ["silence", "drops", "cut"])
def test_a_slow_or_broken_answer_ends_in_time(rest: FakeRest, kind: str) -> None:
    """One byte at a time keeps each read alive for ever: the time is that of the whole answer."""
    over = threading.Event()

    def write(out: Any, body: bytes) -> None:
        if kind == "cut":
            out.write(body[:10])
            out.flush()
            raise ConnectionResetError
        for n in range(len(body)):
            if kind == "drops":
                out.write(body[n : n + 1])
                out.flush()
            if over.wait(0.05):
                return

    rest.write = write
    begun = time.monotonic()
    try:
        with pytest.raises(SourceError, match=r"did not answer /openapi/v3 within 0\.4 s|cannot be reached"):
            RestClient(rest.url, timeout=0.4).get("/openapi/v3")
    finally:
        over.set()

    assert time.monotonic() - begun < 3


def test_a_job_that_does_not_read_is_set_aside_alone(rest: FakeRest, testdata: Path) -> None:
    del testdata
    good: dict[str, Any] = {
        "job_id": 7, "name": "a", "user": "alice", "account": "x", "partition": "p", "qos": "normal", "cluster": "c",
        "nodes": "gn01", "allocation_nodes": 1, "comment": {"administrator": None}, "association": {},
        "array": {"job_id": 0, "task": None, "task_id": None}, "het": {"job_id": 0, "job_offset": None},
        "time": {"submission": 10, "eligible": 10, "start": 11, "end": 20}, "state": {"current": "COMPLETED"},
        "tres": {"allocated": [tres("gres", "gpu", 2), tres("energy", None, None)]},
    }  # fmt: skip
    bad = [{**good, "time": {}}, {**good, "job_id": None}, 5, {**good, "state": {"current": "NEW"}}]
    rest.answers["/slurmdb/v0.0.38/jobs"] = (200, document(jobs=[*bad, good]))
    items = list(SlurmrestdHistory("c", RestClient(rest.url)).records(0, 100))

    assert 4 == sum(isinstance(item, Reject) for item in items)
    assert [2000] == [claim.milligpu for item in items if not isinstance(item, Reject) for claim in item.claims]
    assert ["no 'submission'"] == [i.reason[-15:] for i in items if isinstance(i, Reject) and "submission" in i.reason]


def test_a_release_with_sluids_must_tell_them(rest: FakeRest, testdata: Path) -> None:
    queue = gzip.decompress((testdata / "slurm" / "26.05" / "height.squeue.json.gz").read_bytes())
    told = json.loads(queue)
    for job in told["jobs"]:
        del job["step_id"]
    rest.answers["/slurm/v0.0.38/jobs"] = (200, json.dumps(told).encode())
    meta = {"slurm": {"version": {"major": "26", "minor": "05"}}}
    rest.answers["/slurmdb/v0.0.38/jobs"] = (200, json.dumps({"meta": meta, "jobs": [{"job_id": 1}]}).encode())

    with pytest.raises(SourceError, match=r"names runs by SLUID, but its JSON document does not"):
        Slurmrestd("c", RestClient(rest.url)).poll(1.0)
    with pytest.raises(SourceError, match=r"does not tell them: use v0\.0\.45 or newer"):
        list(SlurmrestdHistory("c", RestClient(rest.url)).records(0, 10))


@pytest.mark.parametrize("settings", [{"step": 0}, {"identity": "name"}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any]) -> None:
    make: Callable[..., object] = SlurmrestdHistory

    with pytest.raises(ValueError, match=r"step must be|identity must be"):
        make("c", RestClient("http://h"), **settings)
