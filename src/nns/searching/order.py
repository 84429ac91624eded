"""The beginning of a ranking: of millions only what somebody may look at is sorted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SORTED = 65_536
"""Networks that are sorted at least: the others of a million are behind these, and nobody looks at their order."""

SAMPLE = 16_384
"""Scores that a bound is taken from."""
TIMES = 2.0
"""Times as many as are wanted are let through by it, so that too few hardly ever are."""


def best_first(
    scores: NDArray[np.floating[Any]],
    count: int,
    first: NDArray[np.int64] | None = None,
    loadable: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """Return the indices of the best ``count`` networks, best first, of equals the smaller first.

    Args:
        scores: (k,) their scores.
        count: How many; all are sorted where there are little more.
        first: Indices that come before all others, in this order.
        loadable: (k,) which come before those that are not; None: none does.
    """
    if len(scores) <= 2 * count:
        order = np.argsort(-scores, kind="stable")
    else:
        wanted = scores if loadable is None else np.where(loadable, scores, np.float32(-np.inf))
        likely = _likely(wanted, count)
        last = np.partition(wanted if likely is None else wanted[likely], -count)[-count:]
        least = last[0]
        # numpy puts what is no number behind all; and so many may not be loadable
        if np.isnan(last).any() or np.isinf(least):
            return best_first(scores, len(scores), first, loadable)
        if first is not None and loadable is not None:  # those that are not come after all that are, far behind
            first = first[loadable[first]]
        order = np.flatnonzero(wanted >= least) if likely is None else likely[wanted[likely] >= least]
        order = order[np.argsort(-wanted[order], kind="stable")]
    if first is not None and len(first):
        order = np.concatenate([first, order[~np.isin(order, first)]])
    if loadable is not None:
        order = order[np.argsort(~loadable[order], kind="stable")]
    return order.astype(np.int64)


def _likely(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.intp] | None:
    """Find more than the best ``count`` by a bound that a sample suggests; None where it suggests none.

    One comparison of each, where a partition copies all of them and goes over them several times.
    """
    some = scores[:: len(scores) // SAMPLE + 1]
    wanted = round(TIMES * count * len(some) / len(scores)) + 1
    if len(scores) < 16 * SAMPLE or 2 * wanted > len(some):
        return None
    found = np.flatnonzero(scores >= np.partition(some, -wanted)[-wanted])
    return found if len(found) >= count else None
