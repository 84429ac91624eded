"""The images of a task as train/, val/ and test/, split as nns splits them, which every peer reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

SPLIT = """
import json, sys
from nns.data import Dataset
dataset = Dataset.open(sys.argv[1])
members, _ = dataset.split_indices(64)
print(json.dumps({split: [str(dataset.items[i].source) for i in where] for split, where in members.items()}))
"""


def lay(task: Path, work: Path, python: Path) -> Path:
    """Link the images of a task into the three folders, once; return where they are."""
    folder = work / "data" / task.name
    if folder.exists():
        return folder
    said = subprocess.run([str(python), "-c", SPLIT, str(task)], check=True, capture_output=True, text=True).stdout
    making = folder.with_name(f".{task.name}")
    shutil.rmtree(making, ignore_errors=True)
    for split, paths in json.loads(said).items():
        for path in map(Path, paths):
            target = making / split / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:
                shutil.copy2(path, target)
    making.rename(folder)
    return folder
