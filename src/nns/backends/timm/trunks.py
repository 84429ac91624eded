"""The first stages of a pretrained network as a network of its own, named ``NAME-sSTAGES``.

Small pictures leave the last stages little to see (2 x 2 pixels of 64), and features in the middle of a network are
less bound to the classes that it was trained for: of EfficientNet-Lite0 the first five stages of seven, a fifth of its
parameters, did better than the whole on unseen tasks (docs/results.md). No training is needed to make one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nns.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

_NAME = re.compile(r"(?P<base>.+)-s(?P<stages>[1-9])", re.ASCII)


def base_and_stages(name: str) -> tuple[str, int | None]:
    """Return the architecture that a name is cut from, and how many stages of it; None: the name is of a whole one."""
    match = _NAME.fullmatch(name)
    return (match["base"], int(match["stages"])) if match else (name, None)


def cut(module: nn.Module, name: str, stages: int, classes: int) -> nn.Module:
    """Take off what comes after the first stages, in place, and put on a linear head.

    Args:
        module: The whole network, of timm's EfficientNet or MobileNetV3 family.
        name: Its name, for the message.
        stages: How many of its stages stay.
        classes: Width of the head; 0: none.

    Raises:
        UsageError: If it has no such stages.
    """
    from torch import nn

    network: Any = module
    if not all(hasattr(network, part) for part in ("blocks", "conv_head", "reset_classifier")):
        raise UsageError(f"{name!r} cannot be cut after a stage: only networks like EfficientNet and MobileNet can")
    if not 1 <= stages < len(network.blocks):
        raise UsageError(f"{name!r} has {len(network.blocks)} stages; keep 1 to {len(network.blocks) - 1} of them")
    network.blocks = network.blocks[:stages]
    # what stands between the blocks and the classifier: by family
    for part in ("conv_head", "bn2", "norm_head", "act2"):
        if hasattr(network, part):
            setattr(network, part, nn.Identity())
    norms = [part for part in network.blocks.modules() if isinstance(part, nn.BatchNorm2d)]
    network.num_features = network.head_hidden_size = norms[-1].num_features
    network.reset_classifier(classes)
    result: nn.Module = network
    return result
