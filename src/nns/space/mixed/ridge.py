"""Ridge regressions with the penalty chosen on left-out groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, np.inf)
"""Tried penalties, as multiples of the mean eigenvalue of the Gram matrix; infinity predicts zero."""
GROUP_FOLDS = 5


def ridge_directions(inputs: Floats, targets: Floats, weights: Floats) -> NDArray[np.float64]:
    """Solve weighted ridge for every penalty at once: (n, p), (n,), (n,) gives (penalties, p)."""
    gram = (inputs * weights[:, None]).T @ inputs
    values, vectors = np.linalg.eigh(gram)
    moments = vectors.T @ (inputs.T @ (weights * targets))
    unit_penalty = max(float(values.mean()), 1e-12)
    finite = [p for p in PENALTIES if np.isfinite(p)]
    solved = [vectors @ (moments / (np.maximum(values, 0) + p * unit_penalty)) for p in finite]
    return np.stack([*solved, np.zeros(inputs.shape[1])])


def centre_within(rows: Floats, groups: NDArray[np.int64], weights: Floats) -> NDArray[np.float64]:
    """Subtract each group's weighted mean from its rows, (n,) or (n, p)."""
    if not len(rows):
        return np.asarray(rows, np.float64)
    columns = np.asarray(rows, np.float64).reshape(len(rows), -1)
    _, members = np.unique(groups, return_inverse=True)
    totals = np.bincount(members, weights)
    sums = np.stack([np.bincount(members, weights * column) for column in columns.T], axis=1)
    centred = columns - (sums / np.maximum(totals, 1e-12)[:, None])[members]
    return centred.reshape(np.shape(rows))


def likelihoods(errors: Floats, count: int) -> NDArray[np.float64]:
    """Weigh competing models by their squared errors on ``count`` left-out results, as normal errors would: sum 1.

    With many results the best counts alone, with few all count: whichever is best may change with each further result,
    an average of them does not jump.
    """
    found: NDArray[np.float64] = (np.maximum(errors, 1e-12) / max(errors.min(), 1e-12)) ** (-count / 2)
    total: float = found.sum()
    return np.asarray(found / total, np.float64)


def fit_ridge(
    inputs: Floats, targets: Floats, groups: NDArray[np.int64], weights: Floats, *, averaged: bool = False
) -> tuple[NDArray[np.float64], float]:
    """Fit ridge without intercept, penalty by squared error on left-out groups.

    Args:
        inputs: (n, p), centred by the caller.
        targets: (n,), centred by the caller.
        groups: (n,) rows of one group are left out together.
        weights: (n,) weight of each row.
        averaged: Average over the penalties by :func:`likelihoods` instead.

    Returns:
        Coefficients (p,), all zero where nothing helps on left-out groups, and the share of the variance that
        they explain there.
    """
    inputs, targets = np.asarray(inputs, np.float64), np.asarray(targets, np.float64)
    known, members = np.unique(groups, return_inverse=True)
    nothing = np.zeros(inputs.shape[1])
    if len(known) < 2 or not inputs.size:
        return nothing, 0.0
    errors = np.zeros(len(PENALTIES))
    folds = members % min(GROUP_FOLDS, len(known))
    for fold in range(folds.max() + 1):
        out = folds == fold
        solved = ridge_directions(inputs[~out], targets[~out], weights[~out])
        errors += (weights[out, None] * (targets[out, None] - inputs[out] @ solved.T) ** 2).sum(axis=0)
    best = int(errors.argmin())
    explained = 1 - errors[best] / max(errors[-1], 1e-12)
    solved = ridge_directions(inputs, targets, weights)
    if averaged:
        return likelihoods(errors, len(targets)) @ solved, float(explained)
    return solved[best], float(explained)
