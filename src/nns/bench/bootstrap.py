"""Whether a chooser is better than another: a paired bootstrap over datasets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

MIN_DATASETS = 8
"""Datasets below which nothing is called better."""

DRAWS = 10_000
TIE = 1e-9
"""Points of regret below which two are equal."""


@dataclass(frozen=True)
class Comparison:
    """A chooser beside another, on the same datasets.

    Attributes:
        mean: Mean difference of regret in points; negative: less regret.
        low: Lower end of the 95 % interval of it.
        high: Upper end.
        wins: Datasets with less regret.
        ties: With the same.
        losses: With more.
        verdict: ``"better"`` or ``"worse"`` if the interval excludes 0 on enough datasets, else ``"undecided"``.
    """

    mean: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int
    verdict: str


def compare(regret: NDArray[np.float64], other: NDArray[np.float64], seed: int = 0, draws: int = DRAWS) -> Comparison:
    """Compare the regrets of two choosers on the same datasets.

    Efron, Tibshirani: An Introduction to the Bootstrap, 1993, percentile interval.

    Args:
        regret: (n,) points, of a chooser.
        other: (n,) points, of the one that it is compared with.
        seed: Of the draws.
        draws: How many.
    """
    difference = np.asarray(regret, np.float64) - np.asarray(other, np.float64)
    difference[np.abs(difference) <= TIE] = 0.0
    mean = float(difference.mean()) if len(difference) else float("nan")
    low = high = mean
    if len(difference) > 1 and np.ptp(difference) > 0:
        found = bootstrap(
            (difference,),
            np.mean,
            n_resamples=draws,
            method="percentile",
            confidence_level=0.95,
            vectorized=True,
            random_state=np.random.default_rng(seed),
        )
        low, high = map(float, found.confidence_interval)
    verdict = "undecided"
    if len(difference) >= MIN_DATASETS:
        verdict = "better" if high < 0 else "worse" if low > 0 else verdict
    wins, losses = int((difference < 0).sum()), int((difference > 0).sum())
    return Comparison(mean, low, high, wins, len(difference) - wins - losses, losses, verdict)
