"""The number of threads of a training, measured on a few small steps of a copy of the network."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from nns.finetuning.recipe import Recipe
from nns.finetuning.timing import training_step
from nns.threads import measured_threads, threads_given
from nns.types import Preprocessing

if TYPE_CHECKING:
    from torch import nn

IMAGES = 4
"""Of a unit of work: few, so that also a slow machine has measured a step with each number in a moment."""


def training_threads(
    module: nn.Module,
    preprocessing: Preprocessing,
    recipe: Recipe,
    device: str,
    images: int,
    budget: float | None = None,
) -> int:
    """Return the number of threads with which a network trains the quickest here and now.

    Args:
        module: The network; it is left as it is.
        preprocessing: Its input.
        recipe: How it will be trained.
        device: Where; elsewhere than on the CPU nothing is measured.
        images: To train on, an epoch.
        budget: Seconds for everything.
    """
    import torch

    if device != "cpu" or threads_given() or torch.get_num_threads() == 1:
        return torch.get_num_threads()

    def whole(unit: float) -> float:
        epochs = recipe.epochs * images * unit / IMAGES
        return epochs if budget is None else min(budget, epochs)

    with training_step(copy.deepcopy(module), preprocessing.size, head_only=recipe.head_only) as step:
        return measured_threads(lambda units: step(IMAGES * units), max(1, recipe.batch_size // IMAGES), whole)
