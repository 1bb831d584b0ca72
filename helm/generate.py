"""What the chart holds that is made from something else: ``python -m helm.generate`` (``make chart``).

* ``files/rules`` and ``files/dashboards``: a chart cannot reach outside its folder, so it has copies. Of the rules with
  their ``${name}`` left in place, which the chart's values fill in; ``files/words.yaml`` has what is shipped;
* ``values.schema.json``: Helm refuses a value that is not known or of the wrong type, with its name;
* ``README.md``: every value, from the comments of ``values.yaml``.

A test compares all of them with what this makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from alerts.files import render as render_rules
from alerts.generate import unfilled
from alerts.thresholds import load

CHART = Path(__file__).parent / "meterbridge"
PROJECT = CHART.parent.parent

FREE = {
    "config", "resources", "nodeSelector", "affinity", "labels", "annotations", "podLabels", "podAnnotations",
    "thresholds",
}  # fmt: skip
"""Mappings that may hold any key."""

CHOICES: Mapping[str, list[Any]] = {
    "image.pullPolicy": ["IfNotPresent", "Always", "Never"],
    "accounting.ledger": ["sqlite", "postgresql"],
    "web.scheme": ["http", "https"],
}
PATTERNS = {"image.digest": "^(sha256:[0-9a-f]{64})?$"}
NULLABLE = {"podSecurityContext.fsGroup"}

_HEAD = """\
# The meterbridge chart

```
helm install meterbridge helm/meterbridge --namespace meterbridge --create-namespace --values my-values.yaml
```

`ci/` has complete examples: Kubernetes alone, Slinky, OpenShift AI, and a Slurm outside Kubernetes. The settings under
`config` are those of [docs/configure.md](../../docs/configure.md).

With the ledger in SQLite, exporter and accounting service share one pod and its volume; with PostgreSQL they are pods
of their own. The exporter and the accounting service fit OpenShift's `restricted-v2` and the restricted Pod Security
Standard. The node agent reads the machine's `/sys` and the kubelet's socket, so its namespace must allow host paths.

## Values

Made from the comments of `values.yaml` by `make chart`.

| value | default | meaning |
|---|---|---|
"""


def made() -> dict[Path, str]:
    """Every file that is made, with its text."""
    text = (CHART / "values.yaml").read_text("utf-8")
    values = yaml.safe_load(text)
    found = {
        CHART / "values.schema.json": json.dumps(schema(values), indent=2) + "\n",
        CHART / "README.md": _HEAD + "".join(f"| {row} |\n" for row in _rows(text, values)),
    }
    settings = load()
    for name, rules in unfilled(settings).items():
        found[CHART / "files" / "rules" / f"{name}.yaml"] = render_rules(name, rules)
    thresholds = {name: threshold.text for name, threshold in settings.thresholds.items()}
    found[CHART / "files" / "words.yaml"] = yaml.safe_dump({"thresholds": thresholds}, sort_keys=False)
    for file in sorted((PROJECT / "dashboards" / "json").glob("*.json")):
        found[CHART / "files" / "dashboards" / file.name] = file.read_text("utf-8")
    return found


def schema(values: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the values: types from the defaults, and no key that is not there."""
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the meterbridge chart"}
    found = _schema(values, "")
    found["properties"]["global"] = {"type": "object"}  # Helm hands it to every chart of a parent
    return head | found


def _schema(value: Any, path: str) -> dict[str, Any]:
    if isinstance(value, dict):
        if path.rpartition(".")[2] in FREE:
            return {"type": "object"}
        inner = {key: _schema(v, f"{path}.{key}".lstrip(".")) for key, v in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    if isinstance(value, list):
        return {"type": "array"}
    kind = {bool: "boolean", int: "integer", float: "number", str: "string"}[type(value)]
    found: dict[str, Any] = {"type": [kind, "null"] if path in NULLABLE else kind}
    if path in CHOICES:
        found["enum"] = CHOICES[path]
    if path in PATTERNS:
        found["pattern"] = PATTERNS[path]
    return found


def _rows(text: str, values: Mapping[str, Any]) -> Iterator[str]:
    """A row of the table for every value, from the comment above its key (or above the mapping that it is in)."""
    for path, comment in _comments(text):
        if any(key in FREE for key in path.split(".")[:-1]):
            continue
        value: Any = values
        for key in path.split("."):
            value = value[key]
        if isinstance(value, dict) and value and path.rpartition(".")[2] not in FREE and not _flat(text, path):
            if comment:
                yield f"**`{path}`** | | {comment}"
            continue
        shown = json.dumps(value, ensure_ascii=False)
        yield f"`{path}` | `{shown}` | {comment}"


def _flat(text: str, path: str) -> bool:
    """Whether a mapping is written on one line."""
    return re.search(rf"^ *{re.escape(path.rpartition('.')[2])}: \{{", text, re.MULTILINE) is not None


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Every key by its path, with the comment above it. A comment at the head of a mapping is the mapping's own."""
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if not bare:
            comment = []
        elif bare.startswith("#"):
            comment.append(bare.lstrip("# "))
        elif found := re.match(r"^( *)([\w-]+):", line):
            depth, key = len(found[1]), found[2]
            path = [(d, k) for d, k in path if d < depth]
            path.append((depth, key))
            yield ".".join(k for _, k in path), " ".join(comment)
            comment = []


if __name__ == "__main__":
    for file, content in made().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        print(file.relative_to(PROJECT))
