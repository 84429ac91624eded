"""The images of a task as train/, val/ and test/, split as nns splits them, which every peer reads.

Transparent images are laid onto white: fastai and the usual scripts drop the alpha channel, and what stands under it in
many PNGs is garbage. nns does it by itself; that it does is not what is measured here.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

LAY = """
import os, shutil, sys
from pathlib import Path
from PIL import Image
from nns.data import Dataset
dataset, making = Dataset.open(sys.argv[1]), Path(sys.argv[2])
members, _ = dataset.split_indices(64)
for split, indices in members.items():
    for path in (dataset.items[index].source for index in indices):
        target = making / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            if not image.has_transparency_data:
                shutil.copy2(path, target)
                continue
            pixels = image.convert("RGBA")
        ground = Image.new("RGBA", pixels.size, "white")
        Image.alpha_composite(ground, pixels).convert("RGB").save(target.with_suffix(".png"))
"""


def lay(task: Path, work: Path, python: Path) -> Path:
    """Copy the images of a task into the three folders, once; return where they are."""
    folder = work / "data" / task.name
    if folder.exists():
        return folder
    making = folder.with_name(f".{task.name}")
    shutil.rmtree(making, ignore_errors=True)
    subprocess.run([str(python), "-c", LAY, str(task), str(making)], check=True)
    making.rename(folder)
    return folder
