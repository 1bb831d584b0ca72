"""Fake /sys trees, unpacked from one text file each (tests/testdata/sysfs)."""

from __future__ import annotations

from pathlib import Path

TREES = Path(__file__).parents[2] / "testdata" / "sysfs"
NAMES = tuple(sorted(path.stem for path in TREES.glob("*.tree")))


def unpack(name: str, root: Path) -> Path:
    """Make the tree ``name`` below ``root``; the root of it.

    A line is ``path = text`` (a file), ``path -> target`` (a symbolic link) or ``path/`` (a folder).
    """
    root.mkdir(parents=True, exist_ok=True)
    for line in (TREES / f"{name}.tree").read_text().splitlines():
        path, arrow, target = line.partition(" -> ")
        if line.startswith("#"):
            continue
        if arrow:
            _above(root / path).symlink_to(target)
        elif line.endswith("/"):
            _above(root / line).mkdir(exist_ok=True)
        else:
            path, _, text = line.partition(" = ")
            _above(root / path).write_text(f"{text}\n" if text else "")
    return root


def _above(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
