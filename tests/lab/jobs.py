"""One job of every kind, played on the Slurm lab in about twenty seconds, with what slurmctld said at the height of it.

Accounts of their own (``story-...``) keep the sums apart from other tests' jobs on the same cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from exporters.model import Snapshot
from exporters.sources.slurm.live.slurmctld import Slurmctld
from tests.lab.daemons import wait_for
from tests.lab.slurm import SlurmLab

HOSTILE = "a|b\n1 \tc\x1fd\\ =SUM(A1) é"
"""A job name with every delimiter there is. Line break, tab, pipe and unit separator are what users really can have."""

PODS = '{"pods":["vision/clip-embed-5x2vq"]}'
"""What slurm-bridge writes into the AdminComment of the external job it makes for a pod."""

RESTARTED = '[ -n "$SLURM_RESTART_COUNT" ] && exec sleep 1; sleep 600'
"""Runs long, and short when it was requeued."""

ACCOUNTS = {
    "story-vision": ["alice", "bob"],
    "story-nlp": ["carol"],
    "story-resize": ["dave"],
    "story-open": ["dave"],
    "story-mixed": ["carol"],
}


@dataclass
class Story:
    """What was played: job ids by kind, when, and slurmctld's word in both forms while everything ran."""

    lab: SlurmLab
    start: int
    end: int = 0
    ids: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    failed: Snapshot | None = None  # while gn02 was down
    forged: dict[str, Snapshot] = field(default_factory=dict)  # while a job's name imitated scontrol's output

    def live(self, form: str) -> Snapshot:
        """What slurmctld says now."""
        lab = self.lab
        scontrol, squeue = lab.command("scontrol"), lab.command("squeue")
        return Slurmctld(lab.cluster, scontrol, squeue, lab.environment, form=form).poll(time.time())


def play(lab: SlurmLab, watch: Callable[[str], None] = lambda _: None) -> Story:
    """Play it, and wait until accounting has all of it. One job (``running``) runs on.

    ``watch`` is called at ``height`` (everything runs), ``forged`` and ``failed``.
    """
    lab.seed(ACCOUNTS)
    story = Story(lab, int(time.time()) - 1)
    _submit(story)
    _height(story)
    watch("height")
    lab.run("scontrol", "resume", story.ids["suspend"])
    _forge(story)
    watch("forged")
    lab.run("scontrol", "update", f"jobid={story.ids['hostile']}", f"name={HOSTILE}")
    _requeue_and_cancel(story)
    _fail_a_node(story)
    watch("failed")
    _mend(story)
    lab.finish(*(job for kind, job in story.ids.items() if kind != "running"), timeout=90)
    story.end = int(time.time()) + 1
    time.sleep(max(0, story.end - time.time()))  # what a test does to the cluster from now on is not in the story
    return story


def _submit(story: Story) -> None:
    lab, ids = story.lab, story.ids

    def job(kind: str, script: str, *options: str, user: str, account: str, name: str = "") -> None:
        ids[kind] = lab.submit(script, *options, user=user, account=f"story-{account}", name=name or kind)

    alice = {"user": "alice", "account": "vision"}
    carol = {"user": "carol", "account": "nlp"}
    dave = {"user": "dave", "account": "resize"}
    job("plain", "sleep 600", "-w", "gn01", "--gres=gpu:h100:2", **alice)
    job("exclusive", "sleep 600", "-w", "gn02", "--exclusive", "--gres=gpu:1", **carol)
    job("multi", "sleep 600", "-w", "gn03,gn04", "-N2", "--gres=gpu:3", **alice)
    job("array", "sleep 1", "-w", "gn01", "--gres=gpu:1", "--array=0-5%2", user="bob", account="vision")
    ids["het"] = lab.submit(
        "sleep 600",
        *("--account=story-nlp", "-w", "gn01", "--gres=gpu:1", ":", "-w", "gn03", "--gres=gpu:2"),
        user="carol",
        name="het",
    )
    job("unstarted", "sleep 600", "-w", "gn01", "--gres=gpu:1", "--array=1-9:2%1", user="bob", account="vision")
    job("cpu", "sleep 1", "-w", "cn01", **alice)
    job("twotypes", "sleep 600", "-w", "mx01", "--gres=gpu:a100:1,gpu:1g.10gb:2", user="carol", account="mixed")
    job("hostile", "sleep 600", "-w", "gn01", "--gres=gpu:1", name=HOSTILE, **alice)
    job("requeue", RESTARTED, "-w", "gn03", "--gres=gpu:2", **alice)
    job("suspend", "sleep 6", "-w", "gn04", "--gres=gpu:2", **alice)
    job("resize", "sleep 600", "-w", "gn03,gn04", "-N2", "--gres=gpu:1", **dave)
    job("victim", "sleep 600", "-w", "mx01", "--gres=gpu:a100:3", **alice)
    job("running", "sleep 6000", "-w", "mx01", "--gres=gpu:1g.10gb:1", user="dave", account="open")
    job("bridged", "sleep 600", "-w", "gn04", "--gres=gpu:2", **carol)
    job("waits", "sleep 600", "-w", "gn02", "--exclusive", "--gres=gpu:4", **carol)
    lab.run("scancel", f"{ids['array']}_[4-5]")
    lab.run("scontrol", "update", f"jobid={ids['bridged']}", f"AdminComment={PODS}")


