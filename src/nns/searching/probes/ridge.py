"""A linear probe in closed form: ridge regression on class indicators, each image left out in its turn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nns.searching.probes._base import Probe
from nns.searching.probes._checks import checked

PENALTIES = tuple(float(10**power) for power in range(-4, 4))
"""Ridge penalties that compete, as shares of the mean eigenvalue of the features' Gram matrix."""


def ridge_accuracy(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Estimate the accuracy of a linear classifier on frozen features, 0..1.

    Leave-one-out predictions of a ridge regression come from one eigendecomposition of the (n, n) Gram matrix; the
    penalty with the smallest leave-one-out squared error is taken, the accuracy is that of its predictions. The
    intercept stays that of all images: without its own image a class looks rarer than it is, so that features which
    say nothing would get every image wrong instead of every second one.

    Source: Golub, Heath, Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter", 1979:
    the residual of a left-out row is its residual divided by 1 - h, h its diagonal entry of the hat matrix.

    Args:
        features: (n, d) of n images.
        labels: (n,) class indices.

    Raises:
        UsageError: As all scores: fewer than three images or two classes.
    """
    rows, members = checked(features, labels)
    rows = rows - rows.mean(axis=0)
    rows /= np.maximum(rows.std(axis=0), 1e-6 * max(float(rows.std()), 1e-12))
    targets = np.eye(members.max() + 1)[members]
    shares = targets.mean(axis=0)
    targets -= shares
    values, vectors = np.linalg.eigh(rows @ rows.T)
    values = np.maximum(values, 0.0)
    rotated = vectors.T @ targets
    best_error, best_accuracy = np.inf, 0.0
    for penalty in PENALTIES:
        kept = values / (values + penalty * max(float(values.mean()), 1e-12))
        # the mean is fitted too, which takes up 1 / n of each row's leverage
        leverage = np.minimum((vectors**2) @ kept + 1 / len(rows), 1 - 1e-9)
        left = (targets - vectors @ (kept[:, None] * rotated)) / (1 - leverage)[:, None]
        error = float((left**2).sum())
        if error < best_error:
            predicted = np.argmax(shares + targets - left + targets / (len(rows) - 1), axis=1)
            best_error, best_accuracy = error, float((predicted == members).mean())
    return best_accuracy


class Ridge(Probe):
    """The leave-one-out accuracy of a ridge classifier, see :func:`ridge_accuracy`."""

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "linear probe"

    def score(self, features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
        """Compute the score of one network."""
        return ridge_accuracy(features, labels)
