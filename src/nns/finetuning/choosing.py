"""Which of several trained networks to go on with: what validation says, weighed against what was expected of them.

Twenty-five validation images tell two networks apart by ten points at best, and the search's order is not that wrong.
So differences from the first candidate count, on the same images, each with its error: the posterior mean of a normal
difference with the expected one as its prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOUBT = 0.1
"""Standard deviation of how far networks are apart, less what a search expects of that (benchmarks/finetune)."""
TRUST = 0.5
"""Share of an expected difference that comes true, in the mean: the first of many is the luckiest one, too."""
TELLING = 20
"""Validation images with which trying several networks can be worth their time."""


def gains(
    expected: Sequence[float | None], right: Sequence[NDArray[np.bool_]], labels: NDArray[np.int64], *, skewed: bool
) -> NDArray[np.float64]:
    """Estimate how much better than the first each of several networks is.

    Args:
        expected: (k,) accuracies that were expected, 0..1; where one is unknown, all are expected to be alike.
        right: (k,) whether each of n validation images is classified rightly, (n,).
        labels: (n,) classes of the images.
        skewed: Whether each class counts alike, not each image.

    Returns:
        (k,) expected differences of the accuracy, 0 for the first; where nothing was measured, of what was expected.
    """
    known = [each for each in expected if each is not None]
    prior = TRUST * (np.array(known) - known[0]) if len(known) == len(expected) else np.zeros(len(expected))
    if not len(labels):
        return prior
    weights = np.full(len(labels), 1 / len(labels))
    if skewed:
        counts = np.bincount(labels)
        weights = 1 / (counts[labels] * np.count_nonzero(counts))
    differences = np.stack([each.astype(np.float64) - right[0] for each in right])
    measured = differences @ weights
    # one image more that is told otherwise: none that differ are no proof that there is no difference
    error = (differences**2) @ weights**2 + (weights**2).mean()
    found: NDArray[np.float64] = (prior * error + measured * DOUBT**2) / (error + DOUBT**2)
    found[0] = 0.0
    return found
