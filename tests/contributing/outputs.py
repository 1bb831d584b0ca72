"""``python -m tests.contributing.outputs FOLDER``: one October in every place where somebody reads it, as JSON.

``csv`` and ``summary`` are the files of `meterbridge statement`, ``notes`` its text; ``api``, ``api_csv`` and
``api_summary`` are what the service answers; ``charge`` is what its metrics say that each project pays; ``closed`` and
``checked`` are what `meterbridge close` and then `check` print.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
import time
from pathlib import Path

import httpx2

from accounting.service import site_service
from accounting.store.schema import open_ledger
from tests.accounting.october import Site, october

TOKEN = "recipe" * 8
TOKENS = f"""
tokens:
  - {{name: finance, role: admin, sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}}}
"""
CHARGE = re.compile(r'^meterbridge_ledger_project_charge\{.*project="(\w+)"\} (\S+)$', re.MULTILINE)


def main(folder: Path) -> None:
    engine = open_ledger(f"sqlite:///{folder / 'ledger.db'}")
    site = october(engine, folder)
    chargeback, summary, notes = (body.decode() for body in site.month("2026-10"))
    told = {
        "csv": list(csv.DictReader(chargeback.splitlines())),
        "summary": list(csv.DictReader(summary.splitlines())),
        "notes": notes,
        **served(site),
        "closed": site.run("close", "2026-10"),
        "checked": site.run("check"),
    }
    engine.dispose()
    print(json.dumps(told))


def served(site: Site) -> dict[str, object]:
    """What a service of the same books answers."""
    tokens = site.folder / "tokens.yaml"
    tokens.write_text(TOKENS)
    site.extra = f"service: {{listen: '127.0.0.1:0', tokens_file: {tokens}}}\n"
    server = site_service.service(site.config())
    server.start()
    try:
        paths = {"api": "", "api_summary": "/summary", "api_csv": "/chargeback.csv"}
        found = {name: ask(server.url, f"/api/v1/statements/2026-10{path}").text for name, path in paths.items()}
        charge: dict[str, str] = {}
        give_up = time.monotonic() + 60
        while not charge and time.monotonic() < give_up:
            charge = dict(CHARGE.findall(ask(server.url, "/api/v1/metrics").text))
            time.sleep(0.1)
    finally:
        server.stop()
    return {
        "api": json.loads(found["api"])["lines"],
        "api_summary": json.loads(found["api_summary"])["rows"],
        "api_csv": list(csv.DictReader(found["api_csv"].splitlines())),
        "charge": charge,
    }


def ask(url: str, path: str) -> httpx2.Response:
    answer = httpx2.get(url + path, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    answer.raise_for_status()
    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
