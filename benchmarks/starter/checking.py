"""Assert that nothing excluded is in the data: by digests of pixels, by thumbnails, by names of sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from starter.excluded import Twins, is_held, measuring_tasks

CHUNK = 8192


def main(crops: Path) -> None:
    """Look at every picture in the joined arrays.

    Raises:
        SystemExit: If one is, or is a twin of, a picture of a task that measures.
        FileNotFoundError: If such a task was never read, so that nothing could be compared with it.
    """
    with np.load(crops / "index.npz") as index:
        names = [str(name) for name in index["names"]]
        source = index["source"]
    wrong = [name for name in names if name.startswith("bank-") and is_held(name.removeprefix("bank-"))]
    if wrong:
        raise SystemExit(f"sources that are to be left out: {', '.join(wrong)}")
    folders = [crops / "sources" / f"bank-{task}" / "64.npy" for task in sorted(measuring_tasks())]
    twins = Twins(np.concatenate([np.load(path) for path in folders]))  # a missing task raises here
    images = np.load(crops / "images64.npy", mmap_mode="r")
    found = 0
    for start in range(0, len(images), CHUNK):
        twin = twins.find(np.asarray(images[start : start + CHUNK]))
        found += int(twin.sum())
        for place in start + np.flatnonzero(twin):
            print(f"picture {place} of {names[source[place]]} is one of a task that measures")
    if found:
        raise SystemExit(f"{found} of {len(images)} pictures are excluded ones")
    print(f"none of {len(images)} pictures is one of the {len(twins.digests)} of the {len(folders)} tasks that measure")
