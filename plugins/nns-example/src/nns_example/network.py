"""The networks themselves: the only module that imports torch, imported when a network is built."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn


class PlainNetwork(nn.Module):
    """Convolutions of 3x3, each with batch norm and ReLU, then the mean over all pixels and a linear head.

    Args:
        width: Channels after the first convolution.
        depth: Convolutions; each but the first has stride 2 and twice the channels of the one before.
        classes: Width of the head.
    """

    def __init__(self, width: int, depth: int, classes: int) -> None:
        """Build with PyTorch's own random weights."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in range(depth):
            stride = 1 if step == 0 else 2
            wider = width * 2**step
            layers += [nn.Conv2d(channels, wider, 3, stride, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
            channels = wider
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the logits, (n, classes), of images, (n, 3, size, size)."""
        return cast(torch.Tensor, self.head(self.body(images).flatten(1)))
