"""Many images at once: serial where they are few or small, on threads where threads pay.

Pillow releases the interpreter while it decodes and resizes, so threads are enough for photographs, and
need neither a guarded ``__main__`` nor a start-up. A pool of processes takes longer to start than five
hundred small images take to decode: ``benchmarks/images/decoding.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nns.data.decoding import Opener, try_decode
from nns.data.items import ImageSource
from nns.data.reading import open_image
from nns.data.rendering import Rendered

Progress = Callable[[int, int], None]
"""``progress(done, total)``, called in the caller's thread."""

_CHUNK = 16
_SAMPLED = 16
_THREADS_FROM_BYTES = 4_000_000  # in all: a twentieth of a second of decoding
_THREADS_FROM_MEAN = 16_000  # bytes a file: below, the interpreter is the bottleneck, and it is one
_MAX_WORKERS = 16

_R = TypeVar("_R")


def choose_workers(sources: Sequence[ImageSource]) -> int:
    """Choose a number of threads by the bytes that there are to decode, estimated from a few files.

    Returns:
        1 for serial. Images in memory are always serial: torchvision's datasets are not made for threads.
    """
    if len(sources) <= _CHUNK or not all(isinstance(source, Path) for source in sources):
        return 1
    sample = [s for s in sources[:: max(1, len(sources) // _SAMPLED)] if isinstance(s, Path)]
    mean_bytes = sum(os.path.getsize(path) for path in sample if path.is_file()) / len(sample)
    if mean_bytes < _THREADS_FROM_MEAN or mean_bytes * len(sources) < _THREADS_FROM_BYTES:
        return 1
    return min(_MAX_WORKERS, _processors())


def _processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_sources(
    function: Callable[[ImageSource], _R],
    sources: Sequence[ImageSource],
    workers: int | None = None,
    progress: Progress | None = None,
) -> Iterator[_R]:
    """Apply a function to every source, in order.

    Args:
        function: Called in several threads.
        sources: Where the images are.
        workers: Threads; None chooses, 0 or 1 is serial.
        progress: Told after every few images.

    Yields:
        The results, in the order of the sources.
    """
    workers = choose_workers(sources) if workers is None else workers
    chunks = [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]

    def apply(chunk: Sequence[ImageSource]) -> list[_R]:
        return [function(source) for source in chunk]

    done = 0
    pool = ThreadPoolExecutor(workers) if workers > 1 and len(chunks) > 1 else None
    try:
        for results in pool.map(apply, chunks) if pool else map(apply, chunks):
            yield from results
            done += len(results)
            if progress:
                progress(done, len(sources))
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def decode_many(
    sources: Sequence[ImageSource],
    size: int,
    workers: int | None = None,
    progress: Progress | None = None,
    opener: Opener = open_image,
    rendered: Rendered | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode images at one size.

    Args:
        sources: Where they are.
        size: Side of the decoded square in pixels.
        workers: Threads; None chooses, 0 or 1 is serial.
        progress: Told after every few images.
        opener: Opens an image.
        rendered: Gives the rendering of their dataset; None: each image's own.

    Returns:
        (n, 3, size, size) uint8, zeros where an image cannot be read; and for each image the reason,
        ``""`` where it was read.
    """
    images = np.zeros((len(sources), 3, size, size), dtype=np.uint8)
    reasons = [""] * len(sources)
    decoded = map_sources(lambda source: try_decode(source, size, opener, rendered), sources, workers, progress)
    for index, result in enumerate(decoded):
        if isinstance(result, str):
            reasons[index] = result
        else:
            images[index] = result
    return images, reasons
