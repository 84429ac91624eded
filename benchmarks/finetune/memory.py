"""Memory of a decoded dataset, and the speed of training from a mapped file beside that from memory.

    python benchmarks/finetune/memory.py FOLDER --images 20000 --size 224

makes the images in FOLDER if it is not there; then prints the peak over what the process had, as a multiple of the
decoded size, and images a second from both, by turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from nns.backends.seeding import seeded
from nns.data import Dataset, room
from nns.finetuning import Recipe
from nns.finetuning._run import Run
from nns.plugins import load_plugins
from nns.types import LabelledArrays, SplitArrays

CLASSES = 10


def make_images(folder: Path, count: int, size: int) -> None:
    """Write soft noise, a little of it the same in each class."""
    rng = np.random.default_rng(0)

    def soft(cells: int) -> Image.Image:
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((size, size), Image.Resampling.BILINEAR)

    base = [soft(12) for _ in range(CLASSES)]
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.blend(base[number % CLASSES], soft(16), 0.6).save(path, quality=85)


def status(name: str) -> int:
    """Read a number of kilobytes of /proc/self/status; bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--network", default="lcnet_050", help="a quick one: the worst case for reading")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--held", action="store_true", help="measure the peak of what is held in memory, no more")
    args = parser.parse_args()
    if not args.folder.exists():
        make_images(args.folder, args.images, args.size)
    dataset = Dataset.open(args.folder)
    print(dataset, dataset.digest[:10])
    decoded, before = len(dataset) * 3 * args.size**2, status("VmRSS")
    room.available_memory = lambda: 2**60 if args.held else 0.0
    began = time.perf_counter()
    stored, _ = dataset.decode_splits(args.size)
    kind = type(stored.train.images).__name__
    peak = (status("VmHWM") - before) / decoded
    print(f"{decoded / 1e6:.0f} MB into {kind} in {time.perf_counter() - began:.0f} s, peak {peak:.2f} times that")
    if args.held:
        return
    train = LabelledArrays(np.array(stored.train.images), stored.train.labels)
    held = SplitArrays(stored.name, stored.classes, train, stored.val, None)
    timm = load_plugins().backend("timm")
    spec = replace(timm.offers(args.network)[0], source="random")
    runs, rates = {}, {"memory": [], "mapped": []}
    for name, data in (("memory", held), ("mapped", stored)):
        with seeded(0):
            network = timm.build(spec, CLASSES)
            runs[name] = Run(network, data, timm.preprocessing(spec, args.size), Recipe(device="cpu"), "cpu")
    for turn in range(args.turns + 1):
        for name in (("memory", "mapped"), ("mapped", "memory"))[turn % 2]:
            began = time.perf_counter(), time.process_time()
            with seeded(turn):
                runs[name].train_epoch(turn + 1, max_steps=args.steps)
            if turn:  # the first pays for memory
                spent = time.perf_counter() - began[0], time.process_time() - began[1]
                rates[name].append([32 * args.steps / each for each in spent])
    for which, what in enumerate(("wall clock", "processor time")):
        ratio = statistics.median(b[which] / a[which] for a, b in zip(rates["memory"], rates["mapped"], strict=True))
        middle = {name: round(statistics.median(each[which] for each in found), 1) for name, found in rates.items()}
        print(f"images/s of {what}: {middle}, median of the ratios {ratio:.3f}")
    print("the same losses:", float(runs["memory"].loss) == float(runs["mapped"].loss))


if __name__ == "__main__":
    main()
