"""The surrogate: what accuracy a pair of dataset and architecture would reach, and how sure that is.

A Gaussian process over pairs whose kernel is a sum of what datasets share (similar queries), what architectures
share (similar graphs and costs), what pairs share in both, and a level of each dataset and of each architecture of
its own. It is fitted anew whenever results come in; with at most some thousand results that takes seconds.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PARTS = ("dataset", "architecture", "pair", "dataset_level", "architecture_level")
"""Summands of the kernel, each with a variance."""

START = np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.1, 1.0, 1.0])
"""Where hyperparameters are most likely before anything is seen: variances of the parts and the noise, two lengths."""

PRIOR_WIDTH = 0.7
"""Standard deviation of the logarithm of a hyperparameter before anything is seen."""

MAX_FITTED = 250
"""Results that hyperparameters are fitted to; all results count for the prediction."""


def squared_distances(rows: FloatArray) -> FloatArray:
    """Pairwise squared distances, scaled so that their median off the diagonal is 1; (n, n)."""
    norms = (rows * rows).sum(axis=1)
    found = np.maximum(norms[:, None] + norms[None] - 2 * rows @ rows.T, 0)
    others = found[~np.eye(len(rows), dtype=bool)]
    scale = np.median(others) if len(others) else 1.0
    result: FloatArray = found / scale if scale > 0 else found
    return result


class Surrogate:
    """Predicts accuracies of pairs.

    Args:
        datasets: Descriptors of the datasets, (D, any).
        architectures: Descriptors of the architectures, (A, any), columns of comparable scale.
        seed: Of the results that hyperparameters are fitted to, where there are too many.
    """

    def __init__(self, datasets: FloatArray, architectures: FloatArray, seed: int = 0) -> None:
        """Store the descriptors."""
        self.dataset_distances = squared_distances(np.asarray(datasets, np.float64))
        self.architecture_distances = squared_distances(np.asarray(architectures, np.float64))
        self.seed = seed

    def fit(self, pairs: IntArray, accuracies: FloatArray) -> Self:
        """Fit hyperparameters by marginal likelihood, and condition on all results.

        Args:
            pairs: (n, 2) indices of dataset and architecture.
            accuracies: (n,) in 0..1.
        """
        from scipy.linalg import cho_factor, cho_solve
        from scipy.optimize import minimize

        pairs, y = np.asarray(pairs, np.int64), np.asarray(accuracies, np.float64)
        self.mean_ = float(y.mean())
        self.scale_ = max(float(y.std()), 0.05)
        target = (y - self.mean_) / self.scale_
        start = np.log(START)
        bounds = (
            [(np.log(1e-3), np.log(10))] * len(PARTS) + [(np.log(1e-3), np.log(1))] + [(np.log(0.1), np.log(10))] * 2
        )
        some = np.arange(len(y))
        if len(y) > MAX_FITTED:
            some = np.sort(np.random.default_rng(self.seed).choice(len(y), MAX_FITTED, replace=False))
        found = minimize(
            self._loss,
            start,
            args=(pairs[some], target[some]),
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 30},
        )
        self.hyperparameters_ = dict(
            zip((*PARTS, "noise", "dataset_length", "architecture_length"), np.exp(found.x), strict=True)
        )
        self._pairs, self._log = pairs, found.x
        self._factor = cho_factor(self._kernel(pairs, pairs, found.x) + self._noise(len(pairs), found.x), lower=True)
        self._weights = cho_solve(self._factor, target)
        return self

    def predict(self, pairs: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the accuracy of pairs, (n,) each; the noise is not in the latter."""
        from scipy.linalg import cho_solve

        cross = self._kernel(np.asarray(pairs, np.int64), self._pairs, self._log)
        prior = np.exp(self._log[: len(PARTS)]).sum()
        variance = prior - (cross * cho_solve(self._factor, cross.T).T).sum(axis=1)
        return self.mean_ + self.scale_ * (cross @ self._weights), self.scale_ * np.sqrt(np.maximum(variance, 1e-6))

    def _kernel(self, left: IntArray, right: IntArray, log: FloatArray) -> FloatArray:
        of_dataset, of_architecture, of_pair, *levels, _, dataset_length, architecture_length = np.exp(log)
        datasets = np.exp(-self.dataset_distances[np.ix_(left[:, 0], right[:, 0])] / dataset_length)
        architectures = np.exp(-self.architecture_distances[np.ix_(left[:, 1], right[:, 1])] / architecture_length)
        found: FloatArray = of_dataset * datasets + of_architecture * architectures
        found += of_pair * datasets * architectures
        for level, column in zip(levels, (0, 1), strict=True):
            found += level * (left[:, None, column] == right[None, :, column])
        return found

    @staticmethod
    def _noise(count: int, log: FloatArray) -> FloatArray:
        noise: FloatArray = (np.exp(log[len(PARTS)]) + 1e-8) * np.eye(count)
        return noise

    def _loss(self, log: FloatArray, pairs: IntArray, target: FloatArray) -> float:
        from scipy.linalg import cho_factor, cho_solve

        try:
            factor = cho_factor(self._kernel(pairs, pairs, log) + self._noise(len(pairs), log), lower=True)
        except np.linalg.LinAlgError:
            return 1e10
        half = 0.5 * float(target @ cho_solve(factor, target))
        prior = 0.5 * float((((log - np.log(START)) / PRIOR_WIDTH) ** 2).sum())
        return half + float(np.log(np.diag(factor[0])).sum()) + prior
