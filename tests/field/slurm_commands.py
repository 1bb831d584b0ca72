# ruff: noqa: PTH110, PTH118, PTH119, PTH120, PTH123, PTH208
# pathlib takes longer to load than the answer takes
"""A fake sacct, sacctmgr, squeue and scontrol, that says it is one: ``slurm_commands.py PROGRAM FOLDER MODE WORD...``.

It answers from one cluster's folder of a case: jobs.json (rows of sacct in its own field names), queue.json (jobs of
``squeue --json``, numbers plain), nodes.txt, events.txt, config.txt. MODE ``federated`` makes sacct and squeue show the
jobs of every cluster beside the folder unless they are told ``--local``, as ``FederationParameters=fed_display`` does.
sacct selects as the real one: what was eligible before -E and had not ended before -S; by id from the beginning of
time where no -S is given. A row with ``unlisted`` has not reached slurmdbd yet. It imports little: it starts often.
"""

import json
import os
import sys
import time

OFFERED = (
    "JobIDRaw JobID Submit Eligible Start End State AllocTRES NNodes NodeList User UID Account Partition QOS JobName "
    "AdminComment Cluster"
)
ROW = {
    "User": "anna", "UID": "1001", "Account": "acc", "Partition": "gpu", "QOS": "normal", "JobName": "job",
    "AdminComment": "",
}  # fmt: skip
JOB = {
    "name": "job", "user_name": "anna", "user_id": 1001, "account": "acc", "partition": "gpu", "qos": "normal",
    "nodes": "", "node_count": 1, "gres_detail": [], "job_resources": None, "tres_alloc_str": "", "tres_req_str": "",
    "start_time": 0, "resize_time": 0, "array_job_id": 0, "array_task_id": None, "array_task_string": "",
    "het_job_id": 0, "het_job_offset": 0, "admin_comment": "",
}  # fmt: skip
NUMBERS = ("submit_time", "start_time", "resize_time", "node_count", "array_job_id", "array_task_id", "het_job_id",
           "het_job_offset")  # fmt: skip


class Call:
    """One call of one of the commands."""

    def __init__(self, folder: str, federated: bool, words: list[str]) -> None:
        self.folder, self.words = folder, words
        self.own = os.path.basename(folder)
        self.clusters = [self.own]
        if federated and "--local" not in words:
            self.clusters = sorted(os.listdir(os.path.dirname(folder)))

    def option(self, *names: str) -> str:
        """The value of an option, written ``-S X`` or ``--starttime=X``; empty without it."""
        for n, word in enumerate(self.words):
            if word in names:
                return self.words[n + 1]
            if word.partition("=")[0] in names:
                return word.partition("=")[2]
        return ""

    def text(self, name: str, cluster: str = "") -> str:
        path = os.path.join(os.path.dirname(self.folder), cluster or self.own, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()

    def items(self, name: str) -> list[tuple[str, dict]]:
        return [(c, item) for c in self.clusters for item in json.loads(self.text(name, c) or "[]")]


def moment(told: str, otherwise: float) -> float:
    """``2026-11-01T00:00:00`` in epoch seconds, UTC."""
    return time.mktime(time.strptime(told + " UTC", "%Y-%m-%dT%H:%M:%S %Z")) - time.timezone if told else otherwise


def sacct(call: Call) -> None:
    """Rows in the format asked for."""
    if "--helpformat" in call.words:
        print(OFFERED)
        return
    ids = set(filter(None, call.option("-j", "--jobs").split(",")))
    start, end = moment(call.option("-S"), 0.0), moment(call.option("-E"), time.time() + 1)
    fields, delimiter = call.option("--format").split(","), call.option("--delimiter") or "|"
    for cluster, told in call.items("jobs.json"):
        row = {"Cluster": cluster, "JobID": told["JobIDRaw"], "Eligible": told["Submit"], **ROW, **told}
        ended = float(row["End"]) if row["End"].isdigit() else float("inf")
        asked = not ids or row["JobIDRaw"] in ids or row["JobID"].split("_")[0] in ids
        if asked and not told.get("unlisted") and int(row["Eligible"]) < end and ended >= start:
            print(delimiter.join(str(row.get(field, "")) for field in fields))


def squeue(call: Call) -> None:
    """The JSON of ``squeue --json``, as releases since 23.02 write it."""
    jobs = []
    for _, told in call.items("queue.json"):
        job = {**JOB, **told}
        for name in NUMBERS:
            number = job[name]
            job[name] = {"set": number is not None, "infinite": False, "number": int(number or 0)}
        jobs.append(job)
    version = {"major": "24", "micro": "2", "minor": "05"}
    print(json.dumps({"jobs": jobs, "errors": [], "meta": {"slurm": {"version": version}}}))


def main(program: str, folder: str, mode: str, words: list[str]) -> int:
    """Answer one call; the exit status."""
    call = Call(folder, mode == "federated", words)
    if "--version" in words:
        print("slurm 24.05.2")
    elif program == "sacct":
        sacct(call)
    elif program == "squeue" and "--json" in words:
        squeue(call)
    elif program == "scontrol" and "node" in words:
        sys.stdout.write(call.text("nodes.txt"))
    elif program == "scontrol" and "config" in words:
        plain = f"AccountingStorageTRES = cpu,mem,energy,node,billing,gres/gpu\nClusterName = {call.own}\n"
        sys.stdout.write(call.text("config.txt") or plain)
    elif program == "sacctmgr" and "event" in words:
        sys.stdout.write(call.text("events.txt"))
    else:
        print(f"{program}: the fake does not know {' '.join(words)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
