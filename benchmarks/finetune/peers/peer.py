"""What the scripts of all peers share: their settings, the clock, how many epochs fit, and the row.

The clock is the processor time of the process, from its first import to the end of the test. The budget is for all of
it, but not for measuring the pace: a user knows that from a run before.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS: dict[str, Any] = json.loads(sys.argv[1])
FOLDER = Path(SETTINGS["folder"])
SECONDS: float = SETTINGS["seconds"]
SEED: int = SETTINGS["seed"]

process_time = time.process_time
_not_counted = 0.0


def used() -> float:
    """Seconds of the budget that are gone."""
    return process_time() - _not_counted


def not_counted(seconds: float) -> None:
    """Leave seconds out of the budget."""
    global _not_counted
    _not_counted += seconds


def fitting_epochs(epoch: float, before: float = 0.0, after: float = 0.0) -> int:
    """Return how many epochs come nearest to the budget, one at least.

    Args:
        epoch: Seconds of one, with its validation.
        before: Seconds that are still needed before the first.
        after: Seconds that are needed after the last: the test.
    """
    return max(1, round((SECONDS - used() - before - after) / epoch))


def images(split: str) -> tuple[list[Path], list[str]]:
    """Return the files of a split and their classes."""
    paths = sorted(path for path in (FOLDER / split).rglob("*") if path.is_file())
    return paths, [path.parent.name for path in paths]


def finish(**row: Any) -> None:
    """Write the row."""
    Path(SETTINGS["out"]).write_text(json.dumps({**row, "used": round(used(), 2)}), encoding="utf-8")
