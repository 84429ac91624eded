"""LogME and H-score: published estimates of how well a network transfers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def h_score(features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """Compute the regularised H-score, tr(cov(f)^-1 cov(E[f | y])); higher is better.

    Sources: Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019;
    the covariance is shrunk by Ledoit and Wolf as in Ibrahim, Ponomareva, Mazumder, "Newer is not always better:
    Rethinking transferability metrics", ECML 2022, with the class means shrunk alike.

    Args:
        features: (n, d) of n images.
        labels: (n,) class indices.

    Raises:
        UsageError: As all scores: fewer than three images or two classes.
    """
    from sklearn.covariance import ledoit_wolf_shrinkage

    rows, members = checked(features, labels)
    rows = rows - rows.mean(axis=0)
    count, width = rows.shape
    shrinkage = float(ledoit_wolf_shrinkage(rows, assume_centered=True))
    sizes = np.bincount(members)
    means = np.zeros((len(sizes), width))
    np.add.at(means, members, rows)
    means /= sizes[:, None]
    weighted = means * np.sqrt(sizes / count)[:, None]
    # (shrinkage t I + (1 - shrinkage) X'X / n)^-1 by Woodbury: only an n x n system is solved
    level = max(shrinkage * float((rows**2).sum()) / (count * width), 1e-12)
    scaled = rows * np.sqrt((1 - shrinkage) / count)
    inner = level * np.eye(count) + scaled @ scaled.T
    crossed = scaled @ weighted.T
    solved = (weighted**2).sum() - (crossed * np.linalg.solve(inner, crossed)).sum()
    return float((1 - shrinkage) * solved / level)
