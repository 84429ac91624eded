"""Training of the two linear encoders of the mixed method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from nns.space._gradients import back_through, contrastive_gradient, encode, views_of

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from nns.space._data import FloatArray
    from nns.space._gradients import Weights
    from nns.space._pairs import PairSampler

Encoders = dict[str, "FloatArray"]
"""``query.weight`` (dim, R), ``query.bias`` (dim,), ``network.weight`` (dim, P), ``network.bias`` (dim,)."""


@dataclass(frozen=True)
class Training:
    """How the encoders are trained, see :class:`nns.space.mixed.Mixed`."""

    dim: int
    lr: float
    weight_decay: float
    dropout: float
    margin: float
    nmax: int | None


def train_encoders(
    training: Training,
    sampler: PairSampler,
    networks: FloatArray,
    views: FloatArray,
    gains: FloatArray,
    stops: Sequence[int],
    seed: int,
    at_stop: Callable[[int, Encoders], None],
) -> list[float]:
    """Train on matched pairs by AdamW and report the encoders at the given steps.

    Args:
        training: How.
        sampler: Draws the pairs.
        networks: (n, P) inputs of all networks.
        views: (d, V, R) inputs of all datasets, V views each; a step uses a random one.
        gains: (R,) factor on each query input; the encoders given back have it in their weights.
        stops: Increasing step counts at which to call ``at_stop``; training ends at the last.
        seed: Seed of start, batches, views and dropout.
        at_stop: Gets the step count and a copy of the encoders.

    Returns:
        The loss of each step.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    rows, described = (torch.from_numpy(x) for x in (networks[sampler.networks], views[sampler.datasets] * gains))
    flat, weights = _start(training.dim, views.shape[-1], rows.shape[1], generator)
    flat.grad = torch.zeros_like(flat)
    gradients = views_of(flat.grad, {name: weight.shape for name, weight in weights.items()})
    optimizer = torch.optim.AdamW([flat], lr=training.lr, weight_decay=training.weight_decay, fused=True)
    losses = torch.zeros(stops[-1])
    for step, (drawn, datasets) in enumerate(sampler.draw(stops[-1], generator)):
        picks = torch.randint(described.shape[1], (len(datasets),), generator=generator)
        of_queries = _drop(described[datasets, picks], training.dropout, generator)
        of_networks = _drop(rows[drawn], training.dropout, generator)
        losses[step] = _write_gradients(weights, gradients, of_queries, of_networks, training)
        optimizer.step()
        if step + 1 in stops:
            encoders = {name: weight.numpy().copy() for name, weight in weights.items()}
            encoders["query.weight"] *= gains
            at_stop(step + 1, encoders)
    history: list[float] = losses.tolist()
    return history


def _write_gradients(
    weights: Weights, gradients: Weights, of_queries: Tensor, of_networks: Tensor, training: Training
) -> Tensor:
    """Write the gradient of the mean contrastive loss of B pairs into ``gradients``; returns the loss."""
    q, q_norms = encode(weights, "query", of_queries)
    m, m_norms = encode(weights, "network", of_networks)
    loss, by_scores = contrastive_gradient(m @ q.T, margin=training.margin, nmax=training.nmax, diagonal=False)
    by_scores /= len(q)
    back_through(gradients, "query", of_queries, q, q_norms, by_scores.T @ m)
    back_through(gradients, "network", of_networks, m, m_norms, by_scores @ q)
    return loss / len(q)


def _start(dim: int, query_dim: int, network_dim: int, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
    """Start both encoders with normal weights of variance 1 / inputs, as one vector and views of it."""
    import torch

    widths = {"query": query_dim, "network": network_dim}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, width in widths.items():
        shapes |= {f"{name}.weight": (dim, width), f"{name}.bias": (dim,)}
    flat = torch.zeros(sum(prod(shape) for shape in shapes.values()))
    weights = views_of(flat, shapes)
    for name, width in widths.items():
        start = torch.randn(dim, width, generator=generator)
        weights[f"{name}.weight"].copy_(start / max(width, 1) ** 0.5)
    return flat, weights


def _drop(rows: Tensor, share: float, generator: Generator) -> Tensor:
    import torch

    if share <= 0:
        return rows
    kept = torch.rand(rows.shape, generator=generator) >= share
    return rows * kept / (1 - share)
