"""One training step of TANS, its gradient written out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nns.space._gradients import Weights, back_through, contrastive_gradient, encode

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B matched pairs.

    Attributes:
        means: (B, D) mean query features.
        inputs: (B, T + F) joined fingerprints.
        targets: (B,) accuracies, anything where unknown.
        known: (B,) 1 where the accuracy is known, else 0.
    """

    means: Tensor
    inputs: Tensor
    targets: Tensor
    known: Tensor


def step_gradients(
    weights: Weights, gradients: Weights, batch: Batch, *, margin: float, nmax: int | None, both: bool
) -> tuple[Tensor, Tensor]:
    """Write the gradient of ``contrastive + MSE`` into ``gradients``, laid out as ``weights``.

    Args:
        weights: Weight and bias of the three layers.
        gradients: Tensors of the same names and shapes, overwritten.
        batch: The pairs.
        margin: Margin of the contrastive loss.
        nmax: Negatives a row and a column; None for all.
        both: Contrast along rows and columns.

    Returns:
        The contrastive loss and the MSE, scalars.
    """
    import torch

    q, q_norm = encode(weights, "query_encoder.fc", batch.means)
    m, m_norm = encode(weights, "model_encoder.fc", batch.inputs)
    contrastive, by_scores = contrastive_gradient(m @ q.T, margin=margin, nmax=nmax, both=both)

    head, dim = weights["predictor.fc.weight"], q.shape[1]
    predicted = (q @ head[0, :dim] + m @ head[0, dim:] + weights["predictor.fc.bias"]).sigmoid_()
    errors = (predicted - batch.targets) * batch.known
    share = 1 / batch.known.sum().clamp(min=1)
    by_logits = 2 * share * errors * predicted * (1 - predicted)
    torch.mv(q.T, by_logits, out=gradients["predictor.fc.weight"][0, :dim])
    torch.mv(m.T, by_logits, out=gradients["predictor.fc.weight"][0, dim:])
    gradients["predictor.fc.bias"].fill_(by_logits.sum())

    by_q = torch.addmm(torch.outer(by_logits, head[0, :dim]), by_scores.T, m)
    by_m = torch.addmm(torch.outer(by_logits, head[0, dim:]), by_scores, q)
    back_through(gradients, "query_encoder.fc", batch.means, q, q_norm, by_q)
    back_through(gradients, "model_encoder.fc", batch.inputs, m, m_norm, by_m)
    return contrastive, errors.square().sum() * share
