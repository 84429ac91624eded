"""What stands in for a space where none is fitted: the prior of networks at large, and the zoo's own results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nns.errors import UsageError
from nns.priors import Facts, Results, shipped_prior
from nns.space._base import SpaceMethod
from nns.space._forward import sigmoid

if TYPE_CHECKING:
    from typing import Self

    from nns.space._data import FloatArray, IntArray, SpaceData
    from nns.zoo import Zoo

AT_LARGE = "at large"
"""Name of what a search rests on where the zoo has no fitted space."""


class AtLarge(SpaceMethod):
    """The prior of networks at large. An embedding of a network is its quality; all datasets are alike to it."""

    name: ClassVar[str] = AT_LARGE

    def __init__(self) -> None:
        self.tensors_ = {"datasets": np.array([[shipped_prior().level[0]]], np.float32)}

    def fit(self, data: SpaceData) -> Self:
        """Refuse: there is nothing to fit.

        Raises:
            UsageError: Always.
        """
        raise UsageError("what is known of networks at large is not fitted to a zoo")

    def embed_networks(self, blocks: Mapping[str, FloatArray]) -> FloatArray:
        """Embed networks of which there are only fingerprints: nothing is known of them."""
        return np.full((len(next(iter(blocks.values()))), 1), np.nan, np.float32)

    def embed_query(self, features: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Return the usual level of a dataset, (1,)."""
        level: FloatArray = self.tensors_["datasets"][0]
        return level

    def similarity(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Return zeros: nothing is known of which network matches what."""
        return np.zeros(len(network_embeddings), np.float32)

    def ranking_vector(self, query_embedding: FloatArray) -> FloatArray:
        """Rank by the quality."""
        return np.ones(1, np.float32)

    def terms(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> dict[str, FloatArray]:
        """Name the only part."""
        return {"prior": network_embeddings[:, 0]}

    def predict_accuracy(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Predict what networks reach on a dataset of the usual level, (n,)."""
        return sigmoid(query_embedding[0] + network_embeddings[:, 0])


def qualities(zoo: Zoo) -> FloatArray:
    """Return the quality of all networks of a zoo by their facts and the zoo's results, (n, 1)."""
    datasets: dict[str, int] = {}
    found: dict[tuple[int, int], list[float]] = {}
    transfers = zoo.store.transfers()
    rows = zoo.store.rows_of([record.network_id for record in transfers])
    for row, record in zip(rows.tolist(), transfers, strict=True):
        if row >= 0 and np.isfinite(record.accuracy):
            dataset = datasets.setdefault(record.dataset_digest, len(datasets))
            found.setdefault((row, dataset), []).append(record.accuracy)
    pairs = np.array(sorted(found), np.int64).reshape(-1, 2)
    accuracies = np.array([float(np.mean(found[each])) for each in sorted(found)], np.float64)
    results = Results(pairs[:, 0], pairs[:, 1], accuracies)
    prior = shipped_prior()
    described = zoo.store.describe(lambda some: np.stack(prior.features([Facts.of(each) for each in some]), axis=1))
    return prior.of_features(described[:, 0], described[:, 1], results).quality[:, None].astype(np.float32)
