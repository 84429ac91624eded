"""Surprise: how far reference images lie from what a network's batch norms have seen in training.

Batch norm keeps the mean and variance that each channel had on the training data. An image whose own channel
means and variances lie far from them is unlike that data. Taken over reference images of several kinds, the numbers
tell which kind a network was trained on, for any architecture with batch norm and without its data; on the first
zoo of 240 networks they told the kind of data of an unseen dataset (emoji, letters, styles of type, digits) in 72 %
of cases, where the similarity kernel told it in 43 %, no more than the commonest kind (docs/method.md).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

STAGES = 3
"""Thirds of the batch norms, in the order they run."""

SURPRISE_ROWS = 2 * STAGES
"""For each third, the distance of the means and that of the variances."""

_TINY = 1e-3


class SurpriseMeter:
    """Measures the surprise of a network at the images that run through it inside a ``with`` block.

    With an image's channel means μ and variances v before a batch norm of running mean m and variance s², the
    distance of the means is ``mean((μ - m)² / s²)`` over channels, that of the variances
    ``mean((log v - log s²)²)``; the logarithms of both are averaged over the batch norms of a third of the network.

    Args:
        module: The network, in eval mode on the CPU.
    """

    def __init__(self, module: nn.Module) -> None:
        """Remember the network."""
        self._module = module
        self._distances: list[torch.Tensor] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        """Watch the batch norms."""
        from torch import nn

        norms = [m for m in self._module.modules() if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None]
        self._hooks = [norm.register_forward_pre_hook(self._compare) for norm in norms]
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of them."""
        for hook in self._hooks:
            hook.remove()

    def _compare(self, norm: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        import torch

        expected: torch.Tensor = norm.running_var + _TINY
        variance = inputs[0].var((2, 3), unbiased=False) + _TINY
        of_means = ((inputs[0].mean((2, 3)) - norm.running_mean) ** 2 / expected).mean(1)
        of_variances = ((variance.log() - expected.log()) ** 2).mean(1)
        self._distances.append(torch.stack([of_means, of_variances]))

    def surprise(self, images: int) -> NDArray[np.float32]:
        """Summarise the one batch of ``images`` images that ran.

        Returns:
            (SURPRISE_ROWS, images) float32; zeros for a network with fewer than three batch norms.
        """
        import torch

        if len(self._distances) < STAGES:
            return np.zeros((SURPRISE_ROWS, images), dtype=np.float32)
        logs = torch.stack(self._distances).add(_TINY).log().float().numpy()
        bounds = np.linspace(0, len(logs), STAGES + 1).astype(int)
        rows = [logs[first:last].mean(0) for first, last in pairwise(bounds)]
        stacked: NDArray[np.float32] = np.concatenate(rows).astype(np.float32)
        return stacked
