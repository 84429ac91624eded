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


class Adam:
    """Adam in place on one vector: ``torch.optim.Adam(fused=True)`` without the class.

    The class imports torch's compiler at its first use, which takes 150 MB and two seconds.

    Args:
        weights: What is trained, (n,).
        gradient: Where its gradient is found at each step, (n,).
        lr: Learning rate.
    """

    def __init__(self, weights: Tensor, gradient: Tensor, lr: float) -> None:
        """Start with moments of zero."""
        import torch

        self.lr = lr
        self._weights, self._gradient = [weights], [gradient]
        self._first, self._second = [torch.zeros_like(weights)], [torch.zeros_like(weights)]
        self._steps = [torch.zeros(())]

    def step(self) -> None:
        """Take one step down the gradient."""
        from torch.optim.adam import adam

        adam(
            self._weights,
            self._gradient,
            self._first,
            self._second,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


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
