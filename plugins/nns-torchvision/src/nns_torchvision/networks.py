"""The networks: built by torchvision, each with a head that has a name; imports torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from nns.plugins import ArchitectureSpec, UnknownNameError, UsageError, head_of, name_head

OWN_SIZE = ("vit_", "maxvit_")
"""Beginnings of the names of architectures whose weights fit images of one size only."""

WITH_AUXILIARY = ("googlenet", "inception_v3")
"""Trained with classifiers in the middle, which published weights have and nobody needs; their weights want the input
that TensorFlow would have given, which a flag makes of torchvision's."""

AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")

OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
"""Names from when layers could be called ``norm.1``."""


def names() -> list[str]:
    """List the architectures."""
    return list(models.list_models(module=models))


def build(spec: ArchitectureSpec, classes: int) -> nn.Module:
    """Build a network with random weights, from the generator as it is.

    Raises:
        UnknownNameError: If torchvision has no such network for classification.
        UsageError: If its settings are none.
    """
    if spec.name not in names():
        raise UnknownNameError.among("torchvision architecture", spec.name, names())
    arguments: dict[str, Any] = {"num_classes": max(1, classes)}
    size = spec.config.get("image_size")
    if spec.name.startswith("vit_") and type(size) is int and 0 < size <= 1024 and set(spec.config) == {"image_size"}:
        arguments["image_size"] = size
    elif spec.config:
        raise UsageError(f"{spec.name!r} of torchvision has no settings {dict(spec.config)!r:.80}")
    if spec.name in WITH_AUXILIARY:
        arguments |= {"aux_logits": False, "transform_input": True, "init_weights": False}
    with _NumbersOnCpu() if spec.name.startswith("regnet") else nullcontext():
        module = models.get_model(spec.name, weights=None, **arguments)
    layers = dict(module.named_modules())
    linear = [name for name, layer in layers.items() if isinstance(layer, nn.Linear)]
    head = linear[-1] if linear else "classifier.1"  # of SqueezeNet, a convolution
    if classes and layers[head].bias is not None:
        return name_head(module, head)
    return _with_head(module, head, classes)  # MaxViT's has no bias


class _NumbersOnCpu(TorchFunctionMode):
    """Lets RegNet compute its widths, for which it uses tensors, also where a network is built without memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.arange, torch.tensor):
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)


def replace_head(module: nn.Module, classes: int) -> nn.Module:
    """Put a fresh head in the place of the old one."""
    old = head_of(module)
    (name,) = (name for name, layer in module.named_modules() if layer is old)
    return _with_head(module, name, classes)


def _with_head(module: nn.Module, name: str, classes: int) -> nn.Module:
    old: Any = module.get_submodule(name)
    device = old.weight.device
    fresh: nn.Module
    if isinstance(old, nn.Conv2d):
        fresh = nn.Conv2d(old.in_channels, classes, kernel_size=1, device=device)
    else:
        fresh = nn.Linear(old.in_features, classes, device=device)
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, fresh)
    return name_head(module, name)


def renamed(name: str, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Bring published weights into the layout of the networks that are built here."""
    found = {_today(name, key): tensor for key, tensor in state.items() if not _auxiliary(name, key)}
    if name.startswith("maxvit") and (weight := found.get("classifier.5.weight")) is not None:
        found.setdefault("classifier.5.bias", torch.zeros(len(weight)))
    return found


def _today(name: str, key: str) -> str:
    return OLD_DENSENET.sub(r"\1\2", key) if name.startswith("densenet") else key


def _auxiliary(name: str, key: str) -> bool:
    return name in WITH_AUXILIARY and key.startswith(AUXILIARY)
