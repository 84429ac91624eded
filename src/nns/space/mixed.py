"""The default method, for zoos whose networks come from several backends.

TANS (Jeong et al., NeurIPS 2021) with inputs that every architecture has, and with the static ranking split
off from the match of network and dataset: see docs/method.md for each deviation and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nns.space._base import SpaceMethod
from nns.space._contrastive import Encoders, Training, train_encoders
from nns.space._data import FloatArray, IntArray, SpaceData
from nns.space._epochs import choose_epochs
from nns.space._forward import affine, sigmoid, unit
from nns.space._inputs import describe_query, network_blocks, project
from nns.space._pairs import PairSampler
from nns.space._predictor import fit_predictor
from nns.space._zoo_inputs import ZooInputs

if TYPE_CHECKING:
    from typing import Self


@dataclass(eq=False, kw_only=True)
class Mixed(SpaceMethod):
    """Linear encoders on graph statistics ⊕ probe kernel and on mean ⊕ spread of the features.

    A network embedding is its unit vector m followed by its quality, a query embedding the unit vector q
    followed by the dataset's level, both in logits of accuracy. With w the ranking weight::

        score(q, m)     = quality(m) + w <q, m>
        accuracy(q, m)  = sigmoid(level(q) + quality(m) + v (<q, m> - usual <q, m>))

    The quality is learned from differences of accuracy *within* datasets, so that a network is not thought
    good because its dataset was easy; quality and level stay within what the zoo has seen. v is zero unless
    the zoo knows transfer results; then w and v are both what held-out datasets support, falling to zero
    where similarity does not help.

    Args:
        dim: Width of the unit vectors.
        components: Principal components kept of each high-dimensional input.
        whitening: How far the components are made to vary alike, 0 (as they are) to 1 (alike).
        spread_gain: Weight of the features' spread beside their mean in matching.
        epochs: Steps; None chooses by held-out datasets.
        lr: Learning rate of AdamW.
        weight_decay: Decoupled weight decay.
        dropout: Share of inputs dropped in training.
        margin: Margin of the contrastive loss.
        nmax: Hardest negatives a row and a column; None counts all.
        views: Descriptions of each dataset, from random halves of its images, that training varies between.
        similarity_weight: w, logits a unit of cosine, used where the zoo knows no transfer results.
        seed: Seed of everything random.
    """

    dim: int = 128
    components: int = 256
    whitening: float = 0.0
    spread_gain: float = 0.3
    epochs: int | None = None
    lr: float = 1e-2
    weight_decay: float = 1e-2
    dropout: float = 0.0
    margin: float = 0.2
    nmax: int | None = None
    views: int = 8
    similarity_weight: float = 1.0
    seed: int = 0

    name: ClassVar[str] = "mixed"

    def fit(self, data: SpaceData) -> Self:
        """Fit to a zoo: choose the number of epochs, train the encoders, then fit the predictor.

        Raises:
            UsageError: If ``graph`` or ``kernel`` is missing, or fewer than two datasets have networks.
        """
        zoo = ZooInputs.of(
            data,
            components=self.components,
            whitening=self.whitening,
            spread_gain=self.spread_gain,
            views=self.views,
            seed=self.seed,
        )
        training = Training(self.dim, self.lr, self.weight_decay, self.dropout, self.margin, self.nmax)
        choice = choose_epochs(zoo, training, self.epochs, self.seed)
        tensors = zoo.fit_projections()
        networks, views = zoo.project(tensors)
        encoders: Encoders = {}
        losses = train_encoders(
            training,
            PairSampler(data),
            networks,
            views,
            zoo.match_gains(tensors),
            (choice.epochs,),
            self.seed,
            lambda _, trained: encoders.update(trained),
        )
        predictor = fit_predictor(data, networks, views[:, 0], choice.similarities, self.similarity_weight)
        self.tensors_ = tensors | encoders | predictor
        self.tensors_["datasets"] = self._embed_inputs(views[data.paired_datasets(), 0])
        self.history_ = [{"epoch": float(i + 1), "loss": loss} for i, loss in enumerate(losses)]
        for epoch, auc in choice.aucs.items():
            self.history_.append({"epoch": float(epoch), "held_out_auc": auc})
        return self

    def embed_networks(self, blocks: Mapping[str, FloatArray]) -> FloatArray:
        """Embed networks from ``graph`` (n, G), ``kernel`` (n, m, m): unit vector, quality (n, dim + 1)."""
        inputs = project(self.tensors_of_fit(), "network_input", network_blocks(blocks))
        vectors = unit(affine(inputs, self._fitted("network.weight"), self._fitted("network.bias")))
        low, high = self._fitted("quality.range")
        quality = np.clip(inputs @ self._fitted("quality.weight"), low, high)
        return np.concatenate([vectors, quality[:, None]], axis=1)

    def embed_query(self, features: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Embed a dataset from features (images, D): unit vector and level (dim + 1,)."""
        parts = describe_query(features, labels)
        return self._embed_inputs(project(self.tensors_of_fit(), "query_input", parts))

    def similarity(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Cosine of dataset and networks, (n,)."""
        cosines: FloatArray = network_embeddings[:, :-1] @ query_embedding[:-1]
        return cosines

    def ranking_vector(self, query_embedding: FloatArray) -> FloatArray:
        """Give (w q, 1), whose inner product with (m, quality) is the score."""
        weight = self._fitted("ranking_weight")[0]
        return np.append(weight * query_embedding[:-1], np.float32(1)).astype(np.float32)

    def predict_accuracy(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Predict sigmoid(level + quality + v (cosine - usual cosine)), (n,)."""
        logits = query_embedding[-1] + network_embeddings[:, -1]
        weight = self._fitted("accuracy_weight")[0]
        if weight:
            cosines = self.similarity(query_embedding, network_embeddings)
            logits = logits + weight * (cosines - self._fitted("usual_similarity")[0])
        return sigmoid(logits)

    def _embed_inputs(self, inputs: FloatArray) -> FloatArray:
        vectors = unit(affine(inputs, self._fitted("query.weight"), self._fitted("query.bias")))
        low, high = self._fitted("level.range")
        levels = np.clip(inputs @ self._fitted("level.weight") + self._fitted("level.bias")[0], low, high)
        return np.concatenate([vectors, levels[..., None]], axis=-1).astype(np.float32)

    def tensors_of_fit(self) -> dict[str, FloatArray]:
        """Give all fitted arrays.

        Raises:
            UsageError: If there was no fit.
        """
        self._fitted("query.weight")
        return self.tensors_
