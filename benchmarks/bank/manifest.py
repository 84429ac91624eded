"""``OUT/manifest.json``: what is in the bank, rewritten after every task so that others can start early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bank.layout import FORMAT, RECORDS, Laid, read_record, write_json
from bank.packages import Shelf
from bank.tools import tool_versions


def read_laid(out: Path) -> list[Laid]:
    """Every task that is laid out under ``out``, by name."""
    names = sorted(path.stem for path in (out / RECORDS).glob("*.json"))
    records = (read_record(out, name) for name in names if (out / name).is_dir())
    return [record for record in records if record]


def write_manifest(out: Path, laid: Iterable[Laid], shelf: Shelf, short: dict[str, str]) -> None:
    """Write the manifest of the tasks; ``short`` tells of each task left out, and why."""
    tasks = sorted(laid, key=lambda task: task.name)
    write_json(
        out / "manifest.json",
        {
            "format": FORMAT,
            "tools": tool_versions(shelf),
            "totals": {
                "tasks": len(tasks),
                "images": sum(task.images for task in tasks),
                "bytes": sum(task.bytes for task in tasks),
                "classes": sum(len(task.classes) for task in tasks),
                "families": dict(sorted(Counter(task.family for task in tasks).items())),
            },
            "left_out": short,
            "tasks": [asdict(task) for task in tasks],
        },
    )
