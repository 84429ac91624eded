"""A space method as somebody outside would write it, shown in docs/plugins.md."""

from __future__ import annotations

import numpy as np
import pytest

from nns.errors import UsageError
from nns.space import SpaceMethod
from nns.testing import SpaceMethodContract, planted_zoo


class Nearest(SpaceMethod):
    """Networks lie where a ridge regression of their graph statistics puts the dataset they were trained on."""

    name = "nearest"

    def __init__(self, penalty: float = 1.0, seed: int = 0) -> None:
        self.penalty, self.seed = penalty, seed

    def fit(self, data):
        owned = np.flatnonzero(data.dataset_index >= 0)
        if len(data.paired_datasets()) < 2:
            raise UsageError("method 'nearest' needs at least 2 datasets with networks")
        means = np.stack([features.mean(axis=0) for features in data.queries])
        self.tensors_ = {"centre": means.mean(axis=0), "level": np.float32([np.nanmean(data.accuracy)])}
        graphs, targets = data.blocks["graph"][owned], (means - means.mean(axis=0))[data.dataset_index[owned]]
        gram = graphs.T @ graphs + self.penalty * np.eye(graphs.shape[1], dtype=np.float32)
        self.tensors_["weight"] = np.linalg.solve(gram, graphs.T @ targets).astype(np.float32)
        self.tensors_["datasets"] = np.stack([self.embed_query(data.queries[d]) for d in data.paired_datasets()])
        self.history_ = []
        return self

    def embed_networks(self, blocks):
        return unit(blocks["graph"] @ self._fitted("weight"))

    def embed_query(self, features, labels=None):
        return unit(features.mean(axis=0) - self._fitted("centre"))

    def similarity(self, query_embedding, network_embeddings):
        return network_embeddings @ query_embedding

    def ranking_vector(self, query_embedding):
        return query_embedding

    def predict_accuracy(self, query_embedding, network_embeddings):
        level = self._fitted("level")[0]
        return np.clip(level + 0.1 * self.similarity(query_embedding, network_embeddings), 0, 1)


def unit(rows):
    return (rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)).astype(np.float32)


class Claiming(Nearest):
    """Claims to have been right wherever nothing is known."""

    def residuals(self, network_embeddings):
        return np.zeros((3, len(network_embeddings)), np.float32)


def test_the_suite_finds_what_is_claimed_without_being_known():
    zoo = planted_zoo(4, transfers=5)
    suite = SpaceMethodContract()
    suite.test_residuals(Nearest().fit(zoo), zoo)
    with pytest.raises(AssertionError, match="nothing is known|without any result"):
        suite.test_residuals(Claiming().fit(zoo), zoo)


class TestNearest(SpaceMethodContract):
    @pytest.fixture
    def factory(self):
        return Nearest
