"""The hard-negative contrastive loss of TANS (Jeong et al., NeurIPS 2021, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def hard_negative_loss(
    scores: Tensor, *, margin: float = 0.2, nmax: int | None = None, both: bool = True, diagonal: bool = True
) -> Tensor:
    r"""Sum the hinge over the hardest negatives of each of B matched pairs.

    With :math:`d_i = S_{ii}` it is

    .. math:: \sum_i \sum_{j \in top_i} \max(0, margin + S_{ij} - d_i)

    over the ``nmax`` largest entries of each row and, if ``both``, the same over each column.

    Args:
        scores: (B, B) similarities, rows networks, columns queries; the diagonal holds the matched pairs.
        margin: By how much a matched pair must win.
        nmax: Negatives counted a row or column; None or more than B counts all.
        both: Also sum along columns (for each query, over networks).
        diagonal: Count a matched pair as a negative of score 0, as the published code does: this adds
            ``max(0, margin - d)`` while a matched pair is not yet similar. False leaves it out.

    Returns:
        The loss, a scalar.
    """
    size = len(scores)
    matched = scores.diagonal()
    removed = matched if diagonal else matched.new_full((size,), float("inf"))
    candidates = scores - removed.diag()
    count = size if nmax is None else min(nmax, size)
    total = _hardest(candidates, matched, margin, count)
    return total + _hardest(candidates.T, matched, margin, count) if both else total


def _hardest(candidates: Tensor, matched: Tensor, margin: float, count: int) -> Tensor:
    costs = (candidates + (margin - matched)[:, None]).relu()
    return costs.sum() if count == len(costs) else costs.topk(count, dim=1).values.sum()
