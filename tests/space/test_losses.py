"""The vectorised loss against a loop that follows the formula."""

from __future__ import annotations

import pytest
import torch

from nns.space._gradients import contrastive_gradient

from .losses import hard_negative_loss


def naive_loss(scores, margin, nmax, both, diagonal):
    size = len(scores)
    total = 0.0
    for i in range(size):
        for line in [scores[i, :], scores[:, i]] if both else [scores[i, :]]:
            candidates = [float(line[j]) for j in range(size) if j != i]
            if diagonal:
                candidates.append(0.0)
            hardest = sorted(candidates, reverse=True)[: size if nmax is None else nmax]
            total += sum(max(0.0, margin + s - float(scores[i, i])) for s in hardest)
    return total


@pytest.mark.parametrize("nmax", [1, 3, 7, 100, None])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("diagonal", [True, False])
def test_equals_the_naive_loop(nmax, both, diagonal):
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(7, 7, generator=generator, dtype=torch.float64) * 2 - 1
    found = hard_negative_loss(scores, margin=0.2, nmax=nmax, both=both, diagonal=diagonal)
    assert float(found) == pytest.approx(naive_loss(scores, 0.2, nmax, both, diagonal))


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("nmax", [2, None])
def test_gradient_is_finite_and_right(diagonal, nmax):
    generator = torch.Generator().manual_seed(4)
    scores = (torch.rand(5, 5, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: hard_negative_loss(s, nmax=nmax, diagonal=diagonal), scores)


def test_separated_pairs_cost_nothing():
    assert float(hard_negative_loss(torch.eye(6))) == 0


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("nmax", [2, 9, None])
def test_written_out_gradient_equals_autograd(diagonal, both, nmax):
    generator = torch.Generator().manual_seed(5)
    scores = (torch.rand(6, 6, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()
    loss = hard_negative_loss(scores, nmax=nmax, both=both, diagonal=diagonal)
    loss.backward()
    found, gradient = contrastive_gradient(scores.detach(), margin=0.2, nmax=nmax, both=both, diagonal=diagonal)
    torch.testing.assert_close(found, loss.detach())
    torch.testing.assert_close(gradient, scores.grad)
