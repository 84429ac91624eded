"""The default method, for zoos whose networks come from several backends.

TANS (Jeong et al., NeurIPS 2021) with inputs that every architecture has, and with the static ranking split
off from the match of network and dataset: see docs/method.md for each deviation and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from nns.space._base import SpaceMethod
from nns.space._data import FloatArray, IntArray, SpaceData
from nns.space._forward import affine, sigmoid, unit
from nns.space._pairs import PairSampler
from nns.space.mixed.contrastive import Encoders, Training, train_encoders
from nns.space.mixed.epochs import choose_epochs
from nns.space.mixed.history import TERMS, History, kernel_weights, learn
from nns.space.mixed.inputs import describe_query, network_blocks, project
from nns.space.mixed.predictor import fit_levels_of_queries, fit_predictor
from nns.space.mixed.zoo_inputs import ZooInputs

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray


NEARLY = 1e-3
"""Logits of quality that priors are told apart by, whatever float32 rounds away."""


class _Own(NamedTuple):
    """What a fit knows of each of its networks: quality (n,), loadings (n, h), direction of its dataset (n, K)."""

    quality: NDArray[np.float64]
    loadings: NDArray[np.float64]
    source: FloatArray


@dataclass(eq=False, kw_only=True)
class Mixed(SpaceMethod):
    """Linear encoders on graph statistics ⊕ similarity kernel and on mean ⊕ spread of the features.

    A network embedding is its unit vector m, its quality, how it did on each known dataset beyond that (loadings), and
    the direction s of the dataset it was trained on; a query embedding the unit vector q, the dataset's level, the
    weights k of the known datasets by their likeness, and its direction u. Quality and level are logits of accuracy::

        score(q, m)     = quality(m) + w_history <k, loadings> + w_source <u, s> + w_space <q, m>
        accuracy(q, m)  = sigmoid(level(q) + score(q, m) - usual)

    The quality is the static ranking: each network's own level in an additive model of all transfers, and what its
    fingerprint says where it has none. The weights are what families of datasets that were left out support, zero
    where a term does not help there. A zoo without transfers has no w_history and w_source; the quality is then learned
    from differences of accuracy *within* datasets, so that a network is not thought good because its dataset was easy,
    and w_space is ``similarity_weight``.

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
        learn_history: Whether transfers give the static ranking and the terms beside it.
        source_term: Whether likeness to the dataset that a network was trained on may count.
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
    learn_history: bool = True
    source_term: bool = True
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
        cosines = self._all_cosines(encoders, networks, views[:, 0], choice.similarities)
        predictor = fit_predictor(data, networks, views[:, 0], cosines, self.similarity_weight)
        self.tensors_ = tensors | encoders | predictor
        self._own: _Own | None = None
        if data.enough_transfers and self.learn_history:
            self._learn(data, networks, views[:, 0], cosines)
        self.tensors_["datasets"] = self._embed_inputs(views[data.paired_datasets(), 0])
        self.history_ = [{"epoch": float(i + 1), "loss": loss} for i, loss in enumerate(losses)]
        for epoch, auc in choice.aucs.items():
            self.history_.append({"epoch": float(epoch), "held_out_auc": auc})
        return self

    def _all_cosines(
        self, encoders: Encoders, networks: FloatArray, queries: FloatArray, known: FloatArray
    ) -> FloatArray:
        """Fill in the cosines of datasets without networks of their own, which no encoder has seen."""
        m = unit(affine(networks, encoders["network.weight"], encoders["network.bias"]))
        q = unit(affine(queries, encoders["query.weight"], encoders["query.bias"]))
        return np.where(np.isfinite(known), known, q @ m.T)

    def _learn(self, data: SpaceData, networks: FloatArray, queries: FloatArray, cosines: FloatArray) -> None:
        """Put the static ranking and the terms that react to the images in place of the fitted quality."""
        units = unit(queries[:, : len(self.tensors_["query_input.0.directions"])])
        history = History.of(data, networks, units, cosines)
        learned = learn(history)
        if not self.source_term:
            learned.weights[TERMS.index("source")] = 0.0
        levels = learned.levels
        known_source = (data.dataset_index >= 0)[:, None]
        source = np.where(known_source, units[data.dataset_index], 0.0).astype(np.float32)
        self._own = _Own(levels.quality, levels.residuals[levels.known].T, source)
        self.tensors_ |= {
            name: np.asarray(array, np.float32)
            for name, array in {
                "history.units": units[levels.known],
                "history.temperature": np.array([learned.temperature]),
                "history.weights": learned.weights,
                "history.explained": np.array([learned.explained]),
                "quality.weight": levels.coefficients,
                "quality.range": np.array([levels.quality.min(), levels.quality.max()]),
            }.items()
        }
        match = history.match(history.network, history.dataset, history.source[history.network] >= 0)
        self.tensors_ |= fit_levels_of_queries(history, levels, queries, match @ learned.weights[1:])

    def embed_networks(self, blocks: Mapping[str, FloatArray]) -> FloatArray:
        """Embed networks from ``graph`` (n, G) and ``kernel`` (n, m, m): (n, dim + 1 + h + K) for h known datasets.

        Nothing is known of how they did elsewhere and of what they were trained on: those parts are zero.
        """
        inputs = project(self.tensors_of_fit(), "network_input", network_blocks(blocks))
        vectors = unit(affine(inputs, self._fitted("network.weight"), self._fitted("network.bias")))
        low, high = self._fitted("quality.range")
        quality = np.clip(inputs @ self._fitted("quality.weight"), low, high)
        rest = np.zeros((len(vectors), sum(self._fitted("history.units").shape)), np.float32)
        return np.concatenate([vectors, quality[:, None], rest], axis=1)

    def embed_zoo(self, data: SpaceData) -> FloatArray:
        """Embed the networks that were fitted on, with how they did on other datasets."""
        embeddings = self.embed_networks(data.blocks)
        if self._own is not None:
            start = self.dim + 1 + self._own.loadings.shape[1]
            embeddings[:, self.dim] = self._own.quality
            embeddings[:, self.dim + 1 : start] = self._own.loadings
            embeddings[:, start:] = self._own.source
        return embeddings

    def embed_query(self, features: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Embed a dataset from features (images, D): unit vector, level, weights of known datasets, direction."""
        parts = describe_query(features, labels)
        return self._embed_inputs(project(self.tensors_of_fit(), "query_input", parts))

    def similarity(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Cosine of dataset and networks, (n,)."""
        cosines: FloatArray = network_embeddings[:, : self.dim] @ query_embedding[: self.dim]
        return cosines

    def ranking_vector(self, query_embedding: FloatArray) -> FloatArray:
        """Return the vector whose inner product with a network's embedding is the score."""
        history, source, space = self._weights()
        start = self.dim + 1 + len(self._fitted("history.units"))
        parts = [
            space * query_embedding[: self.dim],
            np.ones(1, np.float32),
            history * query_embedding[self.dim + 1 : start],
            source * query_embedding[start:],
        ]
        return np.concatenate(parts).astype(np.float32)

    def terms(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> dict[str, FloatArray]:
        """Take the score apart: ``prior`` (the quality), ``history``, ``source`` and ``space``, (n,) each."""
        vector = self.ranking_vector(query_embedding)
        middle, start = self.dim + 1, self.dim + 1 + len(self._fitted("history.units"))
        slices = {
            "prior": slice(self.dim, middle),
            "history": slice(middle, start),
            "source": slice(start, len(vector)),
            "space": slice(0, self.dim),
        }
        return {name: network_embeddings[:, part] @ vector[part] for name, part in slices.items() if vector[part].any()}

    def residuals(self, network_embeddings: FloatArray) -> FloatArray:
        """Return what the additive model left of the results, (h, n), times the root of each one's weight.

        An embedding has 0 where a network has no result, which no result leaves exactly.
        """
        start = self.dim + 1
        left = network_embeddings[:, start : start + len(self._fitted("history.units"))].T
        return np.where(left == 0, np.float32(np.nan), left)

    def predict_accuracy(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Predict sigmoid(level + score - usual), (n,); without transfers similarity does not count."""
        if not self._fitted("accuracy_weight")[0] and not len(self._fitted("history.units")):
            return sigmoid(query_embedding[self.dim] + network_embeddings[:, self.dim])
        score = self.score(query_embedding, network_embeddings)
        return sigmoid(query_embedding[self.dim] + score - self._fitted("usual")[0])

    def prior(self, network_embeddings: FloatArray) -> FloatArray:
        """Average over the zoo's datasets what the quality alone predicts, (n,): the static ranking."""
        levels = self._fitted("datasets")[:, self.dim]
        means = np.zeros(len(network_embeddings), np.float32)
        for level in levels:
            means += sigmoid(level + network_embeddings[:, self.dim])
        return means / np.float32(max(len(levels), 1))

    def best_prior(self, network_embeddings: FloatArray, rows: IntArray) -> int:
        """Find the network of the highest quality; the prior rises with it, and is computed for near equals only."""
        quality = network_embeddings[:, self.dim][rows]
        # float32 rounds priors of nearly one quality to equals: among them the first counts, as among all
        near = np.flatnonzero(quality >= quality.max() - NEARLY)
        prior = self.prior(network_embeddings[rows[near]])
        return int(near[np.where(np.isnan(prior), -np.inf, prior).argmax()])

    def _weights(self) -> tuple[float, float, float]:
        """Return the weights of history, source and space."""
        if len(self._fitted("history.units")):
            history, source, space = self._fitted("history.weights").tolist()
            return history, source, space
        return 0.0, 0.0, float(self._fitted("ranking_weight")[0])

    def _embed_inputs(self, inputs: FloatArray) -> FloatArray:
        """Embed projected query inputs, (R,) or (d, R)."""
        vectors = unit(affine(inputs, self._fitted("query.weight"), self._fitted("query.bias")))
        low, high = self._fitted("level.range")
        levels = np.clip(inputs @ self._fitted("level.weight") + self._fitted("level.bias")[0], low, high)
        parts = [vectors, levels[..., None]]
        known = self._fitted("history.units")
        if len(known):
            units = unit(inputs[..., : known.shape[1]])
            temperature = float(self._fitted("history.temperature")[0])
            rows = units.reshape(-1, known.shape[1])
            weights = np.array([kernel_weights(row, known, temperature) for row in rows])
            parts += [weights.reshape(*units.shape[:-1], len(known)), units]
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def tensors_of_fit(self) -> dict[str, FloatArray]:
        """Return all fitted arrays.

        Raises:
            UsageError: If there was no fit.
        """
        self._fitted("query.weight")
        return self.tensors_
