"""State of one training: images, optimizer, learning rate, the best weights so far."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nns.backends.batches import batches, shared_tensor
from nns.backends.convolutions import quick_convolutions
from nns.backends.steps import Preparation, half_precision, measure_split, train_step
from nns.errors import UsageError
from nns.finetuning._budget import FORWARD_SHARE, Budget
from nns.finetuning._recipe_parts import (
    cosine,
    create_average,
    create_lesson,
    create_mixup,
    create_optimizer,
    freeze_body,
)
from nns.finetuning.checkpoint import Saver, random_state, restore_random_state
from nns.finetuning.distributed import world
from nns.finetuning.epochs import Epoch, rank
from nns.finetuning.measures import macro_f1
from nns.finetuning.recipe import Recipe
from nns.types import LabelledArrays, Preprocessing, SplitArrays

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from nns.finetuning.teaching import Teacher

RUNAWAY = 100.0
"""Times the loss of a guess, ln(classes), above which a training has run away: a first epoch of random weights on a few
images has some ten times as much, and comes back by itself."""

SMALLEST_BATCH = 4

SKEWED = 4.0
"""Times the images of the rarest class that the most frequent one has where classes are skewed."""

GPU_SHARE = 0.25
"""Images are kept on the GPU as long as they take no more than this share of its free memory."""


class DivergedError(UsageError):
    """The loss of a training ran away, or became no number, twice."""


@dataclass(frozen=True)
class _Best:
    epoch: Epoch
    state: dict[str, torch.Tensor]
    right: NDArray[np.bool_]


class Run:
    """One training of one network.

    Attributes:
        history: The epochs that were measured.
        best: The best of them, with its weights; None as long as none was measured.
        loss: Sum of the losses of the images of the epoch so far, on the device.
    """

    def __init__(
        self,
        module: nn.Module,
        data: SplitArrays,
        preprocessing: Preprocessing,
        recipe: Recipe,
        device: str,
        on_images: Callable[[int], None] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        """Move the network to the device, freeze what is not trained, make the optimizer."""
        import torch

        self.recipe = recipe
        self.device = device
        self.cuda = device == "cuda"
        # depthwise convolutions train up to twice as fast in this layout, on the CPU as well
        self.module: Any = module.to(device).to(memory_format=torch.channels_last)
        self.world = world()
        self.val = data.val
        self.preprocessing = preprocessing
        self.on_images = on_images
        self.budget = Budget(recipe.seconds)
        self.history: list[Epoch] = []
        self.best: _Best | None = None
        self._prepare = Preparation(preprocessing, device, flip=recipe.flip, augment=recipe.augment)
        counts = np.bincount(data.train.labels)
        self.skewed = bool(len(counts)) and counts.max() >= SKEWED * counts[counts > 0].min()
        self._lesson = create_lesson(teacher, preprocessing, device)
        self._mix = create_mixup(recipe, len(data.classes))
        self._classes = len(data.classes)
        self._images, self._labels = self._training_tensors(data.train)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self._seen = 0
        self._frozen = freeze_body(module) if recipe.head_only else []
        if recipe.batch_size < 2 * self.world.size:
            raise UsageError(f"{self.world.size} processes are too many for {recipe.batch_size} images a step")
        self._trained = self.world.together(self.module)
        if recipe.compile:
            self._trained = torch.compile(self._trained)  # type: ignore[assignment]
        self._optimizer = create_optimizer(self.module, recipe)
        self._half = half_precision(recipe.precision, device)
        self._scaler = torch.amp.GradScaler(device, enabled=self._half is torch.float16)
        self._average = create_average(self.module, recipe)
        self._first = _on_cpu(self.module.state_dict())
        self._rate = recipe.lr
        self._lr: float | None = None
        self._speed: float | None = None
        self.batch_size = recipe.batch_size
        self.next_epoch = 1
        self._order: torch.Tensor | None = None
        self._step = 0

    def _training_tensors(self, train: LabelledArrays) -> tuple[Any, torch.Tensor]:
        """Return images as uint8, on the GPU where they fit, as they are if they are not in memory; and labels."""
        import torch

        labels = shared_tensor(train.labels)
        if not isinstance(train.images, np.ndarray):
            return train.images, labels
        images = shared_tensor(train.images)
        if self.cuda and images.nbytes < GPU_SHARE * torch.cuda.mem_get_info()[0]:
            return images.to(self.device), labels
        return (train.images if isinstance(train.images, np.memmap) else images), labels

    def train_epoch(self, number: int, max_steps: int | None = None, save: Saver | None = None) -> int:
        """Run one epoch, or what is left of one; a budget that ends within it cuts it short.

        Args:
            number: Of the epoch, from 1.
            max_steps: Steps at most.
            save: Called after each step, to keep the state if that is due.

        Returns:
            Number of steps of this epoch that are done, those before an interruption among them.
        """
        import torch

        # what is compiled has kernels of its own, and to measure those of cuDNN pays where all batches are alike
        plain = self.cuda or self.recipe.compile or self._half is not None
        quick = nullcontext() if plain else quick_convolutions(self.module)
        with quick, torch.backends.cudnn.flags(benchmark=self.cuda):
            return self._train_epoch(number, max_steps, save)

    def _train_epoch(self, number: int, max_steps: int | None, save: Saver | None) -> int:
        import torch

        self.next_epoch = number
        if self._order is None:
            self._order = self._draw_order()
            self.loss.zero_()
            self._seen = self._step = 0
        self.module.train(not self.recipe.head_only)  # in eval mode the statistics of a frozen body stay as they are
        if self.recipe.still_norms:
            for layer in self.module.modules():
                if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        each = max(1, math.ceil(len(self._labels) / self.batch_size))
        lesson = self._lesson if self._is_taught else None
        began, before, first = self.budget.elapsed, self._seen, self._step
        ahead = self.cuda and not (isinstance(self._images, torch.Tensor) and self._images.is_cuda)
        for images, labels in batches(
            self._images, self._labels, self.batch_size, self._prepare,
            order=self._order, first=self._step, world=self.world, ahead=ahead,
        ):  # fmt: skip
            share = self.budget.share if self.budget.seconds is None else self.world.agree(self.budget.share)
            if share >= 1.0 or self._step - first == max_steps:
                break
            self._set_rate(max(((number - 1) * each + self._step) / (self.recipe.epochs * each), share))
            count = min(self.batch_size, len(self._labels) - self._step * self.batch_size)
            labels = labels.to(self.device, non_blocking=True)
            smoothing, targets = self.recipe.label_smoothing, labels
            if self._mix is not None and len(labels) % 2 == 0:  # it mixes pairs; its labels are smoothed already
                images, targets = self._mix(images, labels)
                smoothing = 0.0
            said = None
            if lesson is not None:
                images = lesson.add_unlabelled(images, self._prepare)
                said = lesson.say(images)
            loss = train_step(
                self._trained, images, targets, self._optimizer, self._scaler, smoothing,
                half=self._half, weight=len(labels) * self.world.size / count, said=said,
            )  # fmt: skip
            if self._average is not None:
                self._average.update(self.module)
            self.loss += self.world.total(loss.double() * len(labels))
            self._seen += count
            self._step += 1
            self._speed = (self._seen - before) / max(self.budget.elapsed - began, 1e-9)
            if not self.history:
                self.budget.reserve = FORWARD_SHARE * len(self.val) / self._speed
            if self.on_images:
                self.on_images(count)
            if save:
                save(self.state, False)
        self.world.align(self.module)
        if self._average is not None:
            self.world.align(self._average.module)
        done, self._order = self._step, None
        return done

    @property
    def _is_taught(self) -> bool:
        """Whether there is a teacher that is better than this network at its best, on the validation split."""
        if self._lesson is None:
            return False
        return self.best is None or rank(self.best.epoch)[0] < self._lesson.teacher.score

    def _draw_order(self) -> torch.Tensor:
        """Draw the images of an epoch: all, or as many of each class where the classes are skewed."""
        import torch

        if not (self.skewed and self.recipe.balanced):
            return torch.randperm(len(self._labels))
        labels = self._labels.cpu()
        counts = torch.bincount(labels, minlength=self._classes)
        return torch.multinomial(1.0 / counts[labels].double(), len(labels), replacement=True)

    @property
    def diverged(self) -> bool:
        """Whether the mean loss of the epoch is no number, or far above that of a guess."""
        loss = float(self.loss) / self._seen if self._seen else 0.0
        return not loss <= RUNAWAY * max(1.0, math.log(self._classes))

    def go_back(self) -> None:
        """Return to the best weights so far, at a tenth of the rate.

        Raises:
            DivergedError: If that was done before.
        """
        if self._rate < self.recipe.lr:
            raise DivergedError(
                f"the training ran away at a rate of {self.recipe.lr:g}, and at {self._rate:g} again; take a lower `lr`"
            )
        self._rate = self.recipe.lr / 10
        self.module.load_state_dict(self.best.state if self.best else self._first)
        self._optimizer = create_optimizer(self.module, self.recipe)
        self._average = create_average(self.module, self.recipe)

    def halve_batch(self) -> bool:
        """Take half as many images a step from now on, since memory is out; tell whether that is possible."""
        import torch

        if self.batch_size <= SMALLEST_BATCH or self.world.size > 1:  # of several processes the others have memory
            return False
        self.batch_size //= 2
        self._order = None
        self._optimizer.zero_grad(set_to_none=True)
        if self.cuda:
            torch.cuda.empty_cache()
        return True

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the training depends on; tensors are those in use."""
        return {
            "epoch": self.next_epoch,
            "step": self._step if self._order is not None else 0,
            "order": self._order,
            "module": self.module.state_dict(),
            "first": self._first,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "average": None if self._average is None else self._average.module.state_dict(),
            "history": [astuple(epoch) for epoch in self.history],
            "best": self.best
            and {"epoch": astuple(self.best.epoch), "state": self.best.state, "right": self.best.right.tolist()},
            "loss": self.loss,
            "seen": self._seen,
            "rate": self._rate,
            "lr": self._lr,
            "batch_size": self.batch_size,
            "elapsed": self.budget.elapsed,
            "reserve": self.budget.reserve,
            "random": random_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of :meth:`state`; call inside :func:`nns.backends.seeding.seeded`."""
        self.next_epoch, self._step, self._order = state["epoch"], state["step"], state["order"]
        self.module.load_state_dict(state["module"])
        self._first = state["first"]
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.module.load_state_dict(state["average"])
        self.history = [Epoch(*row) for row in state["history"]]
        best = state["best"]
        self.best = (
            None if best is None else _Best(Epoch(*best["epoch"]), best["state"], np.array(best["right"], np.bool_))
        )
        self.loss.copy_(state["loss"])
        self._seen, self._rate, self.batch_size = state["seen"], state["rate"], state["batch_size"]
        self.budget = Budget(self.recipe.seconds, state["elapsed"])
        self.budget.reserve = state["reserve"]
        self._lr = state.get("lr")
        restore_random_state(state["random"])

    def _set_rate(self, progress: float) -> None:
        self._lr = self._rate * cosine(progress, self.recipe.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr * group.get("lr_scale", 1.0)

    def measure(self, number: int) -> Epoch:
        """Measure on the validation split and keep the weights if they are the best so far."""
        began = self.budget.elapsed
        train_loss = float(self.loss) / self._seen if self._seen else math.nan  # waits for the GPU
        measured = self.module if self._average is None else self._average.module
        loss, said = measure_split(measured, self.val, self.preprocessing, self.device)
        right = said == self.val.labels
        accuracy = float(right.mean()) if len(right) else math.nan
        epoch = Epoch(number, train_loss, loss, accuracy, lr=self._lr, images_per_second=self._speed)
        if self.skewed and len(right):
            epoch = replace(epoch, val_macro_f1=macro_f1(self.val.labels, said))
        epoch = self.world.agree(epoch)
        if self.best is None or not len(right) or rank(epoch) > rank(self.best.epoch):  # unmeasured: the last counts
            best = _Best(epoch, copy.deepcopy(measured.state_dict()), right)
            self.history.append(epoch)
            self.best = best
        else:
            self.history.append(epoch)
        self.budget.reserve = self.budget.elapsed - began
        self.next_epoch = number + 1
        return epoch

    def finish(self) -> nn.Module:
        """Return the network back at its best epoch, on the CPU, in eval mode, nothing frozen."""
        if self.best is not None:
            self.module.load_state_dict(self.best.state)
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._optimizer.zero_grad(set_to_none=True)
        module: nn.Module = self.module.to("cpu").eval()
        return module


def _on_cpu(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
