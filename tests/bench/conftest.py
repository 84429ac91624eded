"""A planted matrix, and a registry with a method that is made up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nns.bench.choosers import Scene
from nns.bench.matrix import Matrix

from .planted import plant_matrix


@pytest.fixture(scope="session")
def planted() -> Matrix:
    return plant_matrix()


@pytest.fixture
def scene(planted: Matrix) -> Scene:
    return Scene(planted)


class Known:
    """Ranks by the mean of known transfers, moved a little by the query; seeds differ by noise."""

    def __init__(self, seed: int = 0, sign: float = 1.0) -> None:
        self.seed, self.sign = seed, sign
        self.fitted: Any = None

    def fit(self, data: Any) -> Known:
        self.fitted = data
        return self

    def embed_zoo(self, data: Any) -> np.ndarray:
        total = np.bincount(data.transfer_network, data.transfer_accuracy, minlength=len(data.network_ids))
        counts = np.maximum(np.bincount(data.transfer_network, minlength=len(data.network_ids)), 1)
        noise = np.random.default_rng(self.seed).standard_normal(len(total)) * 1e-3
        return (self.sign * total / counts + noise)[:, None].astype(np.float32)

    def embed_query(self, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
        assert len(features) == len(labels)
        return features.mean(axis=0)

    def similarity(self, query, networks):
        """Whatever: the order that is left without a predictor."""
        return networks[:, 0]

    def score(self, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
        return networks[:, 0] + 1e-6 * query[0]

    def predict_accuracy(self, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
        return np.clip(networks[:, 0], 0, 1)

    def prior(self, networks: np.ndarray) -> np.ndarray:
        """Whatever the images: nearly the order of the score."""
        return np.clip(networks[:, 0], 0, 1)

    def residuals(self, networks: np.ndarray) -> np.ndarray:
        """On one dataset the first five candidates were much better than thought, on another much worse."""
        first = np.arange(len(networks)) < 5
        return np.stack([8.0 * first, -8.0 * first])

    def predict_interval(self, query: np.ndarray, networks: np.ndarray) -> np.ndarray:
        return self.predict_accuracy(query, networks)[:, None] + np.array([-0.5, 0.5])


class KnownRegistry:
    """Has the method "known"."""

    def __init__(self) -> None:
        self.made: list[Known] = []

    def make(self, kind: str, name: str, **settings: Any) -> Known:
        assert (kind, name) == ("method", "known")
        self.made.append(Known(**settings))
        return self.made[-1]


@pytest.fixture
def known_registry() -> KnownRegistry:
    return KnownRegistry()