def _height(story: Story) -> None:
    """Everything runs: suspend, resize, and look."""
    lab, ids = story.lab, story.ids
    for kind in set(ids) - {"array", "unstarted", "cpu", "waits"}:
        lab.wait_state(ids[kind], "RUNNING", timeout=60)
    time.sleep(1.1)  # a run must have lasted before it is resized, suspended or requeued: times are whole seconds
    lab.run("scontrol", "suspend", ids["suspend"])
    lab.run("scontrol", "update", f"jobid={ids['resize']}", "NumNodes=1")
    lab.wait_state(ids["suspend"], "SUSPENDED")
    wait_for(lambda: not lab.run("squeue", "-h", "-j", ids["array"]).strip(), 60, "end of the array")
    story.snapshots = {form: story.live(form) for form in ("json", "text")}


def _forge(story: Story) -> None:
    """One job's name imitates what scontrol prints of another, with other cards."""
    lab, ids = story.lab, story.ids
    env = {"SLURM_TIME_FORMAT": "%s", "TZ": "UTC"}
    true = lab.run("scontrol", "-d", "show", "job", ids["plain"], environment=env)
    telling = ("JobId", "   SubmitTime", "   StartTime", "     Nodes")
    kept = [line for line in true.splitlines() if line.startswith(telling)]
    forged = "\n".join(kept).replace("IDX:0-1", "IDX:6-7")
    lab.run("scontrol", "update", f"jobid={ids['hostile']}", f"name=x\n\n{forged}\n\nJobId={ids['hostile']} JobName=y")
    story.forged = {form: story.live(form) for form in ("json", "text")}


def _requeue_and_cancel(story: Story) -> None:
    """Requeue, preempt, cancel while pending and while running."""
    lab, ids = story.lab, story.ids
    time.sleep(1.1)  # so must the run after the resize, before it is cancelled
    lab.run("scontrol", "requeue", ids["requeue"])
    for kind in ("plain", "multi", "het", "twotypes", "hostile", "resize", "waits", "unstarted", "bridged"):
        lab.run("scancel", ids[kind])
    options = ("-w", "mx01", "--gres=gpu:a100:4", "--qos=urgent")
    ids["urgent"] = lab.submit("sleep 1", *options, user="carol", account="story-nlp", name="urgent")
    lab.wait_state(ids["victim"], "PENDING", timeout=60)
    lab.run("scancel", ids["victim"])  # its second run never starts


def _fail_a_node(story: Story) -> None:
    """A node dies, and its job with it."""
    lab = story.lab
    lab.stop_node("gn02")
    lab.run("scontrol", "update", "nodename=gn02", "state=down", "reason=lab: bad | fan")  # ends `exclusive`
    story.failed = story.live("json")
    time.sleep(1.1)


def _mend(story: Story) -> None:
    lab, ids = story.lab, story.ids
    lab.start_node("gn02")
    lab.wait_state(ids["exclusive"], "PENDING", "CONFIGURING", "RUNNING", timeout=60)
    lab.run("scancel", ids["exclusive"])
