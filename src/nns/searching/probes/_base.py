"""The contract of a probe, and how what it finds enters a ranking."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from statistics import fmean, pstdev
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

PROBE_WEIGHT = 1.0
"""Weight of the probe's logit beside the score of the space; benchmarks/matrix decided it, see docs/method.md."""

Key = TypeVar("Key")


class Probe(ABC):
    """Says how well a frozen network's features tell the classes of labelled images apart, without training it.

    Attributes:
        name: Name under which it is registered; matrices of `nns bench` keep scores under it.
        title: What people call it.
        is_accuracy: Whether its score estimates an accuracy, 0..1. Else only the differences between networks count.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    is_accuracy: ClassVar[bool] = True

    @abstractmethod
    def score(self, features: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
        """Score one network; higher is better.

        Args:
            features: (n, d) of n images.
            labels: (n,) class indices.

        Raises:
            UsageError: If there are fewer than three images or two classes.
        """

    def terms(self, scores: Mapping[Key, float]) -> dict[Key, float]:
        """Turn the scores of the networks that were probed into parts of their score in a search, in logits."""
        return probe_terms(scores) if self.is_accuracy else standard_terms(scores)


def probe_terms(accuracies: Mapping[Key, float]) -> dict[Key, float]:
    """Turn accuracies that a probe estimated, 0..1, into parts of the score: weighted logits, less their mean."""
    clipped = {network: min(max(accuracy, 0.01), 0.99) for network, accuracy in accuracies.items()}
    logits = {network: math.log(accuracy / (1 - accuracy)) for network, accuracy in clipped.items()}
    usual = sum(logits.values()) / max(len(logits), 1)
    return {network: PROBE_WEIGHT * (value - usual) for network, value in logits.items()}


def standard_terms(scores: Mapping[Key, float]) -> dict[Key, float]:
    """Turn scores on a scale of their own into parts of the score: one standard deviation is as good as one logit."""
    if len(scores) < 2:
        return dict.fromkeys(scores, 0.0)
    usual, spread = fmean(scores.values()), pstdev(scores.values())
    return {network: PROBE_WEIGHT * (value - usual) / max(spread, 1e-12) for network, value in scores.items()}


def moved_accuracy(accuracy: float, logits: float) -> float:
    """Move a predicted accuracy, 0..1, by so many logits."""
    if not logits:
        return accuracy
    clipped = min(max(accuracy, 1e-6), 1 - 1e-6)
    return float(1 / (1 + (1 / clipped - 1) * np.exp(-logits)))
