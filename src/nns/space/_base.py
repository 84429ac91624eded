"""The contract of a space method: an estimator over :class:`SpaceData`."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from safetensors.numpy import load, save

from nns.errors import UsageError

if TYPE_CHECKING:
    from typing import Self

    from nns.priors import Facts
    from nns.space._data import FloatArray, IntArray, SpaceData

NETWORKS_AT_ONCE = 65_536


class SpaceMethod(ABC):
    """Embeds datasets and networks into one space and predicts accuracies.

    The constructor only stores its arguments, which must be JSON-able; :meth:`fit` returns self. A fitted
    method is its settings plus :attr:`tensors_`, so ``factory(**settings).load_tensors(data)`` is the same
    method again. Only :meth:`fit` may import torch.

    Ranking is an inner product: :meth:`score` is ``network_embeddings @ ranking_vector(query_embedding)``,
    so one matrix-vector product, or an inner-product index, serves every method.

    Attributes:
        name: Name under which the method is registered.
        tensors_: Fitted numbers by name.
        history_: One dict of numbers an epoch.
    """

    name: ClassVar[str]
    tensors_: dict[str, FloatArray]
    history_: list[dict[str, float]]

    @abstractmethod
    def fit(self, data: SpaceData) -> Self:
        """Fit to a zoo.

        Raises:
            UsageError: If a fingerprint block is missing, or fewer than two datasets have networks.
        """

    @abstractmethod
    def embed_networks(self, blocks: Mapping[str, FloatArray]) -> FloatArray:
        """Embed networks, seen at the fit or not, (n, dim) float32; one forward pass, no refit."""

    def add_facts(self, embeddings: FloatArray, facts: Sequence[Facts]) -> FloatArray:
        """Add what the facts of networks say to their embeddings, (n, dim), of :meth:`embed_networks`.

        A method that goes by no facts gives them back as they are. One that does takes rows of NaN, of networks without
        a fingerprint, and gives an embedding of what the facts say alone.
        """
        return embeddings

    def embed_zoo(self, data: SpaceData) -> FloatArray:
        """Embed the networks of the zoo that was fitted, (n, dim) float32, with all that the fit knows of each.

        Args:
            data: What was fitted on.
        """
        return self.embed_networks(data.blocks)

    @abstractmethod
    def embed_query(self, features: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Embed a dataset from its query features.

        Args:
            features: (images, D) features of its images; their order does not matter.
            labels: (images,) class indices, -1 or None where unlabelled.

        Returns:
            The embedding, (dim,) float32.
        """

    @abstractmethod
    def similarity(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Measure how well networks match a dataset, (n,), in -1..1; what the contrastive loss trains."""

    @abstractmethod
    def ranking_vector(self, query_embedding: FloatArray) -> FloatArray:
        """Return the vector (dim,) whose inner product with network embeddings ranks them."""

    @abstractmethod
    def predict_accuracy(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Predict the accuracy of networks on the dataset, (n,), 0..1."""

    def score(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Score networks for a dataset, (n,), higher is better: what a search ranks by."""
        scores: FloatArray = network_embeddings @ self.ranking_vector(query_embedding)
        return scores

    def terms(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> dict[str, FloatArray]:
        """Take the score apart: name of a part to (n,); together they are :meth:`score`, but for a constant."""
        return {"space": self.score(query_embedding, network_embeddings)}

    def residuals(self, network_embeddings: FloatArray) -> FloatArray:
        """Say what scores missed on d datasets that have results, (d, n) in logits, NaN where a network has none there.

        Networks whose errors go together are no insurance for each other. A method that knows of none gives d = 0.
        """
        return np.zeros((0, len(network_embeddings)), np.float32)

    def prior(self, network_embeddings: FloatArray) -> FloatArray:
        """Average the predicted accuracy over the zoo's own datasets, (n,): blind to the user's data."""
        means = np.zeros(len(network_embeddings), np.float32)
        for query in self._fitted("datasets"):
            for start in range(0, len(means), NETWORKS_AT_ONCE):
                part = slice(start, start + NETWORKS_AT_ONCE)
                means[part] += self.predict_accuracy(query, network_embeddings[part])
        return means / np.float32(max(len(self._fitted("datasets")), 1))

    def best_prior(self, network_embeddings: FloatArray, rows: IntArray) -> int:
        """Find the highest :meth:`prior` among the networks at ``rows``: its place in them, the first of equals."""
        prior = self.prior(network_embeddings if len(rows) == len(network_embeddings) else network_embeddings[rows])
        return int(np.where(np.isnan(prior), -np.inf, prior).argmax())

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, JSON-able."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def to_tensors(self) -> bytes:
        """Write the fitted numbers in safetensors format."""
        self._fitted("datasets")
        return save({name: np.ascontiguousarray(array) for name, array in sorted(self.tensors_.items())})

    def load_tensors(self, tensors: bytes) -> Self:
        """Take over fitted numbers that :meth:`to_tensors` wrote with the same settings."""
        self.tensors_ = load(tensors)
        self.history_ = []
        return self

    @classmethod
    def from_tensors(cls, settings: Mapping[str, Any], tensors: bytes) -> Self:
        """Make a fitted method from what :meth:`settings` and :meth:`to_tensors` gave."""
        return cls(**settings).load_tensors(tensors)

    def _fitted(self, name: str) -> FloatArray:
        """Read one fitted array; ``"datasets"`` holds the embeddings of the zoo's datasets, (d, dim)."""
        if name not in getattr(self, "tensors_", {}):
            raise UsageError(f"space method {self.name!r} is not fitted: call fit or load_tensors first")
        return self.tensors_[name]
