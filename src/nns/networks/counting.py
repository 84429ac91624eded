"""Counting parameters and bytes exactly, and MACs by ``torch.utils.flop_counter``."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from nns.backends.heads import head_of
from nns.types import NetworkCost, Preprocessing

if TYPE_CHECKING:
    from torch import nn

    from nns.backends import Backend


def count_cost(backend: Backend, module: nn.Module, preprocessing: Preprocessing, classes: int) -> NetworkCost:
    """Count a network without its head.

    Parameters are counted exactly; bytes are those of parameters and buffers as fp32 (integer buffers at
    their own width); MACs are half the FLOPs that PyTorch's counter sees in one forward pass of one image,
    that is of convolutions and matrix products.

    Args:
        backend: The backend that built the network, for the features before the head.
        module: The network, with a head for ``classes`` classes.
        preprocessing: Its input, for the image size.
        classes: Width of the head that is taken off the counts.

    Returns:
        The counts of the body, and the width of the features.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    module.eval()
    device = next(module.parameters()).device
    image = torch.zeros(1, 3, preprocessing.size, preprocessing.size, device=device)
    with torch.inference_mode():
        feature_dim = int(backend.features(module, image).shape[1])
    # the counter dispatches on tensors that inference mode hides from it
    # and does not know the CPU's fused attention, so attention runs as the matrix products that it is
    layer, positions = head_of(module), 1

    def see(_: nn.Module, __: object, logits: torch.Tensor) -> None:
        nonlocal positions
        positions = logits[0].numel() // max(classes, 1)

    # a convolution as head, before the mean over the pixels, works at each of them; a linear one once
    hook = layer.register_forward_hook(see) if isinstance(layer, torch.nn.Conv2d) else nullcontext()
    with hook, torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(image)
    head = (feature_dim + 1) * classes
    params = sum(p.numel() for p in module.parameters())
    tensors = [*module.parameters(), *module.buffers()]
    stored = sum(t.numel() * (4 if t.is_floating_point() else t.element_size()) for t in tensors)
    return NetworkCost(
        body_params=params - head,
        body_macs=counter.get_total_flops() // 2 - feature_dim * classes * positions,
        body_bytes=stored - 4 * head,
        feature_dim=feature_dim,
    )
