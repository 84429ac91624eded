"""H-score: how much of the features' variance lies between the classes."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nns.searching.probes._base import Probe
from nns.searching.probes._checks import checked


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


class HScore(Probe):
    """The regularised H-score, see :func:`h_score`."""

    name: ClassVar[str] = "hscore"
    title: ClassVar[str] = "H-score"
    is_accuracy: ClassVar[bool] = False

    def score(self, features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
        """Compute the score of one network."""
        return h_score(features, labels)
