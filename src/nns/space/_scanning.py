"""Exact scores of millions of networks: a product with each embedding, as fast as memory gives them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from nns.threads import reading_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nns.space._base import SpaceMethod
    from nns.space._data import FloatArray, IntArray

AT_ONCE = 65_536
"""Networks that are scored by one call: the same whatever the number of threads, so that scores are the same, too."""

SCATTERED = 8
"""Times as long that a row takes which is gathered from somewhere in memory (measured: 5 to 9 at 128 numbers a row)."""


def score_rows(method: SpaceMethod, query: FloatArray, embeddings: FloatArray, rows: IntArray) -> FloatArray:
    """Score the networks at ``rows``, ascending: by a pass over all of them, or over those alone where they are few.

    Args:
        method: What scores.
        query: Embedding of a dataset, (dim,).
        embeddings: (n, dim).
        rows: (k,) rows of it.

    Returns:
        (k,) scores, exact: the index of :mod:`nns.searching.index` is for when that is too slow.
    """
    count = len(embeddings)
    if count <= AT_ONCE:  # to gather them costs more than the product with all
        return method.score(query, embeddings)[rows]
    scores = np.empty(len(rows), np.float32)
    if len(rows) * SCATTERED < count:  # blocks of those that are asked for, wherever they are

        def gather(part: slice) -> None:
            scores[part] = method.score(query, embeddings[rows[part]])

        in_blocks(gather, len(rows))
        return scores
    edges = np.searchsorted(rows, np.arange(0, count + AT_ONCE, AT_ONCE))

    def scan(part: slice) -> None:
        first, last = edges[part.start // AT_ONCE], edges[part.start // AT_ONCE + 1]
        if first < last:
            # picked out while they are in the cache: to pick among all afterwards is a pass of its own
            found = method.score(query, embeddings[part])
            scores[first:last] = found if last - first == len(found) else found[rows[first:last] - part.start]

    in_blocks(scan, count)
    return scores


def in_blocks(work: Callable[[slice], None], count: int) -> None:
    """Call ``work`` for each block of ``count`` rows, on as many threads as there are cores for this process."""
    blocks = [slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    threads = min(reading_threads(), len(blocks))
    if threads <= 1:
        for each in blocks:
            work(each)
        return
    with ThreadPoolExecutor(threads) as pool:  # the product leaves the interpreter to other threads
        for _ in pool.map(work, blocks):
            pass


def smallest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Return the indices of the smallest values, smallest first, of equals the first index first."""
    if len(values) > count:
        least = np.partition(values, count - 1)[count - 1]
        chosen = np.flatnonzero(values <= least)
        return chosen[np.argsort(values[chosen], kind="stable")][:count]
    return np.argsort(values, kind="stable")
