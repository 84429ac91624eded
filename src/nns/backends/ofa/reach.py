"""Depthwise kernels cut to what a small feature map lets them reach, so that supernets train faster.

On a map of side h no kernel element further than h - 1 from the centre ever meets a pixel: all it meets is
padding. A 7x7 kernel on a 2x2 map does the work of a 3x3 one. Small images make such maps in the last stages,
and oneDNN's backward pass of depthwise convolutions costs by kernel size; leaving the dead elements out gives
the same outputs and gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def crop_kernels_to_reach(supernet: Any) -> None:
    """Make every dynamic depthwise convolution of a supernet skip kernel elements that only see padding."""
    from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicSeparableConv2d

    for module in supernet.modules():
        if isinstance(module, DynamicSeparableConv2d):
            module.forward = _Cropped(module)


class _Cropped:
    def __init__(self, layer: Any) -> None:
        self.layer = layer

    def __call__(self, x: torch.Tensor, kernel_size: int | None = None) -> torch.Tensor:
        """Convolve (n, channels, side, side) with the active kernel."""
        from torch.nn import functional as F

        size = kernel_size or self.layer.active_kernel_size
        filters = self.layer.get_active_filter(x.size(1), size)
        cut = max(0, (size - (2 * max(x.shape[-2:]) - 1)) // 2)
        if cut:
            filters = filters[:, :, cut:-cut, cut:-cut]
        padding = (size - 2 * cut) // 2
        return F.conv2d(x, filters.contiguous(), None, self.layer.stride, padding, self.layer.dilation, x.size(1))
