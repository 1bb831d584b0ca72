"""The recording rules for shards, run by Prometheus over three pages: the numbers of one exporter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporters.join.shard import Shard
from exporters.series import TABLE
from tests.exporters.test_shards import COUNT, Site, read
from tests.lab.prometheus import promtool

RULES = Path("alerts/rules/shards.yaml").absolute()
STEP = 15
ROUNDS = 24


def recorded() -> dict[str, str]:
    """The rules: what is recorded, and its expression."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"]: rule["expr"] for rule in group["rules"]}


def series(shard: Shard | None) -> dict[str, list[float]]:
    """What one shard (None: one exporter of all) serves of families that are summed, round by round, by series."""
    site = Site(shard or Shard())
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for family in read(site.step()):
            for labels, value in family.rows:
                pairs = ",".join(f'{name}="{text}"' for name, text in zip(family.labels, labels, strict=True))
                found.setdefault(f"{family.name}{{{pairs}}}", []).append(value)
    return found


def source_of(expression: str) -> str:
    """The family that a rule is made of."""
    return next(name for name in re.findall(r"meterbridge_\w+", expression))


def test_every_family_that_shards_divide_has_its_sum() -> None:
    summed = {source_of(expression) for expression in recorded().values()}
    jobs = {"scheduler", "cluster", "job_id"}
    divided = {
        row.name
        for row in TABLE
        if (jobs <= set(row.labels) or "project" in row.labels or row.name.startswith("meterbridge_fleet_"))
        and row.type != "info"
        and row.merge == "sum"
        and "node" not in row.labels
    }

    assert set() == divided - summed


@pytest.mark.server("prometheus")
def test_the_rules_over_the_shards_say_what_one_exporter_says(tmp_path: Path) -> None:
    whole = series(None)
    inputs = [
        {"series": name.replace("{", f'{{shard="{n}",'), "values": " ".join(f"{v!r}" for v in values)}
        for n in range(COUNT)
        for name, values in series(Shard(n, COUNT)).items()
    ]
    window = 5 * 60
    end = (ROUNDS - 1) * STEP
    checks: list[dict[str, Any]] = []
    for record, expression in recorded().items():
        if not record.endswith(":sum"):
            continue
        source = source_of(expression)
        samples = [
            {"labels": record + name.removeprefix(source), "value": values[-1]}
            for name, values in whole.items()
            if name.startswith(source + "{")
        ]
        checks.append({"expr": record, "eval_time": f"{end}s", "exp_samples": samples})
    for record, expression in recorded().items():
        source = source_of(expression)
        for name in (n for n in whole if record.endswith(":rate") and n.startswith(source + "{")):
            rate = (whole[name][-1] - whole[name][-1 - window // STEP]) / window
            pairs = name.removeprefix(source)
            off = f"abs({record}{pairs} - {rate!r}) <= bool {1e-6 * max(rate, 1.0)!r}"
            checks.append({"expr": off, "eval_time": f"{end}s", "exp_samples": [{"labels": pairs, "value": 1}]})
    case = {"interval": f"{STEP}s", "input_series": inputs, "promql_expr_test": checks}
    file = tmp_path / "shards.test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "15s", "tests": [case]}))

    done = promtool("test", "rules", str(file))

    assert 0 == done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    assert {"project_gpu_energy_joules:rate", "project_rdma_transmit_bytes:rate", "job_rdma_transmit_bytes:rate"} <= {
        str(check["expr"]).partition("{")[0].rpartition("meterbridge_shards:")[2] for check in checks
    }
