"""Many images at once: serial where they are few or small, on threads where threads pay.

Pillow releases the interpreter while it decodes and resizes, so threads are enough for photographs, and
need neither a guarded ``__main__`` nor a start-up. A pool of processes takes longer to start than five
hundred small images take to decode: ``benchmarks/images/decoding.py``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    if workers <= 1 or len(chunks) <= 1:
        for done, source in enumerate(sources, 1):
            yield function(source)
            if progress and (done % _CHUNK == 0 or done == len(sources)):
                progress(done, len(sources))
        return
    done = 0
    pool = ThreadPoolExecutor(workers)
    try:
        for results in _ahead(pool, lambda chunk: [function(source) for source in chunk], chunks, 2 * workers):
            yield from results
            done += len(results)
            if progress:
                progress(done, len(sources))
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor,
    apply: Callable[[Sequence[ImageSource]], list[_R]],
    chunks: Sequence[Sequence[ImageSource]],
    most: int,
) -> Iterator[list[_R]]:
    """Map in order, at most so many chunks ahead: the pool's own map would hold what a slow disk has not taken yet."""
    waiting: deque[Future[list[_R]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(apply, chunk))
        if len(waiting) >= most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def decode_each(
    sources: Sequence[ImageSource],
    size: int,
    workers: int | None = None,
    progress: Progress | None = None,
    opener: Opener = open_image,
    rendered: Rendered | None = None,
) -> Iterator[NDArray[np.uint8] | str]:
    """Decode images at one size, holding a few at a time.

    Args:
        sources: Where they are.
        size: Side of the decoded square in pixels.
        workers: Threads; None chooses, 0 or 1 is serial.
        progress: Told after every few images.
        opener: Opens an image.
        rendered: Gives the rendering of their dataset; None: each image's own.

    Yields:
        Each image, (3, size, size) uint8, or why it cannot be read.
    """
    return map_sources(lambda source: try_decode(source, size, opener, rendered), sources, workers, progress)


def decode_many(
    sources: Sequence[ImageSource], size: int, workers: int | None = None, rendered: Rendered | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Decode images into one array; arguments as for :func:`decode_each`.

    Returns:
        (n, 3, size, size) uint8, zeros where an image cannot be read; and for each image the reason,
        ``""`` where it was read.
    """
    images = np.zeros((len(sources), 3, size, size), dtype=np.uint8)
    reasons = [""] * len(sources)
    for index, result in enumerate(decode_each(sources, size, workers, rendered=rendered)):
        if isinstance(result, str):
            reasons[index] = result
        else:
            images[index] = result
    return images, reasons
