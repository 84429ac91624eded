"""A training step on images that are noise: what its time depends on is all there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from nns.backends.convolutions import quick_convolutions
from nns.backends.seeding import seeded

if TYPE_CHECKING:
    from torch import nn


@contextmanager
def training_step(
    module: nn.Module, size: int, device: str = "cpu", *, head_only: bool = False
) -> Iterator[Callable[[int], None]]:
    """Yield a function that does a step: ``step(images)`` returns when it is done, on a GPU too.

    Args:
        module: The network, which is put in training mode; its weights stay, its batch-norm statistics do not.
        size: Side of the input in pixels.
        device: ``"cpu"`` or ``"cuda"``.
        head_only: Whether nothing is trained but the head, so that there is no backward pass worth timing.
    """
    import torch
    from torch.nn import functional as F

    module = module.to(device).to(memory_format=torch.channels_last).train()

    def step(images: int) -> None:
        with torch.set_grad_enabled(not head_only):
            drawn = torch.randn(images, 3, size, size, device=device).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(module(drawn), torch.zeros(images, dtype=torch.long, device=device))
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the GPU

    with nullcontext() if device == "cuda" else quick_convolutions(module), seeded(0):
        yield step
