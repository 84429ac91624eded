"""What a way of choosing is asked and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from nns.bench.matrix import Matrix, mean_of_known

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """A matrix with one of its two ground truths.

    Attributes:
        matrix: The matrix.
        head_only: Whether accuracies are those of a new head on frozen features, not of full fine-tuning.
    """

    matrix: Matrix
    head_only: bool = False

    @cached_property
    def accuracy(self) -> Floats:
        """Test accuracy, (T, C), 0..1."""
        return self.matrix.accuracy(self.head_only)

    @cached_property
    def history(self) -> Floats:
        """What is known of a dataset once it was worked on, (T, C), 0..1."""
        return self.matrix.history(self.head_only)

    @cached_property
    def val(self) -> Floats:
        """Validation accuracy, (T, C), 0..1."""
        if self.head_only:
            return self.matrix.head_val.astype(np.float64)
        return mean_of_known(self.matrix.val)

    @cached_property
    def tuning_seconds(self) -> Floats:
        """Processor seconds of full fine-tuning, all epochs, (T, C); NaN where unknown."""
        seconds = self.matrix.epoch_seconds
        total = np.where(np.isfinite(seconds).any(axis=-1), np.nansum(seconds, axis=-1), np.nan)
        return mean_of_known(total)

    def feasible(self, task: int, max_params: float | None) -> Mask:
        """Mark the candidates (C,) of a dataset that have a cell and at most so many parameters."""
        known: Mask = np.isfinite(self.accuracy[task])
        return known if max_params is None else known & (self.matrix.params[task] <= max_params)


@dataclass(frozen=True, eq=False)
class Question:
    """Which network for this dataset?

    Attributes:
        task: The dataset's row in the matrix.
        feasible: (C,) which candidates are within the limit.
        budget: Processor seconds that a chooser may train for, if it trains.
    """

    task: int
    feasible: Mask
    budget: float = float("inf")


@dataclass(frozen=True, eq=False)
class Answer:
    """An order of the candidates; equal scores stand for a random order of those.

    Attributes:
        scores: (C,) higher is better, NaN or -inf for what is not in the order.
        cold: Processor seconds until the answer in a new process.
        warm: The same in a process that has answered before.
        predicted: (C,) predicted accuracy, 0..1.
        interval: (C, 2) limits of an 80 % interval of it.
        paid: (C,) seconds of fine-tuning that each candidate has had already, within the seconds.
        note: What is to be said about it.
        residuals: (d, C) what the scores missed on each of d known datasets, in logits; NaN where that is not known.
        prior: (C,) accuracy expected whatever the dataset, 0..1.
        pool: How many of the first several are chosen from to be fine-tuned together; None: all.
    """

    scores: Floats
    cold: float = 0.0
    warm: float = 0.0
    predicted: Floats | None = None
    interval: Floats | None = None
    paid: Floats | None = None
    note: str = ""
    residuals: Floats | None = None
    prior: Floats | None = None
    pool: int | None = None

    def within(self, feasible: Mask) -> Answer:
        """Take everything else out of the order."""
        scores = np.where(feasible & np.isfinite(self.scores), self.scores, -np.inf)
        return replace(self, scores=scores)


class Chooser(ABC):
    """A way of choosing among the candidates of a scene.

    What it does for a dataset may not depend on accuracies on datasets of its family, but for what the chooser
    measures itself on the dataset: scores of features, epochs of fine-tuning.

    Attributes:
        kind: ``"baseline"``, ``"method"`` or ``"ablation"``.
    """

    kind: ClassVar[str] = "baseline"

    def __init__(self, name: str, scene: Scene) -> None:
        self.name, self.scene = name, scene

    @abstractmethod
    def ask(self, question: Question) -> Sequence[Answer]:
        """Answer, once for each run if there are several (seeds, repetitions): their measures are averaged."""
