"""``python -m dashboards`` (``make dashboards``): write every board as JSON."""

from __future__ import annotations

from pathlib import Path

from dashboards.boards import texts

FOLDER = Path(__file__).parent / "json"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")
        print(FOLDER / f"{name}.json")
