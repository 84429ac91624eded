"""The default method, for zoos whose networks come from several backends.

TANS (Jeong et al., NeurIPS 2021) with inputs that every architecture has, and with the static ranking split
off from the match of network and dataset: see docs/method.md for each deviation and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from nns.priors import Results, shipped_prior
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

    from nns.priors import Facts


PRIORS_AT_ONCE = 1024
"""Networks whose priors are computed in one step: of the ten that are shown, a step a dataset took milliseconds."""

NEARLY = 1e-3
"""Logits of quality that priors are told apart by, whatever float32 rounds away."""


class _Own(NamedTuple):
    """What a fit knows of each of its networks: quality (n,), loadings (n, h), direction of its dataset (n, K)."""

    quality: NDArray[np.float64]
    loadings: NDArray[np.float64]
    source: FloatArray


MATCH_AT_LARGE = 0.1
"""Logits a unit of cosine that the match of network and images counts before any transfer supports it: it tells apart
networks of one kind, never a network of random weights from one that knows photographs. See
docs/results.md, "What is known of networks at large"."""


def _at_large(data: SpaceData) -> tuple[NDArray[np.float64], NDArray[np.float64], FloatArray]:
    """Return the quality of networks by facts alone, moved by transfers, (n,) each, and the weights of facts behind it.

    The weights are those of :data:`nns.priors.FEATURES` and a constant. All are empty where no facts are known.
    """
    if not data.facts:
        return np.zeros(0), np.zeros(0), np.zeros(0, np.float32)
    prior = shipped_prior()
    known = np.isfinite(data.transfer_accuracy)
    parts = (data.transfer_network, data.transfer_dataset, data.transfer_accuracy)
    found = prior.of_facts(data.facts, Results(*(part[known] for part in parts)))
    return (
        prior.of_facts(data.facts).quality,
        found.quality,
        np.append(found.coefficients, 0.0).astype(np.float32),
    )


@dataclass(eq=False, kw_only=True)
class Mixed(SpaceMethod):
    """Linear encoders on graph statistics ⊕ similarity kernel and on mean ⊕ spread of the features.

    A network embedding is its unit vector m, its quality, how it did on each known dataset beyond that (loadings), and
    the direction s of the dataset it was trained on; a query embedding the unit vector q, the dataset's level, the
    weights k of the known datasets by their likeness, and its direction u. Quality and level are logits of accuracy::

        score(q, m)     = quality(m) + w_history <k, loadings> + w_source <u, s> + w_space <q, m>
        accuracy(q, m)  = sigmoid(level(q) + score(q, m) - usual)

    The quality is the static ranking: each network's own level in an additive model of all transfers, and what its
    facts and its fingerprint say where it has none. The weights are what families of datasets that were left out
    support, zero where a term does not help there. All that counts by :attr:`SpaceData.trust`, which grows with the
    number of transfers and never jumps; what is left to 1 is the quality of networks at large (:mod:`nns.priors`),
    moved by the transfers by Bayes' rule. Where no facts are known, that is learned from differences of accuracy
    *within* datasets, so that a network is not thought good because its dataset was easy, and w_space is
    ``similarity_weight``.

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
        similarity_weight: w, logits a unit of cosine, used where neither facts nor transfer results are known.
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
        large, moved, coefficients = _at_large(data)
        known = bool(data.facts)
        weight = MATCH_AT_LARGE if known else self.similarity_weight
        predictor = fit_predictor(data, networks, views[:, 0], cosines, weight, moved if known else None)
        self.tensors_ = tensors | encoders | predictor
        if known:
            self.tensors_["prior.weight"] = coefficients
        else:
            moved = np.clip(networks @ predictor["quality.weight"], *predictor["quality.range"]).astype(np.float64)
        self._own = _Own(moved, np.zeros((len(networks), 0)), np.zeros((len(networks), 0), np.float32))
        if data.trust and self.learn_history:
            self._learn(data, networks, views[:, 0], cosines, large, moved)
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

    def _learn(
        self,
        data: SpaceData,
        networks: FloatArray,
        queries: FloatArray,
        cosines: FloatArray,
        large: NDArray[np.float64],
        moved: NDArray[np.float64],
    ) -> None:
        """Move from what is known of networks at large to the static ranking, and to the terms that react to images.

        Args:
            data: The zoo.
            networks: (n, P) network inputs.
            queries: (d, R) query inputs.
            cosines: (d, n) cosines of the contrastive space.
            large: (n,) quality by facts alone; empty where no facts are known.
            moved: (n,) quality where the transfers are not trusted.
        """
        units = unit(queries[:, : len(self.tensors_["query_input.0.directions"])])
        history = History.of(data, networks, units, cosines, large)
        learned = learn(history)
        if not self.source_term:
            learned.weights[TERMS.index("source")] = 0.0
        trust, before = data.trust, self.tensors_
        weights = trust * learned.weights
        weights[TERMS.index("space")] += (1 - trust) * (MATCH_AT_LARGE if data.facts else self.similarity_weight)
        # both count from what networks with results have in the mean: only differences of qualities mean anything
        seen = np.bincount(history.network, history.weight, len(networks))
        shift = float(np.average(learned.levels.quality - moved, weights=seen))
        quality = trust * (learned.levels.quality - shift) + (1 - trust) * moved
        levels = replace(learned.levels, quality=quality)
        slope = trust * learned.levels.coefficients + (1 - trust) * before["quality.weight"]
        spread = networks @ slope if data.facts else quality
        known_source = (data.dataset_index >= 0)[:, None]
        source = np.where(known_source, units[data.dataset_index], 0.0).astype(np.float32)
        self._own = _Own(levels.quality, levels.residuals[levels.known].T, source)
        self.tensors_ |= {
            name: np.asarray(array, np.float32)
            for name, array in {
                "history.units": units[levels.known],
                "history.temperature": np.array([learned.temperature]),
                "history.weights": weights,
                "history.explained": np.array([learned.explained]),
                "quality.weight": slope,
                "quality.range": np.array([spread.min(), spread.max()]),
            }.items()
        }
        if data.facts:
            self.tensors_["prior.weight"] = np.append(
                (1 - trust) * before["prior.weight"][:-1] + trust * shipped_prior().mean,
                (1 - trust) * before["prior.weight"][-1] - trust * shift,
            ).astype(np.float32)
        match = history.match(history.network, history.dataset, history.source[history.network] >= 0)
        found = fit_levels_of_queries(history, levels, queries, match @ weights[1:])
        for name in ("level.weight", "level.bias", "usual"):
            self.tensors_[name] = ((1 - trust) * before[name] + trust * found[name]).astype(np.float32)
        low, high = np.stack([before["level.range"], found["level.range"]]).T
        self.tensors_["level.range"] = np.array([low.min(), high.max()], np.float32)

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

    def add_facts(self, embeddings: FloatArray, facts: Sequence[Facts]) -> FloatArray:
        """Add the quality by facts; a network without a fingerprint has no unit vector and only that quality."""
        weight = self.tensors_of_fit().get("prior.weight")
        if weight is None or not facts:
            return embeddings
        rows, _ = shipped_prior().features(facts)
        embeddings = np.where(np.isfinite(embeddings), embeddings, np.float32(0))
        embeddings[:, self.dim] += rows @ weight[:-1] + weight[-1]
        return embeddings

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
        levels, quality = self._fitted("datasets")[:, self.dim], network_embeddings[:, self.dim]
        means = np.zeros(len(quality), np.float32)
        for start in range(0, len(means), PRIORS_AT_ONCE):
            part = slice(start, start + PRIORS_AT_ONCE)
            # dataset by dataset, as numpy adds along the first axis: the sum is the same however many there are
            means[part] = sigmoid(levels[:, None] + quality[None, part]).sum(axis=0)
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
