"""Gradients of the encoders and of the contrastive loss, written out: faster than autograd on small batches.

Tested against autograd of the loss of TANS written plainly, tests/space/losses.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Weights = Mapping[str, "Tensor"]
"""Tensors by name: ``LAYER.weight`` (out, in) and ``LAYER.bias`` (out,)."""


def views_of(flat: Tensor, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Cut a vector into named tensors that share its memory: to an optimizer they are one parameter."""
    views, start = {}, 0
    for name, shape in shapes.items():
        views[name] = flat[start : start + prod(shape)].view(shape)
        start += prod(shape)
    return views


def encode(weights: Weights, layer: str, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit vectors (B, dim) and the lengths (B, 1) they had."""
    import torch

    moved = torch.addmm(weights[f"{layer}.bias"], rows, weights[f"{layer}.weight"].T)
    norms = moved.norm(dim=1, keepdim=True).clamp_(min=1e-12)
    return moved.div_(norms), norms


def back_through(gradients: Weights, layer: str, rows: Tensor, unit: Tensor, norms: Tensor, by_unit: Tensor) -> None:
    """Go back through L2 norm and linear layer: d moved = (d unit - unit <unit, d unit>) / norm."""
    import torch

    inward = (unit * by_unit).sum(1, keepdim=True)
    by_moved = by_unit.addcmul_(unit, inward, value=-1).div_(norms)
    torch.mm(by_moved.T, rows, out=gradients[f"{layer}.weight"])
    torch.sum(by_moved, 0, out=gradients[f"{layer}.bias"])


def contrastive_gradient(
    scores: Tensor, *, margin: float, nmax: int | None, both: bool = True, diagonal: bool = True
) -> tuple[Tensor, Tensor]:
    r"""Return the hard-negative contrastive loss of TANS and its gradient by the scores, (B, B).

    With :math:`d_i = S_{ii}` the loss is :math:`\sum_i \sum_{j \in top_i} \max(0, margin + S_{ij} - d_i)`.

    Args:
        scores: (B, B) similarities, rows networks, columns queries; the diagonal holds the matched pairs.
        margin: By how much a matched pair must win.
        nmax: Hardest negatives counted a row or column; None or more than B counts all.
        both: Also sum along columns (for each query, over networks).
        diagonal: Count a matched pair as a negative of score 0, as the published code does.
    """
    size = len(scores)
    matched = scores.diagonal().clone()
    negatives = scores.clone().fill_diagonal_(0.0 if diagonal else float("-inf"))
    count = size if nmax is None else min(nmax, size)
    loss = scores.new_zeros(())
    gradient = scores.new_zeros(scores.shape)
    for dim in (1, 0) if both else (1,):
        costs = (negatives + (margin - matched).unsqueeze(dim)).relu_()
        if count < size:
            chosen = costs.topk(count, dim=dim)
            costs = costs.new_zeros(costs.shape).scatter_(dim, chosen.indices, chosen.values)
        active = (costs > 0).to(scores.dtype)
        loss = loss + costs.sum()
        matched_gradient = -active.sum(dim)
        gradient += active.fill_diagonal_(0.0)
        gradient.diagonal().add_(matched_gradient)
    return loss, gradient
