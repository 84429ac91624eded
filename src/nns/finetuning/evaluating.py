"""Measuring a network on one split."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from nns.backends.batches import normalise, shared_tensor
from nns.backends.convolutions import quick_convolutions
from nns.types import LabelledArrays, Preprocessing

if TYPE_CHECKING:
    from torch import nn


def evaluate(
    module: nn.Module, split: LabelledArrays, preprocessing: Preprocessing, device: str = "cpu", batch_size: int = 128
) -> tuple[float, float]:
    """Compute mean cross-entropy and top-1 accuracy (0..1) of one split; NaN without images.

    Args:
        module: The network, on ``device``; it is left in eval mode.
        split: The images.
        preprocessing: The network's input.
        device: ``"cpu"``, or ``"cuda"`` for half precision.
        batch_size: Images a forward pass; only so many are held as floats.
    """
    import torch
    from torch.nn import functional as F

    module.eval()
    if not len(split):
        return float("nan"), float("nan")
    loss, hits = 0.0, 0
    quick = quick_convolutions(module) if device == "cpu" else nullcontext()
    with quick, torch.inference_mode(), torch.autocast(device, dtype=torch.float16, enabled=device == "cuda"):
        for start in range(0, len(split), batch_size):
            images = normalise(split.images[start : start + batch_size], preprocessing).to(device)
            target = shared_tensor(split.labels[start : start + batch_size]).to(device)
            logits = module(images).float()
            loss += float(F.cross_entropy(logits, target, reduction="sum"))
            hits += int((logits.argmax(1) == target).sum())
    return loss / len(split), hits / len(split)
