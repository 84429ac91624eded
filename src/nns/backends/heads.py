"""Which layer of a network is its head, the one that makes logits of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nns.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

ATTRIBUTE = "nns_head"
"""Attribute of a module with the dotted name of its head; it goes with the module wherever that is copied to."""


def name_head(module: nn.Module, layer: str) -> nn.Module:
    """Say which layer is the head of a network whose head is no linear layer, and return the network.

    A backend calls it in ``build`` and ``load_pretrained``; ``replace_head`` leaves a layer of the same name.

    Args:
        module: The network.
        layer: Dotted name of the layer, as ``"classifier.1"``. It has a weight of shape (classes, width of the
            features, ...), 1 x 1 if it is a convolution, and a bias.

    Raises:
        UsageError: If the network has no such layer, or that is no such layer.
    """
    try:
        found: Any = module.get_submodule(layer)
    except AttributeError as error:
        raise UsageError(f"{type(module).__name__} has no layer {layer!r} that could be its head") from error
    weight, bias = getattr(found, "weight", None), getattr(found, "bias", None)
    if weight is None or bias is None or weight.ndim < 2 or weight.numel() != weight.shape[0] * weight.shape[1]:
        what = f"{layer!r} of {type(module).__name__}"
        raise UsageError(f"{what} is no head: that has a bias and a weight of one position")
    setattr(module, ATTRIBUTE, layer)
    return module


def head_of(module: nn.Module) -> nn.Module | None:
    """Return the head of a network: the layer that was named as such, else the last linear one; None: there is none."""
    from torch import nn

    if named := getattr(module, ATTRIBUTE, None):
        return module.get_submodule(named)
    linear = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    return linear[-1] if linear else None
