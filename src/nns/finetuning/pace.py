"""How long an epoch of a network takes here, measured on a few steps."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nns.backends.seeding import seeded
from nns.finetuning._budget import FORWARD_SHARE
from nns.finetuning._run import Run
from nns.finetuning.recipe import Recipe
from nns.finetuning.training import resolve_device
from nns.types import Preprocessing, SplitArrays

if TYPE_CHECKING:
    from torch import nn

STEPS = 3
"""Steps that are measured, after one that is not: the first pays for allocations and kernel choice."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a network takes for one training image, forward and backward."""

    seconds_per_image: float

    def epoch(self, data: SplitArrays) -> float:
        """Estimate the seconds of one epoch with its validation."""
        return self.seconds_per_image * (len(data.train) + FORWARD_SHARE * len(data.val))

    def test(self, data: SplitArrays) -> float:
        """Estimate the seconds of calibration and test: one evaluation of the validation and the test split."""
        return self.seconds_per_image * FORWARD_SHARE * (len(data.val) + (len(data.test) if data.test else 0))


def measure_pace(module: nn.Module, data: SplitArrays, preprocessing: Preprocessing, recipe: Recipe) -> Pace:
    """Time a few training steps of a copy of the network; the network itself is left as it is."""
    unlimited = replace(recipe, seconds=None)
    run = Run(copy.deepcopy(module), data, preprocessing, unlimited, resolve_device(recipe.device))
    with seeded(0):
        run.train_epoch(1, max_steps=1)
        float(run.loss)  # waits for the GPU, as below
        began = run.budget.elapsed
        steps = run.train_epoch(1, max_steps=STEPS)
        float(run.loss)
    images = min(steps * recipe.batch_size, len(data.train))
    return Pace((run.budget.elapsed - began) / max(1, images))
