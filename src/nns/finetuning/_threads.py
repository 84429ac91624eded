"""The number of threads of a training, measured on a few small steps of a copy of the network."""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING

from nns.backends.convolutions import quick_convolutions
from nns.backends.seeding import seeded
from nns.finetuning.recipe import Recipe
from nns.threads import SECONDS, measured_threads, threads_given
from nns.types import Preprocessing

if TYPE_CHECKING:
    from torch import nn

SHARE = 0.01
"""Of a budget, that measuring may take."""
LEAST_SECONDS = 0.1
IMAGES = 4
"""Of a step at least; that many threads pay less on them than on a whole batch makes up for a share of 1.1 or so."""
STEPS = 10
"""Steps that should have room in the time."""


def training_threads(
    module: nn.Module, preprocessing: Preprocessing, recipe: Recipe, device: str, budget: float | None = None
) -> int:
    """Return the number of threads with which a network trains the quickest here and now.

    Args:
        module: The network; it is left as it is.
        preprocessing: Its input.
        recipe: How it will be trained.
        device: Where; elsewhere than on the CPU nothing is measured.
        budget: Seconds for everything.
    """
    import torch
    from torch.nn import functional as F

    if device != "cpu" or threads_given() or torch.get_num_threads() == 1:
        return torch.get_num_threads()
    seconds = SECONDS if budget is None else min(SECONDS, max(LEAST_SECONDS, SHARE * budget))
    module = copy.deepcopy(module).to(memory_format=torch.channels_last).train()
    size, images = preprocessing.size, IMAGES

    def step() -> None:
        with torch.set_grad_enabled(not recipe.head_only):
            drawn = torch.randn(images, 3, size, size).to(memory_format=torch.channels_last)
            loss = F.cross_entropy(module(drawn), torch.zeros(images, dtype=torch.long))
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]

    with seeded(0), quick_convolutions(module):
        step()  # the first pays for memory and for the choice of kernels
        began = time.perf_counter()
        step()
        room = seconds / STEPS / max(time.perf_counter() - began, 1e-9)
        images = min(recipe.batch_size, IMAGES * max(1, math.floor(room)))
        return measured_threads(step, seconds)
