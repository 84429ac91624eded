"""LogME: the evidence of a linear model of the classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nns.searching.probes._base import Probe
from nns.searching.probes._checks import checked

ITERATIONS = 20
"""Fixed-point iterations of LogME at most; it settles in three or four."""
TOLERANCE = 1e-3
"""Relative change of alpha / beta at which they end."""


def log_me(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Compute the logarithm of maximum evidence, an image and class; higher is better.

    Bayesian linear regression of each class's indicator y on the features F, prior precision alpha and noise
    precision beta chosen to maximise the evidence p(y | F), by MacKay's fixed-point iteration on the singular values.

    Source: You, Liu, Wang, Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
    algorithm 1 and equation 2.

    Args:
        features: (n, d) of n images.
        labels: (n,) class indices.

    Raises:
        UsageError: As all scores: fewer than three images or two classes.
    """
    rows, members = checked(features, labels)
    count, width = rows.shape
    left, singular, _ = np.linalg.svd(rows, full_matrices=False)
    squared = singular**2
    evidence = [_evidence(squared, left, (members == k).astype(np.float64), width) for k in range(members.max() + 1)]
    mean: float = sum(evidence) / len(evidence)
    return mean / int(count)


def _evidence(squared: NDArray[np.float64], left: NDArray[np.float64], y: NDArray[np.float64], width: int) -> float:
    """Maximise the evidence of one class's indicator y (n,), given the squared singular values of F."""
    count = len(y)
    projected = (left.T @ y) ** 2
    outside = max(float(y @ y - projected.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(ITERATIONS):
        shrunk = alpha + beta * squared
        gamma = float((beta * squared / shrunk).sum())
        weights = float((beta**2 * squared * projected / shrunk**2).sum())
        residual = float((alpha**2 * projected / shrunk**2).sum()) + outside
        before = alpha / beta
        alpha = max(gamma, 1e-12) / max(weights, 1e-12)
        beta = max(count - gamma, 1e-12) / max(residual, 1e-12)
        if abs(alpha / beta - before) <= TOLERANCE * before:
            break
    shrunk = alpha + beta * squared
    weights = float((beta**2 * squared * projected / shrunk**2).sum())
    residual = float((alpha**2 * projected / shrunk**2).sum()) + outside
    log_determinant = float(np.log(shrunk).sum()) + (width - len(squared)) * np.log(alpha)
    return 0.5 * float(
        width * np.log(alpha)
        + count * np.log(beta)
        - beta * residual
        - alpha * weights
        - log_determinant
        - count * np.log(2 * np.pi)
    )


class LogMe(Probe):
    """The logarithm of maximum evidence, see :func:`log_me`."""

    name: ClassVar[str] = "logme"
    title: ClassVar[str] = "LogME"
    is_accuracy: ClassVar[bool] = False

    def score(self, features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
        """Compute the score of one network."""
        return log_me(features, labels)
