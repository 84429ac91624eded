"""What a recipe says, as the objects of a training: optimizer, schedule, moving average, mixup, a frozen body."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nns.errors import UsageError
from nns.finetuning.recipe import Recipe
from nns.types import Preprocessing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from nns.finetuning.teaching import Lesson, Teacher

MIN_RATE = 0.05
"""Share of the peak learning rate at which the warm-up begins."""


def cosine(progress: float, warmup: float) -> float:
    """Rise linearly over ``warmup``, then fall as half a cosine to zero; ``progress`` runs from 0 to 1."""
    if progress < warmup:
        return max(progress / warmup, MIN_RATE)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def freeze_body(module: nn.Module) -> list[nn.Parameter]:
    """Freeze everything but the classifier; give what was frozen."""
    from nns.backends import head_of

    layer = head_of(module)
    if layer is None:
        raise UsageError(f"{type(module).__name__} has no linear classifier; train it without head_only")
    head = {id(parameter) for parameter in layer.parameters()}
    frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in head]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def create_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Make timm's optimizer."""
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

    # torch's fused SGD stops at parameters that get their first gradient later than others
    more: dict[str, Any] = {"fused": True} if recipe.optimizer == "adamw" else {}
    if recipe.layer_decay != 1:
        more["layer_decay"] = recipe.layer_decay
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        module, opt=recipe.optimizer, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum, **more
    )
    return optimizer


def create_average(module: nn.Module, recipe: Recipe) -> Any:
    """Make the moving average of the weights, None if there is none."""
    if not recipe.ema:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(module, decay=recipe.ema)


def create_lesson(teacher: Teacher | None, preprocessing: Preprocessing, device: str) -> Lesson | None:
    """Make what a teacher says of batches, None if there is none."""
    if teacher is None:
        return None
    from nns.finetuning.teaching import Lesson

    return Lesson(teacher, preprocessing, device)


def create_mixup(recipe: Recipe, classes: int) -> Any:
    """Make what mixes the pairs of a batch, None if nothing does."""
    if not recipe.mixup:
        return None
    from timm.data.mixup import Mixup

    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=recipe.mixup, label_smoothing=recipe.label_smoothing, num_classes=classes
    )
