"""The normalised volume under a dataset's Pareto curve of accuracy against costs, and what a network may add to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def normalised_costs(costs: FloatArray) -> FloatArray:
    """Bring costs to 0..1 on a log scale, each column by the range of all candidates.

    Args:
        costs: (architectures, kinds), positive: parameters, MACs, seconds.

    Returns:
        (architectures, kinds); a kind in which all are the same is 0.
    """
    logs = np.log(costs)
    low, high = logs.min(axis=0), logs.max(axis=0)
    found: FloatArray = (logs - low) / np.where(high > low, high - low, 1.0)
    return found


@dataclass(frozen=True)
class Volume:
    """The volume under the Pareto curve of one dataset: best accuracy within each limit, averaged over limits.

    With one kind of cost this is the area under the curve of accuracy against log cost; with several, limits are
    points of a low-discrepancy sequence in the unit cube of normalised costs. 0 without a network, 1 at most.

    Attributes:
        limits: (points, kinds) limits at which the curve is looked at.
        within: (architectures, points) whether an architecture keeps each limit.
    """

    limits: FloatArray
    within: NDArray[np.bool_]

    @classmethod
    def of(cls, costs: FloatArray, points: int = 256) -> Volume:
        """Lay limits over the range of the candidates' costs, (architectures, kinds)."""
        from scipy.stats import qmc

        kinds = costs.shape[1]
        if kinds == 1:
            limits = ((np.arange(points) + 0.5) / points)[:, None]
        else:
            limits = qmc.Sobol(kinds, scramble=False).random(points) + 0.5 / points
        within = np.all(normalised_costs(costs)[:, None, :] <= limits[None] + 1e-12, axis=2)
        return cls(limits, np.asarray(within))

    def curve(self, architectures: Sequence[int], accuracies: Sequence[float]) -> FloatArray:
        """Return the best accuracy within each limit, (points,)."""
        best = np.zeros(len(self.limits))
        for architecture, accuracy in zip(architectures, accuracies, strict=True):
            np.maximum(best, np.where(self.within[architecture], accuracy, 0.0), out=best)
        return best

    def expected_gain(self, curve: FloatArray, mean: FloatArray, deviation: FloatArray) -> FloatArray:
        """Expected growth of the volume by each architecture, (architectures,), its accuracy being normal.

        Expected improvement in closed form at each limit (Jones et al., 1998), averaged over the limits.
        """
        from scipy.stats import norm

        spread = np.maximum(deviation, 1e-9)[:, None]
        distance = (mean[:, None] - curve[None]) / spread
        improvement = spread * (distance * norm.cdf(distance) + norm.pdf(distance))
        found: FloatArray = (improvement * self.within).mean(axis=1)
        return found
