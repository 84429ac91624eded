"""Which few networks to fine-tune together: good ones that do not fail on the same datasets.

The best three of a ranking are often three of a kind, and fail as one. What the scores missed on each dataset that the
zoo has results of says which networks fail together: each such dataset is a scenario, the predicted logits plus what
was missed there. Networks are added one by one so that the accuracy of the best of them, averaged over the scenarios,
grows most. This mean of a maximum is submodular, so that adding greedily comes within a factor 1 - 1/e of the best set
(Nemhauser, Wolsey, Fisher: An analysis of approximations for maximizing submodular set functions, 1978).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TOGETHER = 3
"""Networks that are fine-tuned, unless the user says otherwise."""

POOL = 64
"""Best of the ranking that are looked at."""

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
        residuals: (d, n) what the scores missed on each of d datasets, in logits; 0 where nothing is known. Without
            datasets the answer is the beginning of the order.
        count: How many.

    Returns:
        Indices, in the order in which they were added; all of the order, if it has no more than ``count``.
    """
    pool = np.asarray(order, np.int64)[:POOL] if count <= POOL else np.asarray(order, np.int64)
    if not len(residuals) or len(pool) <= count:
        return [int(index) for index in pool[:count]]
    expected = logit(np.clip(predicted[pool].astype(np.float64), CLIP, 1 - CLIP))
    scenarios = expit(expected + residuals[:, pool].astype(np.float64))
    chosen, best = [0], scenarios[:, 0]
    while len(chosen) < count:
        gains = np.maximum(best[:, None], scenarios).mean(axis=0)
        gains[chosen] = -1.0
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, scenarios[:, chosen[-1]])
    return [int(index) for index in pool[chosen]]
