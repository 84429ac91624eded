"""TANS, the method of the paper: for a zoo in which all networks share one supernet.

Jeong, Lee, Park, Hyung, Baek, Hwang: Task-Adaptive Neural Network Search with Meta-Contrastive Learning,
NeurIPS 2021, arXiv:2103.01495, section 3. Needs the blocks ``topology`` and ``functional``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nns.errors import UsageError
from nns.space._base import SpaceMethod
from nns.space._data import FloatArray, IntArray, SpaceData
from nns.space._forward import affine, sigmoid, unit
from nns.space._gradients import views_of
from nns.space._pairs import PairSampler
from nns.space._tans_step import Adam, Batch, step_gradients

if TYPE_CHECKING:
    from typing import Self

    from torch import Generator, Tensor

LAYERS = ("query_encoder.fc", "model_encoder.fc", "predictor.fc")

ROWS_AT_ONCE = 1024
"""Networks that are joined and scaled at once, which takes several copies of their numbers."""


@dataclass(eq=False, kw_only=True)
class Tans(SpaceMethod):
    """Two linear encoders and a linear predictor, trained by the hard-negative contrastive loss.

    Query encoder: linear layer on each image's features, mean over images, L2 norm. Model encoder: topology
    and functional embedding joined, L2 norm, linear layer, L2 norm. Predictor: sigmoid(linear(q ⊕ m)).

    Args:
        dim: Width of the space.
        epochs: Steps; one epoch is one batch with one network of each dataset.
        lr: Learning rate of Adam.
        margin: Margin of the contrastive loss.
        nmax: Negatives a row and a column; None counts all of the batch, as published.
        both: Contrast along both rows and columns, as published.
        batch_size: Datasets in a batch; None for all.
        seed: Seed of the weights' start and of the batches.
    """

    dim: int = 128
    epochs: int = 10_000
    lr: float = 1e-2
    margin: float = 0.2
    nmax: int | None = None
    both: bool = True
    batch_size: int | None = None
    seed: int = 0

    name: ClassVar[str] = "tans"

    def fit(self, data: SpaceData) -> Self:
        """Fit by Adam on ``contrastive + MSE``.

        Networks without a dataset are not trained on; one without a known accuracy takes no part in the MSE.

        Raises:
            UsageError: If the blocks of a supernet are missing, or fewer than two datasets have networks.
        """
        import torch

        sampler = PairSampler(data, self.batch_size)
        inputs = join_fingerprint(data.blocks, sampler.networks)
        means = np.stack([mean_features(data.queries[d]) for d in sampler.datasets])
        accuracy = torch.from_numpy(data.accuracy[sampler.networks].astype(np.float32))
        every = Batch(
            torch.from_numpy(means),
            torch.from_numpy(inputs),
            accuracy.nan_to_num(),
            accuracy.isfinite().float(),
        )
        generator = torch.Generator().manual_seed(self.seed)
        flat, weights = start_weights(means.shape[1], inputs.shape[1], self.dim, generator)
        losses = self._descend(flat, weights, every, sampler.draw(self.epochs, generator))
        self.tensors_ = {name: weight.numpy().copy() for name, weight in weights.items()}
        self.tensors_["datasets"] = np.stack([self.embed_query(data.queries[d]) for d in sampler.datasets])
        self.history_ = [
            {"epoch": float(i + 1), "contrastive": contrastive, "mse": mse}
            for i, (contrastive, mse) in enumerate(losses.tolist())
        ]
        return self

    def _descend(
        self,
        flat: Tensor,
        weights: dict[str, Tensor],
        every: Batch,
        draws: Iterator[tuple[Tensor, Tensor]],
    ) -> Tensor:
        """Train the weights in place; returns the contrastive loss and the MSE of each step, (epochs, 2)."""
        import torch

        flat_gradient = torch.zeros_like(flat)
        gradients = views_of(flat_gradient, {name: weight.shape for name, weight in weights.items()})
        adam = Adam(flat, flat_gradient, self.lr)
        losses = torch.zeros(self.epochs, 2)
        all_datasets = not self.batch_size or self.batch_size >= len(every.means)
        for step, (networks, datasets) in enumerate(draws):
            batch = Batch(
                every.means if all_datasets else every.means.index_select(0, datasets),
                every.inputs.index_select(0, networks),
                every.targets.index_select(0, networks),
                every.known.index_select(0, networks),
            )
            losses[step, 0], losses[step, 1] = step_gradients(
                weights, gradients, batch, margin=self.margin, nmax=self.nmax, both=self.both
            )
            adam.step()
        return losses

    def embed_networks(self, blocks: Mapping[str, FloatArray]) -> FloatArray:
        """Embed networks from ``topology`` (n, T) and ``functional`` (n, F): unit vectors (n, dim)."""
        return unit(self._layer("model_encoder.fc", join_fingerprint(blocks)))

    def embed_query(self, features: FloatArray, labels: IntArray | None = None) -> FloatArray:
        """Embed a dataset: a unit vector (dim,). Labels are not used.

        The mean over images commutes with the linear layer, so it is taken first.
        """
        return unit(self._layer("query_encoder.fc", mean_features(features)))

    def similarity(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Cosine of dataset and networks, (n,)."""
        cosines: FloatArray = network_embeddings @ query_embedding
        return cosines

    def ranking_vector(self, query_embedding: FloatArray) -> FloatArray:
        """Rank by the cosine, as the paper retrieves."""
        return query_embedding

    def predict_accuracy(self, query_embedding: FloatArray, network_embeddings: FloatArray) -> FloatArray:
        """Predict sigmoid(linear(q ⊕ m)), (n,).

        The logit is a sum of a part of q and a part of m, so the order of networks by predicted accuracy is
        the same for every query.
        """
        weight, bias = self._fitted("predictor.fc.weight")[0], self._fitted("predictor.fc.bias")[0]
        of_query = query_embedding @ weight[: self.dim] + bias
        return sigmoid(network_embeddings @ weight[self.dim :] + of_query)

    def _layer(self, name: str, rows: FloatArray) -> FloatArray:
        return affine(rows, self._fitted(f"{name}.weight"), self._fitted(f"{name}.bias"))


