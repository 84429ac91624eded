"""A nearest-neighbour probe."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nns.searching.probes._base import Probe
from nns.searching.probes._checks import checked

NEIGHBOURS = 5


def knn_accuracy(
    features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], neighbours: int = NEIGHBOURS
) -> float:
    """Return the accuracy of k nearest neighbours by cosine, each image left out in its turn, 0..1.

    Neighbours vote with their cosine, so that a class of fewer than k images can be found.

    Args:
        features: (n, d) of n images.
        labels: (n,) class indices.
        neighbours: k.

    Raises:
        UsageError: As all scores: fewer than three images or two classes.
    """
    rows, members = checked(features, labels)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    k = min(neighbours, len(rows) - 1)
    nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    votes = np.zeros((len(rows), members.max() + 1))
    weights = 1.0 + np.take_along_axis(cosines, nearest, axis=1)
    np.add.at(votes, (np.arange(len(rows))[:, None], members[nearest]), weights)
    return float((votes.argmax(axis=1) == members).mean())


class Knn(Probe):
    """The leave-one-out accuracy of five nearest neighbours, see :func:`knn_accuracy`."""

    name: ClassVar[str] = "knn"
    title: ClassVar[str] = "5-NN"

    def score(self, features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
        """Compute the score of one network."""
        return knn_accuracy(features, labels)
