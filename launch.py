"""The console script: the front door, by the name that is typed."""

from __future__ import annotations

from meterbridge import main as front_door


def main() -> None:
    """Run the front door."""
    front_door(prog_name="meterbridge")


if __name__ == "__main__":
    main()