def join_fingerprint(blocks: Mapping[str, FloatArray], rows: IntArray | None = None) -> FloatArray:
    """Join topology (n, T) and functional embedding (n, F) and L2-normalise: (n, T + F).

    Args:
        blocks: Both, by name.
        rows: Which networks, in which order; None: all.

    Raises:
        UsageError: If a block is missing.
    """
    missing = [name for name in ("topology", "functional") if name not in blocks]
    if missing:
        raise UsageError(
            f"method 'tans' needs the fingerprint block {missing[0]!r}, which only a zoo of one "
            "supernet has; use method 'mixed' for this zoo"
        )
    topology, functional = blocks["topology"], blocks["functional"]
    count = len(topology) if rows is None else len(rows)
    joined = np.empty((count, topology.shape[1] + functional.shape[1]), np.float32)
    for start in range(0, count, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        chosen = part if rows is None else rows[part]
        joined[part] = unit(np.concatenate([topology[chosen], functional[chosen]], axis=1))
    return joined


def mean_features(features: FloatArray) -> FloatArray:
    """Average query features (images, D) over images: (D,)."""
    mean: FloatArray = np.asarray(features).mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def start_weights(query_dim: int, network_dim: int, dim: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Start the three linear layers as ``torch.nn.Linear`` does: uniform in ±1/sqrt(inputs).

    Returns:
        All weights in one vector, so that the optimizer has one parameter, and views of it by name.
    """
    import torch

    shapes: dict[str, tuple[int, ...]] = {}
    for layer, inputs, outputs in zip(LAYERS, (query_dim, network_dim, 2 * dim), (dim, dim, 1), strict=True):
        shapes |= {f"{layer}.weight": (outputs, inputs), f"{layer}.bias": (outputs,)}
    flat = torch.zeros(sum(prod(shape) for shape in shapes.values()))
    weights = views_of(flat, shapes)
    for name, weight in weights.items():
        fan_in = shapes[name.replace("bias", "weight")][1]
        weight.copy_((2 * torch.rand(weight.shape, generator=generator) - 1) * fan_in**-0.5)
    return flat, weights
