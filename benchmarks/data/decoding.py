"""Decoding: serial, threads or processes, on small PNGs and on photographs.

    python benchmarks/data/decoding.py [--images 500] [--repeats 5]

Writes two datasets made of scikit-learn's two sample photographs into a temporary folder: PNGs of 64 px,
and JPEGs of 1024x768. Prints wall time (best and median of the repeats), processor time (least), and for
each decoder the longest time for which it kept all other Python threads waiting: where that is a small
part of its time, threads pay on idle processors. On a busy machine compare processor times only.
"""

from __future__ import annotations

import argparse
import io
import itertools
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from nns.data import Dataset
from nns.data.parallel import choose_workers, decode_many

CLASSES = 10
CHUNK = 32


def write_datasets(root: Path, images: int) -> None:
    """Write ``small/`` and ``photos/``, each of ten class folders."""
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    for number in range(images):
        photo = photos[number % len(photos)]
        left, top = (int(n) for n in generator.integers(0, (150, 60)))
        for kind in ("small", "photos"):
            (root / kind / str(number % CLASSES)).mkdir(parents=True, exist_ok=True)
        small = photo.crop((left, top, left + 200, top + 200)).resize((64, 64))
        small.save(root / "small" / str(number % CLASSES) / f"{number}.png")
        large = photo.crop((left, top, left + 480, top + 360)).resize((1024, 768))
        large.save(root / "photos" / str(number % CLASSES) / f"{number}.jpg", quality=90)


def measure(work: Callable[[], object], repeats: int) -> str:
    """Time some work: best and median wall time, least processor time of this process and its children."""
    walls, used = [], []
    for _ in range(repeats):
        children, own, start = sum(os.times()[2:4]), time.process_time(), time.perf_counter()
        work()
        walls.append(time.perf_counter() - start)
        used.append(time.process_time() - own + sum(os.times()[2:4]) - children)
    return " ".join(f"{1000 * seconds:8.0f}" for seconds in (min(walls), statistics.median(walls), min(used)))


def blocked(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that some work takes, and the longest gap in the ticks of another thread meanwhile."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.002)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    work()
    end = time.perf_counter()
    stop.set()
    thread.join()
    inside = [start, *(moment for moment in ticks if start < moment < end), end]
    return end - start, max(late - early for early, late in itertools.pairwise(inside))


def report_blocking() -> None:
    """Print for each decoder, on an image of 16 million pixels, how long it holds the interpreter."""
    pixels = np.random.default_rng(0).integers(0, 255, (4000, 4000, 3), dtype=np.uint8)
    for format_ in ("JPEG", "PNG", "WEBP", "TIFF", "BMP"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format_)
        seconds, gap = blocked(lambda file=file: Image.open(file).load())
        print(f"decode one {format_:5} {1000 * seconds:6.0f} ms, others wait {1000 * gap:4.0f} ms at most")


def decode_chunk(sources: list[Path], size: int) -> np.ndarray:
    """What a worker process does."""
    return decode_many(sources, size, workers=1)[0]


def decode_in_processes(sources: list[Path], size: int, workers: int) -> None:
    """Decode with a fresh pool of spawned processes, as one command of nns would (forkserver is no faster)."""
    chunks = [sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        np.concatenate(list(pool.map(decode_chunk, chunks, [size] * len(chunks))))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    processors = len(os.sched_getaffinity(0))
    print(f"{processors} processors, load {os.getloadavg()[0]:.1f}, {arguments.images} images")
    report_blocking()
    print(f"{'':34} {'best ms':>8} {'median':>8} {'cpu ms':>8}")

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_datasets(root, arguments.images)
        for kind in ("small", "photos"):
            data = root / kind

            def report(what: str, work: Callable[[], object], kind: str = kind) -> None:
                print(f"{kind:7}{what:27} {measure(work, arguments.repeats)}", flush=True)

            report("Dataset.open", lambda data=data: Dataset.open(data))
            report("Dataset.open, digest", lambda data=data: Dataset.open(data).digest)
            report("decode_splits at 64", lambda data=data: Dataset.open(data).decode_splits(64))
            sources = [item.source for item in Dataset.open(data).items]
            print(f"{kind:7}chosen workers: {choose_workers(sources)}")
            for size in (64, 224):
                report(f"{size} px serial", lambda s=sources, n=size: decode_many(s, n, workers=1))
                for workers in sorted({2, processors}):
                    report(
                        f"{size} px {workers} threads",
                        lambda s=sources, n=size, w=workers: decode_many(s, n, workers=w),
                    )
                report(
                    f"{size} px {processors} processes",
                    lambda s=sources, n=size: decode_in_processes(s, n, processors),
                )


if __name__ == "__main__":
    main()
