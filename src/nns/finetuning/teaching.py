"""A network that is fine-tuned first teaches one that fits: what it says of a batch is half of what that learns from.

The teacher sees each image as the student does, augmented, and says probabilities at a temperature; images without
labels are taught in the same way. It is listened to as long as it is better on the validation split: a small network
that overtakes it goes on with the labels alone, at its own speed.

Sources: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network"; Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent".
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.backends.batches import shared_tensor
from nns.backends.convolutions import quick_convolutions
from nns.backends.steps import TEMPERATURE
from nns.data import Dataset
from nns.finetuning.checkpoint import Checkpoint
from nns.finetuning.epochs import Epoch, rank
from nns.finetuning.ladder import DataOf, Entrant, LadderEvent, climb
from nns.finetuning.recipe import Recipe
from nns.types import Json, Preprocessing

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from nns.plugins import Registry

TEACHER_SHARE = 0.4
"""Of a budget: the teacher is larger, and what it knows is lost on a student without time to learn it."""

MAX_UNLABELLED = 5000
"""Images without labels that are taught on, drawn at random: at 224 px they take 750 MB."""


class Unlabelled:
    """Images whose labels, if there are any, do not count.

    Attributes:
        digest: Of the data.
    """

    def __init__(self, data: Any, seed: int = 0, registry: Registry | None = None) -> None:
        """Open them; ``data`` is what :meth:`nns.data.Dataset.of` takes, ``seed`` draws if there are many."""
        self._dataset = Dataset.of(data, require_labels=False, registry=registry)
        self.digest = self._dataset.digest
        self._chosen = np.sort(np.random.default_rng(seed).permutation(len(self._dataset))[:MAX_UNLABELLED])
        self._decoded: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        """Return how many are taught on."""
        return len(self._chosen)

    def at(self, size: int) -> NDArray[np.uint8]:
        """Return those that can be read, (n, 3, size, size); each size is decoded once."""
        if size not in self._decoded:
            self._decoded[size], _, _ = self._dataset.decode(self._chosen, size)
        return self._decoded[size]


@dataclass(frozen=True)
class Teacher:
    """A fine-tuned network that teaches others.

    Attributes:
        entrant: What it is, and its input.
        module: The network, on the CPU.
        best: The epoch whose weights these are.
        seconds: What its own training took.
        unlabelled: Images without labels that it teaches, too.
    """

    entrant: Entrant
    module: nn.Module
    best: Epoch
    seconds: float = 0.0
    unlabelled: Unlabelled | None = None

    @property
    def score(self) -> float:
        """What it must be better in than its student: macro F1 where that is measured, else accuracy."""
        return rank(self.best)[0]

    @property
    def described(self) -> Json:
        """What a card says of it."""
        return {
            "network": self.entrant.id,
            "architecture": self.entrant.name,
            "val_accuracy": self.best.val_accuracy,
            "epochs": self.best.epoch,
            "unlabelled": 0 if self.unlabelled is None else len(self.unlabelled),
        }


class Lesson:
    """What a teacher says to one student, batch by batch."""

    def __init__(self, teacher: Teacher, preprocessing: Preprocessing, device: str) -> None:
        """Move the teacher to the device; ``preprocessing`` is the student's input."""
        import torch

        def row(values: object) -> torch.Tensor:
            return torch.tensor(values, device=device).view(1, 3, 1, 1)

        self.teacher, self.device = teacher, device
        self._module = teacher.module.to(device).to(memory_format=torch.channels_last).eval()
        mine, theirs = teacher.entrant.preprocessing, preprocessing
        self._scale = row(theirs.std) / row(mine.std)
        self._shift = (row(theirs.mean) - row(mine.mean)) / row(mine.std)
        self._size = None if mine.size == theirs.size else mine.size
        self._unlabelled = None if teacher.unlabelled is None else shared_tensor(teacher.unlabelled.at(theirs.size))

    def add_unlabelled(self, images: torch.Tensor, prepare: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return a batch with as many images without labels after it, if there are any; torch's generator draws."""
        import torch

        if self._unlabelled is None or not len(self._unlabelled):
            return images
        return torch.cat([images, prepare(self._unlabelled[torch.randint(len(self._unlabelled), (len(images),))])])

    def say(self, images: torch.Tensor) -> torch.Tensor:
        """Return the teacher's probabilities at the temperature, (n, classes).

        Args:
            images: (n, 3, size, size), as the student sees them.
        """
        import torch
        from torch.nn import functional as F

        quick = quick_convolutions(self._module) if self.device == "cpu" else nullcontext()
        with quick, torch.no_grad(), torch.autocast(self.device, dtype=torch.float16, enabled=self.device == "cuda"):
            seen = images * self._scale + self._shift
            if self._size is not None:
                seen = F.interpolate(seen, (self._size, self._size), mode="bilinear", antialias=True)
            return F.softmax(self._module(seen).float() / TEMPERATURE, 1)


def fine_tune_teacher(
    entrant: Entrant,
    data_of: DataOf,
    recipe: Recipe,
    *,
    seconds: float | None,
    seed: int,
    on_event: Callable[[LadderEvent], None] | None,
    checkpoint: Checkpoint,
    unlabelled: Unlabelled | None = None,
) -> Teacher:
    """Fine-tune a network that will teach; the test split is not touched. A finished one is read from the checkpoint.

    Raises:
        KeyboardInterrupt: After Ctrl-C: there is nothing yet that fits. The checkpoint is left.
    """
    saved = checkpoint.read()
    if saved is None or "teacher" not in saved:
        without_test: DataOf = lambda preprocessing: replace(data_of(preprocessing), test=None)  # noqa: E731
        result = climb(
            [entrant], without_test, recipe, budget_seconds=seconds, seed=seed, on_event=on_event, checkpoint=checkpoint
        )
        if result.interrupted:
            raise KeyboardInterrupt
        best = max(result.history, key=rank)
        saved = {
            "teacher": result.module.state_dict(),
            "sizes": {entrant.id: entrant.preprocessing.size},
            "best": astuple(best),
            "seconds": result.seconds,
        }
        checkpoint.write(saved)
        module = result.module
    else:
        module = entrant.build()
        module.load_state_dict(saved["teacher"])
    return Teacher(entrant, module, Epoch(*saved["best"]), float(saved["seconds"]), unlabelled)
