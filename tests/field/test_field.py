"""Situations that real sites met, each with its source and the right value: `cases/NNN-name/`.

case.yaml says ``title``, ``situation``, ``source``, ``kind``, ``T0`` (a time, or ``now-2h``), ``steps`` and ``expect``;
with ``federation: true`` the clients of each Slurm cluster show all clusters. Beside it: settings.yaml (laid over the
settings of `tests.field.case`; a map below ``slurm`` goes to each cluster), slurm/CLUSTER/
(`tests.field.slurm_commands`), kube.yaml (lists of nodes, pods, resourceslices, resourceclaims), pages/NAME (an
endpoint at @URL@/pages/NAME), and folders that the step ``files`` lays over them. In all of them @T0+1h30m@ is epoch
seconds, @iso:T0@ @day:T0-1d@ @month:T0@ are texts, NOW is when the file is taken over, and @URL@, @PORT@, @DIR@ are the
fake API server and the case's own folder.

Steps: ``once``, ``watch: ROUNDS``, ``stop``, ``books`` (ingest, reconcile, statement), ``files: FOLDER`` (``expire:
true``: 410 Gone), ``settings``, ``sql``, ``write``, ``serve``, ``get``; every other text is a command line of
meterbridge (``run: text``, ``as: NAME``, ``fsize: BYTES`` that a file may have). Checks: `tests.field.checks`.

`siblings/KIND.yaml` are other inputs of the same kinds, several documents in a file: what case.yaml says, without the
prose, and the case's files by their paths below ``files``.

The data are synthetic, written after what the named sources tell; the commands and the API server are fakes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.field.case import HERE, Case, dump
from tests.field.checks import wrong
from tests.field.cluster import Cluster

pytestmark = pytest.mark.slow

CASES = {path.parent.name: path.parent for path in sorted((HERE / "cases").glob("*/case.yaml"))}
SIBLINGS = {
    f"{path.stem}, {told['title']}": told
    for path in sorted((HERE / "siblings").glob("*.yaml"))
    for told in yaml.safe_load_all(path.read_text())
}


@pytest.mark.parametrize("told", (CASES | SIBLINGS).values(), ids=(CASES | SIBLINGS).keys())
def test_a_case_of_the_field(told: Path | dict[str, Any], tmp_path: Path) -> None:
    with Cluster() as cluster:
        case = Case(told, tmp_path, cluster)
        case.run()

        assert [] == [fault for check in case.about["expect"] if (fault := wrong(case, check))], dump(case)
