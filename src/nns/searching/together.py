"""Which few networks to fine-tune together: good ones that do not fail on the same datasets.

The best three of a ranking are often three of a kind, and fail as one. What the scores missed on each dataset that the
zoo has results of says which networks fail together: each such dataset is a scenario, the predicted logits plus what
was missed there. Networks are added one by one so that the accuracy of the best of them, averaged over the scenarios,
grows most. Where a network has no result on a dataset, what was missed there is drawn, several times, as widely as what
is known: not knowing is not the same as having been right. This mean of a maximum is submodular, so that adding
greedily comes within a factor 1 - 1/e of the best set (Nemhauser, Wolsey, Fisher: An analysis of approximations for
maximizing submodular set functions, 1978).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from nns.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TOGETHER = 3
"""Networks that are fine-tuned, unless the user says otherwise."""

POOL = 64
"""Best of the ranking that are looked at."""

SCENARIOS = 2048
"""Scenarios, about, where some networks have no result on some datasets."""

CLIP = 1e-4


def choose_together(
    order: Sequence[int] | NDArray[np.int64],
    predicted: NDArray[np.floating],
    residuals: NDArray[np.floating],
    count: int = TOGETHER,
) -> list[int]:
    """Choose networks to fine-tune together; the first of the ranking is always one of them.

    Args:
        order: (k,) indices of the networks in question, best first.
        predicted: (n,) predicted accuracies, 0..1.
        residuals: (d, n) what the scores missed on each of d datasets, in logits; NaN where nothing is known. Where
            all is unknown, the answer is the beginning of the order.
        count: How many, 1 at least.

    Returns:
        Indices, in the order in which they were added; all of the order, if it has no more than ``count``.

    Raises:
        UsageError: If ``count`` is not positive.
    """
    if count < 1:
        raise UsageError(f"at least 1 network has to be chosen, not {count}")
    pool = np.asarray(order, np.int64)[: max(POOL, count)]
    missed = residuals[:, pool].astype(np.float64)
    if np.isnan(missed).all() or len(pool) <= count:
        return [int(index) for index in pool[:count]]
    expected = logit(np.clip(predicted[pool].astype(np.float64), CLIP, 1 - CLIP))
    scenarios = expit(expected + _scenarios(missed))
    chosen, best = [0], scenarios[:, 0]
    while len(chosen) < count:
        gains = np.maximum(best[:, None], scenarios).mean(axis=0)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, scenarios[:, chosen[-1]])
    return [int(index) for index in pool[chosen]]


def _scenarios(missed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill in what is not known of (d, k), NaN, by independent normal draws: (d, k), or (2 d r, k) if any is missing.

    Draws come in pairs of opposite sign. A place in the ranking always has the same ones, so that a search is the same
    again, and networks that are left out at its end change nothing for the others.
    """
    unknown = np.isnan(missed)
    if not unknown.any():
        return missed
    spread = np.sqrt(np.mean(missed[~unknown] ** 2))
    half = np.repeat(missed, max(1, SCENARIOS // (2 * len(missed))), axis=0)
    drawn = spread * _draws(half.shape)
    return np.concatenate([np.where(np.isnan(half), sign * drawn, half) for sign in (1, -1)])


@lru_cache(maxsize=2)  # a megabyte each; the searches of a service ask for the same
def _draws(shape: tuple[int, int]) -> NDArray[np.float64]:
    draws: NDArray[np.float64] = np.random.default_rng(0).standard_normal(shape[::-1]).T
    return draws
